"""A transactional ledger writes what happened in the transaction of its mark: once, and only if the mark moved."""

import pytest

from contract.dict_ledger import DictLedger
from otp_actions import conf, signals
from otp_actions.__main__ import generate_key
from otp_actions.exceptions import OTPException, OTPUsedException
from otp_actions.ledgers import ledger_for
from otp_actions.services import generate_otp, revoke_identifier, revoke_otp, verify_otp
from otp_actions.testing import wrong_code

NOW = 1_800_000_000


class Transactional(DictLedger):
    """Writes what the event of a mark that moves has it write."""

    transactional = True

    def __init__(self):
        super().__init__()
        self.events = []  # Of every advance, whether it moved or not.
        self.written = []
        self.moves = []
        self.ttls = []

    def advance(self, mark, value, *, ttl, now, release=(), event=None):
        moved = super().advance(mark, value, ttl=ttl, now=now, release=release)
        self.events.append(event)
        self.moves.append((mark, value, release))
        self.ttls.append(ttl)
        if moved and event is not None:
            self.written += event("the ledger's connection")
        return moved


class Plain(DictLedger):
    """Is given no event, since it could not keep the promise."""

    def advance(self, mark, value, **more):
        assert "event" not in more
        return super().advance(mark, value, **more)


@pytest.fixture
def ledger(otp_settings):
    otp_settings(OTP_LEDGER=f"{__name__}.Transactional")
    return ledger_for(conf.current())


@pytest.fixture
def recorded(monkeypatch):
    occurrences = []

    def record(occurrence, connection):
        occurrences.append((occurrence, connection))
        return [("INSERT", (occurrence.event,))]

    monkeypatch.setattr(signals, "record", record)
    return occurrences


@pytest.fixture
def told():
    """Whether each occurrence that was told had been recorded."""
    heard = []

    def hear(sender, occurrence, **kwargs):
        heard.append((occurrence.event, occurrence.recorded))

    hearing = (signals.otp_verified, signals.otp_failed, signals.otp_revoked)
    for signal in hearing:
        signal.connect(hear)
    yield heard
    for signal in hearing:
        signal.disconnect(hear)


def test_success_is_written_once_with_the_mark(recorded, told, ledger):
    code, context = generate_otp("ada", purpose="login", now=NOW)
    for otp, reason in ((wrong_code(code), OTPException), (code, None), (code, OTPUsedException)):
        if reason is None:
            verify_otp(otp, context, purpose="login", now=NOW + 1)
        else:
            with pytest.raises(reason):
                verify_otp(otp, context, purpose="login", now=NOW + 1)
    ((occurrence, connection),) = recorded
    assert connection == "the ledger's connection"
    assert ledger.written == [("INSERT", ("verified",))]
    ((mark, value, release),) = ledger.moves
    assert (mark, value) == (b"c" + bytes.fromhex(occurrence.jti), 2**40)
    assert [units for _, units in release] == [30]  # All of the identifier's budget.
    assert (occurrence.event, occurrence.reason, occurrence.identifier, occurrence.purpose, occurrence.time) == (
        "verified",
        "",
        "ada",
        "login",
        NOW + 1,
    )
    assert len(occurrence.jti) == 32
    assert told == [("failed", False), ("verified", True), ("failed", False)]


@pytest.mark.usefixtures("ledger")
def test_mark_that_another_request_moved_first_is_not_written(recorded, told, monkeypatch):
    code, context = generate_otp("ada", now=NOW)
    monkeypatch.setattr(Transactional, "advance", lambda self, *args, **more: False)
    with pytest.raises(OTPUsedException):
        verify_otp(code, context, now=NOW)
    assert recorded == []
    assert told == [("failed", False)]


@pytest.mark.usefixtures("ledger")
def test_revocation_is_written_once_and_a_second_one_not_at_all(recorded, told):
    _, context = generate_otp("ada", now=NOW)
    for _ in range(2):
        revoke_otp(context, now=NOW + 1)
    assert [(o.event, o.reason, o.identifier, o.time) for o, _ in recorded] == [("revoked", "", "ada", NOW + 1)]
    assert told == [("revoked", True)]


