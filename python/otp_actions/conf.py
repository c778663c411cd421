"""The settings: read lazily, validated when used, one rule for each.

``current()`` is what the rest of the package calls. ``checks.py`` runs the same readers, so a check and a request can
never disagree about what is valid.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string
from django.views.decorators.debug import sensitive_variables

from otp_actions._core import MAX_CODE_LENGTH, MAX_KEYS, MAX_RETRIES, MIN_CODE_LENGTH, Keyring, Rules, Watch

GENERATE_KEY: Final = "python -m otp_actions generate-key"

#: Every setting and its default. The key has none on purpose.
DEFAULTS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "OTP_SIGNING_KEY": None,
        "OTP_SIGNING_KEY_FALLBACKS": (),
        "OTP_EXPIRY_SECONDS": 300,
        "OTP_SESSION_EXPIRY_SECONDS": 900,
        "OTP_DEFAULT_MAX_RETRIES": 3,
        "OTP_DEFAULT_LENGTH": 6,
        "OTP_LEDGER": "process",
        "OTP_PROCESS_LEDGER_SIZE": 2**18,
        "OTP_REDIS_URL": "redis://127.0.0.1:6379/0",
        "OTP_LEDGER_DATABASE": "default",
        "OTP_LEDGER_TIMEOUT": 2.0,
        "OTP_IDENTIFIER_BUDGET": "30/h",
        "OTP_IP_BUDGET": None,
        "OTP_CANONICAL_IDENTIFIER": None,
        "OTP_TRUSTED_PROXY_COUNT": 0,
        "OTP_SINGLE_USE": True,
        "OTP_ACCEPT_LEGACY_CONTEXTS": True,
        "OTP_AUDIT_IDENTIFIERS": "digest",
        "OTP_AUDIT_RETENTION": 90 * 24 * 3600,
    }
)

BUILT_IN_LEDGERS: Final = (None, "process", "redis", "database")


class SettingError(ImproperlyConfigured):
    """A setting that cannot be used. The text says which, why, and what to do; it never quotes a key.

    Attributes:
        check_id: The id under which ``manage.py check`` reports it.
    """

    def __init__(self, check_id: str, message: str) -> None:
        super().__init__(message)
        self.check_id = check_id


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, validated. Its repr shows no key: a :class:`Keyring` does not show itself."""

    keyring: Keyring
    otp_expiry: int
    session_expiry: int
    max_retries: int
    length: int
    ledger: str | None
    process_ledger_size: int
    redis_url: str = field(repr=False)
    ledger_database: str
    ledger_timeout: float
    identifier_budget: Rate | None
    ip_budget: Rate | None
    proxies: int
    single_use: bool
    accept_legacy: bool
    rules: Rules
    audit_identifiers: str
    audit_retention: int | None


def meant_by(name: str) -> str | None:
    """Return the setting of ours that *name* looks like but is not; other packages begin with ``OTP_``, too."""
    if name in DEFAULTS or not name.startswith(("OTP_", "OPT_")):
        return None
    return next(iter(get_close_matches(name, DEFAULTS, n=1, cutoff=0.7)), None)


def read(name: str) -> Any:
    """Return the raw value of setting *name*, or its default."""
    return getattr(django_settings, name, DEFAULTS[name])


@sensitive_variables()
def _key(name: str, value: object) -> bytes:
    if isinstance(value, bytes):
        try:
            value = value.decode("ascii")
        except UnicodeDecodeError:
            value = "not ASCII"
    if not isinstance(value, str):
        raise SettingError("otp_actions.E002", f"{name} must be a str or bytes. Make a key: {GENERATE_KEY}")
    if value.startswith(("b'", 'b"')):
        raise SettingError(
            "otp_actions.E002",
            f"{name} looks like the printed form of a bytes object (b'...'). Remove the leading b and the quotes.",
        )
    for what, bare in (("white space", value.strip()), ("quotes", value.strip("'\""))):
        if value != bare:
            raise SettingError(
                "otp_actions.E002", f"{name} has {what} around it, as a line of a file may have. Remove that."
            )
    try:
        key = base64.urlsafe_b64decode(value)
    except (binascii.Error, ValueError):
        key = b""
    if base64.urlsafe_b64encode(key).decode() != value:
        raise SettingError(
            "otp_actions.E002",
            f"{name} is not a Fernet key: 32 bytes in URL-safe base64, 44 characters, the last one =. "
            f"Make one: {GENERATE_KEY}",
        )
    if len(key) != 32:
        raise SettingError(
            "otp_actions.E003", f"{name} holds {len(key)} bytes, but a key has exactly 32. Make one: {GENERATE_KEY}"
        )
    return key


