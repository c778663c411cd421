"""The async twins: the same rule, and an event loop that never waits for a ledger."""

import asyncio
import inspect
import threading

import pytest

from contract.dict_ledger import DictLedger, RecordingLedger
from otp_actions import conf, services
from otp_actions.exceptions import InvalidOTPException, OTPException, OTPRevokedException, OTPUsedException
from otp_actions.ledgers import ledger_for
from otp_actions.services import (
    agenerate_decoy,
    agenerate_otp,
    aincrement_retry_count,
    arevoke_identifier,
    arevoke_otp,
    avalidate_otp,
    averify_otp,
    decrypt_context,
)
from otp_actions.testing import fresh_ledger, wrong_code

NOW = 1_800_000_000


@pytest.fixture(params=["process", "contract.dict_ledger.RecordingLedger"])
def ledger(request, settings):
    settings.OTP_LEDGER = request.param
    with fresh_ledger():
        yield


@pytest.mark.asyncio
@pytest.mark.usefixtures("ledger")
async def test_twins_do_what_the_sync_functions_do():
    code, context = await agenerate_otp("ada", {"a": 1}, 5, 8, purpose="login", now=NOW)
    assert len(code) == 8
    with pytest.raises(InvalidOTPException) as caught:
        await averify_otp(wrong_code(code), context, purpose="login", now=NOW)
    assert caught.value.attempts_remaining == 4
    assert decrypt_context(await aincrement_retry_count(context, now=NOW))["retry_count"] == 2
    with pytest.raises(OTPException, match="issued for something else"):
        await averify_otp(code, context, now=NOW)
    verified = await averify_otp(code, context, purpose="login", now=NOW)
    assert (verified["identifier"], verified["metadata"]) == ("ada", {"a": 1})
    with pytest.raises(OTPUsedException):
        await avalidate_otp(code, context, purpose="login", now=NOW)

    code, context = await agenerate_otp(now=NOW)
    assert await avalidate_otp(code, context, now=NOW) is True

    code, context = await agenerate_otp(now=NOW)
    assert await arevoke_otp(context, now=NOW) is None
    with pytest.raises(OTPRevokedException):
        await averify_otp(code, context, now=NOW)

    _, before = await agenerate_otp("ada", now=NOW)
    assert decrypt_context(await agenerate_decoy("ada", now=NOW))["purpose"] == ""
    await aincrement_retry_count(before, now=NOW)  # A decoy revokes nothing unless it is asked to.

    decoy = await agenerate_decoy("ada", {"a": 1}, purpose="login", now=NOW)
    assert decrypt_context(decoy)["purpose"] == "login"
    with pytest.raises(InvalidOTPException):
        await averify_otp("123456", decoy, purpose="login", now=NOW)


TWINS = [name for name in services.__all__ if name.startswith("a") and name[1:] in services.__all__]


@pytest.mark.asyncio
@pytest.mark.parametrize("name", TWINS)
async def test_twin_takes_and_hands_over_every_argument(monkeypatch, name):
    twin, function = getattr(services, name), getattr(services, name[1:])
    parameters = inspect.signature(function).parameters
    assert inspect.signature(twin).parameters == parameters

    given = []

    def answer(*args, **kwargs):
        given.append(inspect.signature(function).bind(*args, **kwargs).arguments)
        return "the answer"

    monkeypatch.setattr(services, name[1:], answer)
    arguments = {parameter: object() for parameter in parameters}
    by_place = [a for p, a in arguments.items() if parameters[p].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    by_name = {p: a for p, a in arguments.items() if parameters[p].kind is inspect.Parameter.KEYWORD_ONLY}
    answered = await twin(*by_place, **by_name)
    assert given == [arguments]
    assert answered == (None if name.startswith("arevoke") else "the answer")


@pytest.mark.asyncio
async def test_every_code_of_an_identifier_can_be_revoked_from_async_code():
    code, context = await agenerate_otp("ada", purpose="login", now=NOW)
    _, other = await agenerate_otp("ada", now=NOW)
    await arevoke_identifier("ada", purpose="login", now=NOW + 1)
    with pytest.raises(OTPRevokedException):
        await averify_otp(code, context, purpose="login", now=NOW + 1)
    with pytest.raises(InvalidOTPException):
        await averify_otp("wrong", other, now=NOW + 1)
    await arevoke_identifier("ada", now=NOW + 1)
    with pytest.raises(OTPRevokedException):
        await averify_otp("wrong", other, now=NOW + 1)


@pytest.mark.asyncio
async def test_ledger_that_blocks_runs_in_another_thread(settings):
    settings.OTP_LEDGER = "contract.dict_ledger.RecordingLedger"
    with fresh_ledger():
        code, context = await agenerate_otp()
        await aincrement_retry_count(context)
        await averify_otp(code, context)
        await arevoke_otp(context)
        threads = [call.thread for call in ledger_for(conf.current()).calls]
    assert len(threads) == 4  # A take, a take and an advance, an advance.
    assert threading.get_ident() not in threads


@pytest.mark.asyncio
async def test_ledger_that_does_not_block_runs_in_the_event_loop(monkeypatch, settings):
    settings.OTP_LEDGER = "contract.dict_ledger.RecordingLedger"
    monkeypatch.setattr(RecordingLedger, "blocking", False)
    with fresh_ledger():
        await averify_otp(*await agenerate_otp())
        threads = {call.thread for call in ledger_for(conf.current()).calls}
    assert threads == {threading.get_ident()}


def test_our_own_ledgers_do_not_block(settings):
    for settings.OTP_LEDGER in (None, "process"):
        assert ledger_for(conf.current()).blocking is False


@pytest.mark.asyncio
async def test_two_calls_wait_for_the_ledger_at_the_same_time(settings, monkeypatch):
    both = threading.Barrier(2, timeout=30)  # Whoever waits alone fails.

    def take(self, *args, **kwargs):
        both.wait()
        return DictLedger.take(self, *args, **kwargs)

    settings.OTP_LEDGER = "contract.dict_ledger.RecordingLedger"
    monkeypatch.setattr(RecordingLedger, "take", take)
    with fresh_ledger():
        issued = [await agenerate_otp(now=NOW) for _ in range(2)]
        verified = await asyncio.gather(*(averify_otp(*one, now=NOW) for one in issued))
    assert [one["v"] for one in verified] == [2, 2]
