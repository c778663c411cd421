"""The clock is looked up at each call, in whole UTC seconds: users may freeze it, move it back, and live anywhere."""

import math
import os
import time

import pytest
import time_machine
from freezegun import freeze_time

from otp_actions.exceptions import InvalidOTPException, OTPException, OTPExpiredException, SessionExpiredException
from otp_actions.services import (
    decrypt_context,
    encrypt_context,
    generate_decoy,
    generate_otp,
    increment_retry_count,
    revoke_identifier,
    revoke_otp,
    validate_otp,
    verify_otp,
)
from otp_actions.testing import wrong_code

START = 1_800_000_000


class FreezeGun:
    """freezegun behind the interface of the test."""

    def __init__(self):
        self.freezer = freeze_time()

    def __enter__(self):
        self.clock = self.freezer.start()
        return self

    def __exit__(self, *_):
        self.freezer.stop()

    def move_to(self, at):
        self.clock.move_to(time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(int(at))) + f"{at % 1:.3f}"[1:])


class TimeMachine:
    """time-machine behind the interface of the test."""

    def __enter__(self):
        self.traveller = time_machine.travel(0, tick=False)
        self.coordinates = self.traveller.start()
        return self

    def __exit__(self, *_):
        self.traveller.stop()

    def move_to(self, at):
        self.coordinates.move_to(at)


@pytest.mark.parametrize("tool", [FreezeGun, TimeMachine])
def test_frozen_clock_is_the_clock_also_backwards(tool, fernet):
    with tool() as clock:
        clock.move_to(START)
        code, context = generate_otp()
        assert decrypt_context(context)["timestamp"] == START
        for at, reason in [
            (START + 299.999, InvalidOTPException),
            (START + 300, OTPExpiredException),
            (START + 900, SessionExpiredException),
            (START + 899.999, OTPExpiredException),
            (START - 10_000, InvalidOTPException),
            (START + 300, OTPExpiredException),
        ]:
            clock.move_to(at)
            with pytest.raises(reason):
                verify_otp(wrong_code(code), context)
        clock.move_to(START + 1)
        assert verify_otp(code, context)["timestamp"] == START
        clock.move_to(START + 5)
        renewed = increment_retry_count(generate_otp()[1])
        for sealed in (generate_otp()[1], generate_decoy(), encrypt_context({}), renewed):
            assert fernet.extract_timestamp(sealed) == START + 5
        revoke_otp(context)


def test_now_wins_over_the_clock():
    code, context = generate_otp(now=START)
    with pytest.raises(OTPExpiredException):
        verify_otp(code, context, now=START + 300)
    assert verify_otp(code, context, now=START + 299)


def test_now_may_have_a_fraction_that_is_cut_off():
    code, context = generate_otp(now=START + 0.9)
    assert decrypt_context(context)["timestamp"] == START
    assert verify_otp(code, context, now=START + 299.9)


# POSIX rules, so that no time zone database is needed: the north, the south, half hours, no change at all.
ZONES = [
    "UTC0",
    "CET-1CEST,M3.5.0,M10.5.0/3",
    "EST5EDT,M3.2.0,M11.1.0",
    "NST3:30NDT,M3.2.0,M11.1.0",
    "AEST-10AEDT,M10.1.0,M4.1.0/3",
    "LHST-10:30LHDT-11,M10.1.0,M4.1.0",
    "NPT-5:45",
    "CLT4CLST,M9.1.6/24,M4.1.6/24",
]


@pytest.fixture(params=ZONES)
def zone(request, monkeypatch):
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def edges_of_2026():
    """Return the moments at which the local clock is put forward or back; one ordinary moment if it never is."""
    first = 1_767_225_600
    half_hours = range(first, first + 365 * 86400, 1800)
    return [at for at in half_hours if time.localtime(at).tm_isdst != time.localtime(at - 1).tm_isdst] or [first]


def test_windows_are_the_same_in_every_time_zone_across_its_edges(zone):
    edges = edges_of_2026()
    assert os.environ["TZ"] == zone
    assert len(edges) == (2 if "," in zone else 1)
    for edge in edges:
        for issued in (edge - 3601, edge - 60, edge - 1, edge, edge + 60):
            with time_machine.travel(issued, tick=False) as clock:
                code, context = generate_otp()
                assert decrypt_context(context)["otp_expiry"] == issued + 300
                clock.move_to(issued + 300)
                with pytest.raises(OTPExpiredException):
                    verify_otp(code, context)
                clock.move_to(issued + 900)
                with pytest.raises(SessionExpiredException):
                    verify_otp(code, context)
                clock.move_to(issued + 299)
                assert verify_otp(code, context)


CALLS = {
    "generate_otp": lambda now: generate_otp(now=now),
    "generate_decoy": lambda now: generate_decoy(now=now),
    "verify_otp": lambda now: verify_otp("123456", SEALED, now=now),
    "validate_otp": lambda now: validate_otp("123456", SEALED, now=now),
    "increment_retry_count": lambda now: increment_retry_count(SEALED, now=now),
    "revoke_otp": lambda now: revoke_otp(SEALED, now=now),
    "revoke_identifier": lambda now: revoke_identifier("ada", now=now),
    "encrypt_context": lambda now: encrypt_context({}, now=now),
}
_, SEALED = generate_otp("ada", now=START)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    "now",
    [-1, -0.5, 2**53, 2.0**53, math.nan, math.inf, True, False, "5", b"5", [], object()],
    ids=lambda now: str(now)[:7],
)
def test_now_that_is_no_time_is_refused(name, now):
    with pytest.raises(OTPException, match=r"now must be Unix time in seconds\."):
        CALLS[name](now)


@pytest.mark.parametrize("now", [0, 0.0, 1, 2**33])
def test_any_other_time_will_do(now):
    for call in (generate_otp, lambda now: revoke_identifier("ada", now=now), lambda now: encrypt_context({}, now=now)):
        call(now=now)
    code, context = generate_otp(now=now)
    assert verify_otp(code, context, now=now)


def test_last_time_there_is_is_judged_like_any_other():
    with pytest.raises(SessionExpiredException):
        verify_otp("123456", SEALED, now=2**53 - 1)
