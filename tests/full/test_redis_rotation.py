"""A signing key is rotated on three hosts, one after the other, while codes are issued and verified on all of them."""

import itertools
import multiprocessing
import random
from contextlib import ExitStack

import pytest
from django.conf import settings

from otp_actions import ledgers
from otp_actions.__main__ import generate_key
from otp_actions.exceptions import OTPException
from otp_actions.services import generate_otp, revoke_identifier, verify_otp
from otp_actions.testing import wrong_code

OLD, NEW = generate_key(), generate_key()
HOSTS = 3
#: What a host is set to, phase by phase: (primary, fallbacks).
BEFORE, ADDED, PROMOTED, RETIRED = (OLD, []), (OLD, [NEW]), (NEW, [OLD]), (NEW, [])


def host(pipe, url):
    """Serve as one host: a process of its own, with settings of its own, and the ledger that all share."""
    settings.OTP_LEDGER, settings.OTP_REDIS_URL, settings.OTP_IDENTIFIER_BUDGET = "redis", url, None
    ledgers.reset()
    calls = {"issue": generate_otp, "verify": verify_otp, "revoke": revoke_identifier}
    while True:
        name, *arguments = pipe.recv()
        if name == "stop":
            return
        if name == "keys":
            settings.OTP_SIGNING_KEY, settings.OTP_SIGNING_KEY_FALLBACKS = arguments
            pipe.send(None)
            continue
        try:
            pipe.send(calls[name](*arguments))
        except OTPException as error:
            pipe.send((error.code, getattr(error, "new_context", None)))


class Host:
    def __init__(self, url):
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=host, args=(theirs, url), daemon=True)
        self.process.start()

    def ask(self, *message):
        self.pipe.send(message)
        assert self.pipe.poll(30), f"no answer to {message[0]}"
        return self.pipe.recv()

    def stop(self):
        self.pipe.send(("stop",))
        self.process.join(10)


@pytest.fixture
def hosts(redis_url):
    with ExitStack() as stack:
        made = [Host(redis_url) for _ in range(HOSTS)]
        for one in made:
            stack.callback(one.stop)
        yield made


def phases():
    """Yield (host, keys): each phase reaches one host after the other, as a deployment does."""
    for keys in (BEFORE, ADDED, PROMOTED):
        for number in range(HOSTS):
            yield number, keys


def test_nothing_is_rejected_until_the_old_key_is_retired_and_nothing_accepted_after(hosts):
    dice = random.Random(7)
    identifiers = itertools.count()
    for one in hosts:
        one.ask("keys", *BEFORE)
    in_flight, accepted, wrong, revoked = [], 0, 0, 0

    for number, keys in phases():
        hosts[number].ask("keys", *keys)
        for _ in range(60):
            identifier = f"user-{next(identifiers)}"
            in_flight.append((identifier, *dice.choice(hosts).ask("issue", identifier)))
        dice.shuffle(in_flight)
        for _ in range(55):
            identifier, code, context = in_flight.pop()
            fate = dice.random()
            if fate < 0.2:
                reason, context = dice.choice(hosts).ask("verify", wrong_code(code), context)
                assert reason == "INVALID_OTP"
                wrong += 1
            elif fate < 0.3:
                dice.choice(hosts).ask("revoke", identifier)
                reason, _ = dice.choice(hosts).ask("verify", code, context)
                assert reason == "OTP_REVOKED"
                revoked += 1
                continue
            fields = dice.choice(hosts).ask("verify", code, context)
            assert isinstance(fields, dict), fields
            assert fields["identifier"] == identifier
            replay, _ = dice.choice(hosts).ask("verify", code, context)
            assert replay == "OTP_USED"
            accepted += 1

    of_new = [hosts[0].ask("issue", "late") for _ in range(20)]
    for one in hosts:
        one.ask("keys", *RETIRED)
    old, new = [], []
    for _, code, context in in_flight:
        answer = dice.choice(hosts).ask("verify", code, context)
        (new if isinstance(answer, dict) else old).append(answer)
    assert {reason for reason, _ in old} == {"OTP_ERROR"}
    assert len(old) > 5
    assert all(isinstance(dice.choice(hosts).ask("verify", *issued), dict) for issued in of_new)
    print(f"\n{accepted} accepted, {wrong} wrong first, {revoked} revoked; then {len(old)} of the retired key refused")
