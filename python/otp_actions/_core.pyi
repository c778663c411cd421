# The C++ core as Python sees it. Arguments are positional: a keyword would cost more than the work.

import enum
from collections.abc import Callable
from typing import Any, NoReturn

from otp_actions.ledgers.base import Barrier, Claim, LedgerKey, Release

MAX_CODE_LENGTH: int
MAX_IDENTIFIER_SIZE: int
CLOCK_SKEW: int
MAX_KEYS: int
MAX_METADATA_DEPTH: int
MAX_METADATA_SIZE: int
MAX_PURPOSE_SIZE: int
MAX_RETRIES: int
MAX_TOKEN_SIZE: int
MIN_CODE_LENGTH: int

class InvalidToken(Exception): ...
class ContextTooBig(Exception): ...
class LedgerFull(Exception): ...
class ClockBehind(Exception): ...
class CryptoFailure(Exception): ...

class Verdict(enum.Enum):
    ADMITTED = 0
    REFUSED_LEGACY = 1
    WRONG_PURPOSE = 2
    SESSION_EXPIRED = 3
    CODE_EXPIRED = 4
    REVOKED = 5
    USED = 6
    EXHAUSTED = 7
    OVER_BUDGET = 8
    WRONG_CODE = 9
    VERIFIED = 10

def is_nested_within(value: object, depth: int, /) -> bool: ...
def match_count() -> int: ...
def openssl_library() -> tuple[str, str]: ...

class Rules:
    def __init__(
        self,
        accept_legacy: bool,
        single_use: bool,
        identifier_limit: int,
        identifier_seconds: int,
        network_limit: int,
        network_seconds: int,
        canonical: Callable[[str], str],
        folds_ascii: bool,
        /,
    ) -> None: ...
    def canonical(self, identifier: str | int, /) -> str | int: ...

class Keyring:
    def __init__(self, keys: list[bytes], /) -> None: ...
    def issue(
        self,
        identifier: str | int | None,
        metadata: str | None,
        purpose: str,
        length: int,
        max_retries: int,
        now: float,
        otp_window: int,
        session_window: int,
        issued_at: int,
        /,
    ) -> tuple[str, str]: ...
    def issue_decoy(
        self,
        identifier: str | int | None,
        metadata: str | None,
        purpose: str,
        max_retries: int,
        now: float,
        otp_window: int,
        session_window: int,
        issued_at: int,
        /,
    ) -> str: ...
    def verify(
        self,
        context: object,
        code: str,
        purpose: str,
        now: int,
        rules: Rules,
        network: str | None,
        ledger: object,
        /,
    ) -> dict[str, Any] | tuple[Verdict, str | None, int]: ...
    def count_attempt(
        self, context: object, now: int, rules: Rules, network: str | None, ledger: object, /
    ) -> tuple[Verdict, str | None, int]: ...
    def describe(self, context: object, /) -> tuple[str, str | int | None, str]: ...
    def revoke(self, context: object, now: int, ledger: object, /) -> bool: ...
    def advance_epoch(
        self,
        identifier: str | int,
        purpose: str,
        now: float,
        ttl: int,
        rules: Rules,
        ledger: object,
        /,
    ) -> int: ...
    def digests(self, use: str, whom: str | int, scope: str, rules: Rules, /) -> list[bytes]: ...
    def seal(self, plaintext: bytes, now: int, /) -> str: ...
    def open(self, token: object, /) -> bytes: ...

class Ledger:
    def take(
        self, claims: tuple[Claim, ...], barriers: tuple[Barrier, ...], now: int, /
    ) -> tuple[tuple[int, ...] | None, int, int]: ...
    def advance(self, mark: LedgerKey, value: int, ttl: int, now: int, releases: tuple[Release, ...], /) -> bool: ...
    def give_back(self, release: Release, now: int, /) -> None: ...

class ScriptLedger(Ledger):
    def __init__(
        self, prefix: bytes, run: Callable[[int, int, bytes], Any], nonsense: Callable[[], NoReturn], /
    ) -> None: ...

class NoLedger(Ledger):
    def __init__(self) -> None: ...

class ProcessLedger(Ledger):
    def __init__(self, capacity: int, /) -> None: ...
    @property
    def size(self) -> int: ...
    @property
    def capacity(self) -> int: ...
    @property
    def memory(self) -> int: ...

class Watch:
    def __init__(self, first: dict[str, Any], second: dict[str, Any], /) -> None: ...
    def is_quiet(self) -> bool: ...
