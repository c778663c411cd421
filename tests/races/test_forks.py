"""Forked children: they never draw their parent's random bytes, and never wait for a thread they do not have."""

import os
import signal
import threading
from contextlib import suppress

import pytest

from otp_actions import conf
from otp_actions.exceptions import InvalidOTPException, MaxRetriesExceededException, OTPUsedException
from otp_actions.ledgers import ProcessLedger
from otp_actions.ledgers.base import Taken
from otp_actions.services import generate_otp, verify_otp
from otp_actions.testing import fresh_ledger, wrong_code

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork"),
    # Python 3.12 warns of what the tests are about.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

CHILDREN = 64
EACH = 10_000
SIZE = (
    13  # Bytes of a jti that are nothing but random: its last 20 bits tell the time, so they would hide a repetition.
)


def new_jti():
    _, context = generate_otp()
    return bytes.fromhex(conf.current().keyring.describe(context)[0])[:SIZE]


def in_child(work):
    """Run *work*, which returns bytes, in a forked child; return its pid and the end to read from."""
    end, begin = os.pipe()
    pid = os.fork()
    if pid:
        os.close(begin)
        return pid, end
    status = 1
    with suppress(BaseException):
        signal.alarm(300)  # Rather dead than hanging.
        with os.fdopen(begin, "wb") as pipe:
            pipe.write(work())
        status = 0
    os._exit(status)


def outcome(pid, end):
    with os.fdopen(end, "rb") as pipe:
        written = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return written


def test_no_jti_is_drawn_twice_by_a_parent_and_its_children():
    draws = [new_jti()]  # From here on the parent has random bytes in stock.
    children = [in_child(lambda: b"".join(new_jti() for _ in range(EACH))) for _ in range(CHILDREN)]
    draws += [new_jti() for _ in range(EACH)]
    for child in children:
        written = outcome(*child)
        assert len(written) == SIZE * EACH
        draws += [written[i : i + SIZE] for i in range(0, len(written), SIZE)]
    assert len(set(draws)) == len(draws) == 1 + EACH * (CHILDREN + 1)
    assert bytes(SIZE) not in draws


def test_grandchildren_draw_their_own_too():
    generate_otp()

    def child():
        mine = new_jti()
        theirs = in_child(lambda: new_jti())
        return mine + new_jti() + outcome(*theirs)

    written = b"".join(outcome(*family) for family in [in_child(child) for _ in range(8)])
    assert len({written[i : i + SIZE] for i in range(0, len(written), SIZE)}) == 24


def test_child_goes_on_with_a_copy_of_the_counts():
    used_code, used = generate_otp()
    verify_otp(used_code, used)
    code, context = generate_otp(max_retries=2)
    with pytest.raises(InvalidOTPException):
        verify_otp(wrong_code(code), context)

    def child():
        with pytest.raises(OTPUsedException):
            verify_otp(used_code, used)
        with pytest.raises(InvalidOTPException) as caught:
            verify_otp(wrong_code(code), context)
        with pytest.raises(MaxRetriesExceededException):
            verify_otp(code, context)
        return bytes([caught.value.attempts_remaining])

    assert [outcome(*family) for family in [in_child(child), in_child(child)]] == [b"\0", b"\0"]
    assert verify_otp(code, context)  # And the parent with its own.


def test_ledger_is_usable_in_children_forked_while_threads_are_busy():
    # Without a refusal by verify_otp, in a thread or a child: its text goes through Django's gettext, which takes a
    # lock of asgiref's that may be held at the fork.
    stop = threading.Event()
    ledger = ProcessLedger(2**10)
    bucket, now = b"a" + bytes(16), 1_800_000_000

    def hammer():
        while not stop.is_set():
            verify_otp(*generate_otp())
            ledger.take(((bucket, 3, 900),), now=now)
            ledger.advance(b"m" + os.urandom(1) + bytes(15), 1, ttl=900, now=now)

    def child():
        for _ in range(20):
            verify_otp(*generate_otp())
        while isinstance(ledger.take(((bucket, 3, 900),), now=now), Taken):
            pass
        return b"done"

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    with fresh_ledger():
        for thread in threads:
            thread.start()
        try:
            children = [in_child(child) for _ in range(24)]
            assert [outcome(*one) for one in children] == [b"done"] * 24
        finally:
            stop.set()
            for thread in threads:
                thread.join()