def test_revocation_under_every_key_is_written_with_the_first(recorded, told, ledger, settings):
    settings.OTP_SIGNING_KEY_FALLBACKS = [generate_key(), generate_key()]
    revoke_identifier("ada", purpose="login", now=NOW)
    assert [event is not None for event in ledger.events] == [True, False, False]
    assert [(o.event, o.reason, o.identifier, o.purpose, o.jti, o.time) for o, _ in recorded] == [
        ("revoked", "IDENTIFIER", "ada", "login", "", NOW)
    ]
    assert told == [("revoked", True)]


def test_revocation_that_another_host_was_ahead_of_is_written_when_it_moves(recorded, told, ledger):
    revoke_identifier("ada", now=NOW + 60)
    revoke_identifier("ada", now=NOW)  # By a clock that is behind.
    moved = [event is not None for event in ledger.events]
    assert moved[0]
    assert len(moved) > 2, "the second one had to look for a later instant"
    assert moved == [True] * len(moved), "no attempt but the last one has moved the mark"
    assert [o.time for o, _ in recorded] == [NOW + 60, NOW]
    assert told == [("revoked", True)] * 2


def test_revocation_lasts_as_long_as_any_code_and_clocks_that_differ(ledger, settings):
    revoke_identifier("ada", now=NOW)
    settings.OTP_SESSION_EXPIRY_SECONDS = 3 * 24 * 3600
    revoke_identifier("ada", now=NOW + 1)
    assert ledger.ttls == [24 * 3600 + 300, 3 * 24 * 3600 + 300]


@pytest.mark.usefixtures("ledger")
def test_request_is_told_with_what_was_recorded(recorded, rf):
    request = rf.post("/", HTTP_USER_AGENT="a browser", REMOTE_ADDR="192.0.2.7")
    heard = []

    def hear(sender, request, **kwargs):
        heard.append(request)

    for signal in (signals.otp_verified, signals.otp_revoked):
        signal.connect(hear)
    try:
        verify_otp(*generate_otp("ada", now=NOW), request=request, now=NOW)
        revoke_otp(generate_otp("ada", now=NOW)[1], request=request, now=NOW)
        revoke_identifier("ada", request=request, now=NOW)
    finally:
        for signal in (signals.otp_verified, signals.otp_revoked):
            signal.disconnect(hear)
    assert heard == [request] * 3
    assert [(o.address, o.user_agent) for o, _ in recorded] == [("192.0.2.7", "a browser")] * 3


@pytest.mark.usefixtures("ledger")
def test_without_single_use_nothing_is_marked_and_so_nothing_written(recorded, told, settings):
    settings.OTP_SINGLE_USE = False
    verify_otp(*generate_otp(now=NOW), now=NOW)
    assert recorded == []
    assert told == [("verified", False)]


def test_without_an_audit_trail_a_transactional_ledger_has_nothing_to_write(ledger, told, monkeypatch):
    monkeypatch.setattr(signals, "record", None)
    _, context = generate_otp("ada", now=NOW)
    verify_otp(*generate_otp("ada", now=NOW), now=NOW)
    revoke_otp(context, now=NOW)
    revoke_identifier("ada", now=NOW)
    assert ledger.events == [None] * 3
    assert told == [("verified", False), ("revoked", False), ("revoked", False)]


def test_ledger_without_transactions_is_given_nothing_to_write(recorded, told, otp_settings):
    otp_settings(OTP_LEDGER=f"{__name__}.Plain")
    _, context = generate_otp("ada", now=NOW)
    verify_otp(*generate_otp("ada", now=NOW), now=NOW)
    revoke_otp(context, now=NOW)
    revoke_identifier("ada", now=NOW)
    assert recorded == []
    assert told == [("verified", False), ("revoked", False), ("revoked", False)]