@sensitive_variables()
def read_keyring() -> Keyring:
    """Return the ring of ``OTP_SIGNING_KEY`` and ``OTP_SIGNING_KEY_FALLBACKS``."""
    primary = read("OTP_SIGNING_KEY")
    if primary is None or primary in ("", b""):
        raise SettingError("otp_actions.E001", f"OTP_SIGNING_KEY is not set. Make a key: {GENERATE_KEY}")
    fallbacks = read("OTP_SIGNING_KEY_FALLBACKS")
    if not isinstance(fallbacks, (list, tuple)):
        raise SettingError(
            "otp_actions.E002",
            f"OTP_SIGNING_KEY_FALLBACKS must be a list of keys, not {type(fallbacks).__name__}. "
            'Keys in one text, with commas between: .split(",")',
        )
    keys = [_key("OTP_SIGNING_KEY", primary)]
    keys += [_key(f"OTP_SIGNING_KEY_FALLBACKS[{i}]", key) for i, key in enumerate(fallbacks)]
    if len(keys) > MAX_KEYS:
        raise SettingError(
            "otp_actions.E004",
            f"OTP_SIGNING_KEY_FALLBACKS holds {len(fallbacks)} keys; at most {MAX_KEYS - 1} are tried. "
            "Retire the oldest.",
        )
    if len(set(keys)) < len(keys):
        raise SettingError(
            "otp_actions.E004", "OTP_SIGNING_KEY and OTP_SIGNING_KEY_FALLBACKS name the same key twice. Remove one."
        )
    return Keyring(keys)


def _seconds(name: str) -> int:
    value = read(name)
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or not 1 <= value <= 2**31:
        raise SettingError(
            "otp_actions.E005",
            f"{name} must be a timedelta or a number of seconds, from 1 second to 68 years, not {value!r}.",
        )
    return int(value)


def read_windows() -> tuple[int, int]:
    """Return ``(OTP_EXPIRY_SECONDS, OTP_SESSION_EXPIRY_SECONDS)`` in seconds."""
    otp, session = _seconds("OTP_EXPIRY_SECONDS"), _seconds("OTP_SESSION_EXPIRY_SECONDS")
    if otp > session:
        raise SettingError(
            "otp_actions.E005",
            f"OTP_EXPIRY_SECONDS ({otp}) is longer than OTP_SESSION_EXPIRY_SECONDS ({session}), but a code cannot "
            "outlive its context. Raise the session's or lower the code's.",
        )
    return otp, session


def _integer(check_id: str, name: str, low: int, high: int) -> int:
    value = read(name)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise SettingError(check_id, f"{name} must be a whole number from {low} to {high}.")
    return value


def _boolean(name: str) -> bool:
    value = read(name)
    if not isinstance(value, bool):
        raise SettingError("otp_actions.E009", f"{name} must be True or False.")
    return value


def read_max_retries() -> int:
    """Return ``OTP_DEFAULT_MAX_RETRIES``."""
    return _integer("otp_actions.E006", "OTP_DEFAULT_MAX_RETRIES", 0, MAX_RETRIES)


def read_length() -> int:
    """Return ``OTP_DEFAULT_LENGTH``, in digits."""
    return _integer("otp_actions.E007", "OTP_DEFAULT_LENGTH", MIN_CODE_LENGTH, MAX_CODE_LENGTH)


_PATH: Final = re.compile(r"\w+(\.\w+)+")


def read_ledger() -> str | None:
    """Return ``OTP_LEDGER``: ``None``, the name of a built-in ledger, or a dotted path."""
    value = read("OTP_LEDGER")
    if value is None or (isinstance(value, str) and (value in BUILT_IN_LEDGERS or _PATH.fullmatch(value))):
        return value
    names = ", ".join(repr(name) for name in BUILT_IN_LEDGERS)
    # A URL that was meant for another setting may hold a password.
    shown = "OTP_LEDGER" if isinstance(value, str) and re.search(r"\W", value) else f"OTP_LEDGER = {value!r}"
    raise SettingError(
        "otp_actions.E008",
        f"{shown} is not a known ledger. Use one of {names}, or the dotted path of a Ledger class.",
    )


