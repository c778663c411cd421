"""Fixtures that any test here may use. None is autouse."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.fernet import Fernet
from hypothesis import settings as hypothesis_settings

from otp_actions import _core

pytest.register_assert_rewrite("contract.ledger")

hypothesis_settings.register_profile("suite", deadline=None, database=None, print_blob=True)
hypothesis_settings.register_profile(  # `make fuzz`: many examples, and what failed is tried again first.
    "fuzz", deadline=None, print_blob=True, max_examples=int(os.environ.get("FUZZ_EXAMPLES", "3000"))
)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


class Comparisons:
    """How many codes the core has compared with a challenge's own: what bounds guesses, whatever a status says."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.before = _core.match_count()

    @property
    def count(self):
        return _core.match_count() - self.before


@pytest.fixture
def comparisons():
    """Count the comparisons of this test, see ``Comparisons``."""
    return Comparisons()


@pytest.fixture
def at_once():
    """Call *work* in *count* threads that all start at one barrier; return each one's result or exception."""

    def run(count, work):
        barrier = threading.Barrier(count)

        def outcome(_):
            barrier.wait()
            try:
                return work()
            except Exception as error:
                return error

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)  # Threads change places between nearly any two bytecodes.
        try:
            with ThreadPoolExecutor(count) as pool:
                return list(pool.map(outcome, range(count)))
        finally:
            sys.setswitchinterval(interval)

    return run


@pytest.fixture
def fernet(settings):
    """cryptography's Fernet under our signing key: what anybody else who holds the key can make and read."""
    return Fernet(settings.OTP_SIGNING_KEY)