def read_process_ledger_size() -> int:
    """Return ``OTP_PROCESS_LEDGER_SIZE``, in entries."""
    return _integer("otp_actions.E008", "OTP_PROCESS_LEDGER_SIZE", 1, 2**30)


@sensitive_variables()
def read_backends() -> tuple[str, str, float]:
    """Return ``(OTP_REDIS_URL, OTP_LEDGER_DATABASE, OTP_LEDGER_TIMEOUT)``, the last in seconds."""
    url, alias, timeout = read("OTP_REDIS_URL"), read("OTP_LEDGER_DATABASE"), read("OTP_LEDGER_TIMEOUT")
    if not isinstance(url, str) or not url.startswith(("redis://", "rediss://", "unix://")):
        # Not quoted: it may hold a password.
        raise SettingError(
            "otp_actions.E010",
            "OTP_REDIS_URL must begin with redis://, rediss:// or unix://, like redis://127.0.0.1:6379/0.",
        )
    if read("OTP_LEDGER") == "database" and (not isinstance(alias, str) or alias not in django_settings.DATABASES):
        raise SettingError(
            "otp_actions.E010",
            f"OTP_LEDGER_DATABASE = {alias!r} is not in DATABASES. Name one of its aliases: "
            f"{', '.join(map(repr, django_settings.DATABASES)) or 'there is none yet'}.",
        )
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0.01 <= timeout <= 60:
        raise SettingError(
            "otp_actions.E010", f"OTP_LEDGER_TIMEOUT must be a number of seconds from 0.01 to 60, not {timeout!r}."
        )
    return url, alias, float(timeout)


class Rate(NamedTuple):
    """At most *limit* in *seconds*."""

    limit: int
    seconds: int


_RATE: Final = re.compile(r"([0-9]{1,7})/(s|sec|second|m|min|minute|h|hour|d|day)")
_NO_RATE: Final = Rate(0, 0)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def rate(text: object, name: str) -> Rate:
    """Return the rate that *text* (``"30/h"``) says; *name* is what a mistake is reported under."""
    match = _RATE.fullmatch(text) if isinstance(text, str) else None
    if match is None or not 1 <= int(match[1]) <= MAX_RETRIES:
        raise SettingError(
            "otp_actions.E011",
            f'{name} must be a rate like "30/h" (a number from 1 to {MAX_RETRIES}, then s, m, h or d), not {text!r}.',
        )
    return Rate(int(match[1]), _SECONDS[match[2][0]])


def read_budgets() -> tuple[Rate | None, Rate | None]:
    """Return ``(OTP_IDENTIFIER_BUDGET, OTP_IP_BUDGET)``; ``None`` is no budget."""
    names = ("OTP_IDENTIFIER_BUDGET", "OTP_IP_BUDGET")
    identifier, ip = (None if read(name) is None else rate(read(name), name) for name in names)
    return identifier, ip


# What Unicode calls default-ignorable and does not count among the format characters: joiners, fillers, selectors. They
# show nothing, and mail arrives without them.
_IGNORABLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)


def fold(identifier: str) -> str:
    """Return the one form of all spellings that look alike: NFKC_Casefold (Unicode 3.13, R5), without white space.

    The ideographic full stop is a dot, as in the name of a mail server (RFC 3490, 3.1). The core does all this itself
    where an identifier is ASCII.
    """
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", identifier).casefold())
    text = "".join(c for c in _IGNORABLE.sub("", text) if unicodedata.category(c) != "Cf")
    # Again: what was removed may have stood between a letter and its accent.
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).strip()
    return text.replace("\N{IDEOGRAPHIC FULL STOP}", ".")


def read_canonical() -> Callable[[str], str] | None:
    """Return the function that ``OTP_CANONICAL_IDENTIFIER`` names, or ``None``."""
    path = read("OTP_CANONICAL_IDENTIFIER")
    if path is None:
        return None
    try:
        function = import_string(path) if isinstance(path, str) else None
    except ImportError as error:
        raise SettingError(
            "otp_actions.E012",
            f"OTP_CANONICAL_IDENTIFIER cannot be imported: {error}. Name a function by its dotted path.",
        ) from error
    if not callable(function):
        raise SettingError(
            "otp_actions.E012", "OTP_CANONICAL_IDENTIFIER must be the dotted path of a function from str to str."
        )
    return cast("Callable[[str], str]", function)


def read_proxies() -> int:
    """Return ``OTP_TRUSTED_PROXY_COUNT``."""
    return _integer("otp_actions.E013", "OTP_TRUSTED_PROXY_COUNT", 0, 16)


def read_audit() -> tuple[str, int | None]:
    """Return ``OTP_AUDIT_IDENTIFIERS`` and ``OTP_AUDIT_RETENTION`` in seconds, ``None`` for ever."""
    identifiers = read("OTP_AUDIT_IDENTIFIERS")
    if identifiers not in ("digest", "plain"):
        raise SettingError("otp_actions.E014", 'OTP_AUDIT_IDENTIFIERS must be "digest" or "plain".')
    retention = read("OTP_AUDIT_RETENTION")
    return identifiers, None if retention is None else _seconds("OTP_AUDIT_RETENTION")


def read_switches() -> tuple[bool, bool]:
    """Return ``(OTP_SINGLE_USE, OTP_ACCEPT_LEGACY_CONTEXTS)``."""
    return _boolean("OTP_SINGLE_USE"), _boolean("OTP_ACCEPT_LEGACY_CONTEXTS")


#: What ``manage.py check`` runs, one after the other.
READERS: Final[tuple[Callable[[], object], ...]] = (
    read_keyring,
    read_windows,
    read_max_retries,
    read_length,
    read_ledger,
    read_process_ledger_size,
    read_backends,
    read_budgets,
    read_canonical,
    read_proxies,
    read_switches,
    read_audit,
)


@sensitive_variables()
def _load() -> Settings:
    otp_expiry, session_expiry = read_windows()
    single_use, accept_legacy = read_switches()
    redis_url, ledger_database, ledger_timeout = read_backends()
    identifier_budget, ip_budget = read_budgets()
    audit_identifiers, audit_retention = read_audit()
    return Settings(
        keyring=read_keyring(),
        otp_expiry=otp_expiry,
        session_expiry=session_expiry,
        max_retries=read_max_retries(),
        length=read_length(),
        ledger=read_ledger(),
        process_ledger_size=read_process_ledger_size(),
        redis_url=redis_url,
        ledger_database=ledger_database,
        ledger_timeout=ledger_timeout,
        identifier_budget=identifier_budget,
        ip_budget=ip_budget,
        proxies=read_proxies(),
        single_use=single_use,
        accept_legacy=accept_legacy,
        rules=Rules(
            accept_legacy,
            single_use,
            *(identifier_budget or _NO_RATE),
            *(ip_budget or _NO_RATE),
            read_canonical() or fold,
            read_canonical() is None,
        ),
        audit_identifiers=audit_identifiers,
        audit_retention=audit_retention,
    )


#: What LazySettings remembers: one dict for the life of the process. It holds ``_wrapped`` and every setting that was
#: read; an assignment drops the entry, and ``override_settings`` replaces ``_wrapped`` and drops them all.
_known: Final = vars(django_settings)


class _Snapshot(NamedTuple):
    """The last settings, and what says whether any has changed since, ours or not."""

    settings: Settings
    watch: Watch


_snapshot: _Snapshot | None = None
_READINGS: Final = 8  # Of settings that never stay the same; then the last reading serves, once.


def current() -> Settings:
    """Return the settings as they are now.

    Raises:
        SettingError: One of them cannot be used.
    """
    snapshot = _snapshot
    return snapshot.settings if snapshot is not None and snapshot.watch.is_quiet() else _read_again()


@sensitive_variables()
def _read_again() -> Settings:
    global _snapshot
    for _ in range(_READINGS):
        for name in DEFAULTS:
            getattr(django_settings, name, None)  # Django remembers what is read, which is a change as well.
        # Before they are read: what another thread changes meanwhile must not pass for what was read.
        watch = Watch(_known, vars(_known["_wrapped"]))
        settings = _load()
        if watch.is_quiet():
            _snapshot = _Snapshot(settings, watch)
            break
    return settings
