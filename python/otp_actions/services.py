"""The rule: issue, verify, revoke. Everything above this module is a way in; everything below is a tool.

How an attempt is judged, and in which order, is the core's (``cpp/include/otp_actions/verification.h``): the context
opens, purpose, session expiry, code expiry; then revoked, used, attempts in one atomic step of the ledger; then the
code is compared; then it is marked as used. Counting comes before comparing, so no number of parallel requests buys a
guess more.

In all of it *now* is Unix time in seconds, UTC, and the clock if it is ``None``; a setting that cannot be used raises
:class:`otp_actions.conf.SettingError`.
"""

from __future__ import annotations

import json
import time
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from json.encoder import c_make_encoder, encode_basestring  # type: ignore[attr-defined]
from typing import Any, Final, NoReturn, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from otp_actions import _core, client, conf, signals
from otp_actions._core import Verdict
from otp_actions.exceptions import (
    InvalidOTPException,
    MaxRetriesExceededException,
    MissingFieldsException,
    OTPException,
    OTPExpiredException,
    OTPRevokedException,
    OTPThrottledException,
    OTPUnavailableException,
    OTPUsedException,
    SessionExpiredException,
    gettext_noop,
)
from otp_actions.ledgers import Ledger, ledger_for
from otp_actions.ledgers.base import LedgerKey, Release
from otp_actions.ledgers.native import ledger_is_full

__all__ = [
    "agenerate_decoy",
    "agenerate_otp",
    "aincrement_retry_count",
    "arevoke_identifier",
    "arevoke_otp",
    "avalidate_otp",
    "averify_otp",
    "canonical_identifier",
    "decrypt_context",
    "encrypt_context",
    "generate_decoy",
    "generate_otp",
    "increment_retry_count",
    "revoke_identifier",
    "revoke_otp",
    "validate_otp",
    "verify_otp",
]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_MAX_TYPED: Final = 64  # Characters; more is not a code but a load.
_MAX_TYPED_BITS: Final = 213  # No int of 64 digits has more.
_HYPHENS: Final = frozenset("-\N{HYPHEN}")
_DAY: Final = 24 * 3600


def _moment(now: object) -> int:
    """Return *now*, a caller's own, in whole seconds."""
    if isinstance(now, bool) or not isinstance(now, (int, float)) or not 0 <= now < 2**53:
        raise OTPException(gettext_noop("now must be Unix time in seconds."))
    return int(now)


def _precise(now: float) -> float:
    """Return *now*, a caller's own, as it is."""
    _moment(now)
    return now


# --- JSON -----------------------------------------------------------------------------------------------------------


def _refuse(value: object) -> NoReturn:
    raise TypeError(type(value).__name__)


# The C encoder that json.dumps makes anew for each call, made once. `None` in place of the circularity check: nesting
# is bounded before it is called.
_encode_json: Final = c_make_encoder(None, _refuse, encode_basestring, None, ":", ",", False, False, False)
_decode_json: Final = json.JSONDecoder().raw_decode


_METADATA_TOO_DEEP: Final = gettext_noop("Metadata is nested deeper than %(depth)d levels.")
_METADATA_NOT_JSON: Final = gettext_noop("Metadata is not JSON: it holds %(kind)s.")


def _to_json(value: object, depth: int, too_deep: str, not_json: str) -> str:
    """Return *value* as compact JSON; the two messages say what was wrong with it."""
    try:
        if not _core.is_nested_within(value, depth):
            raise OTPException(too_deep, depth=depth)
        text = "".join(_encode_json(value, 0))
        if not text.isascii():
            text.encode()
    except TypeError as error:
        raise OTPException(not_json, kind=str(error)) from None
    except ValueError:
        raise OTPException(not_json, kind="NaN, Infinity or a lone surrogate") from None
    return text


def _metadata_json(metadata: object) -> str:
    text = _to_json(metadata, _core.MAX_METADATA_DEPTH, _METADATA_TOO_DEEP, _METADATA_NOT_JSON)
    size = len(text) if text.isascii() else len(text.encode())
    if size > _core.MAX_METADATA_SIZE:
        raise OTPException(
            gettext_noop("Metadata is larger than %(limit)d bytes of JSON."), limit=_core.MAX_METADATA_SIZE
        )
    return text


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError
    return fields


def _not_finite(name: str) -> NoReturn:
    raise ValueError(name)


_CANNOT_OPEN: Final = gettext_noop(
    "Failed to decrypt context. It may be incomplete, changed, made for something else or made with another key. "
    "Please request a new OTP."
)


# --- Any JSON object under our key ----------------------------------------------------------------------------------


@sensitive_variables()
def encrypt_context(context: Mapping[str, Any], *, now: int | None = None) -> str:
    """Seal any JSON object as a Fernet token.

    WARNING: whoever decides what is in *context* can make a context of the older release; see
    ``OTP_ACCEPT_LEGACY_CONTEXTS``.

    Args:
        context: String keys, JSON values, at most 9 levels deep and 8192 characters once sealed.
        now: Unix time in seconds, UTC; the token is stamped with it.

    Raises:
        OTPException: *context* is not that.
    """
    if not isinstance(context, Mapping):
        raise OTPException(
            gettext_noop("Encryption failed: a context is a dict, not %(kind)s."), kind=type(context).__name__
        )
    text = _to_json(
        dict(context),
        _core.MAX_METADATA_DEPTH + 1,
        gettext_noop("Encryption failed: the context is nested deeper than %(depth)d levels."),
        gettext_noop("Encryption failed: the context is not JSON: it holds %(kind)s."),
    )
    try:
        return conf.current().keyring.seal(text.encode(), int(time.time()) if now is None else _moment(now))
    except _core.ContextTooBig:
        raise _too_big() from None


@sensitive_variables()
def decrypt_context(encrypted_context: str) -> dict[str, Any]:
    """Open a token and return the JSON object in it. Judges nothing: no expiry, no purpose, no count.

    Raises:
        OTPException: The token is not of this ring, or holds something other than a JSON object.
    """
    try:
        context = json.loads(
            conf.current().keyring.open(encrypted_context).decode(),
            object_pairs_hook=_unique,
            parse_constant=_not_finite,
        )
    except (_core.InvalidToken, ValueError, RecursionError):
        raise OTPException(_CANNOT_OPEN) from None
    # How deep Python's own decoder goes depends on its version.
    if not isinstance(context, dict) or not _core.is_nested_within(context, _core.MAX_METADATA_DEPTH + 1):
        raise OTPException(_CANNOT_OPEN)
    return context


# --- Issue ----------------------------------------------------------------------------------------------------------


def _too_big() -> OTPException:
    return OTPException(
        gettext_noop("Identifier, purpose and metadata together do not fit into a context of %(limit)d characters."),
        limit=_core.MAX_TOKEN_SIZE,
    )


def _explain(identifier: object, purpose: object, max_retries: object, length: object) -> OTPException:
    """Return the error that says which argument the core refused. Never quotes one."""
    if not isinstance(purpose, str):
        return OTPException(gettext_noop("The purpose must be text."))
    if isinstance(max_retries, bool) or not isinstance(max_retries, int) or not 0 <= max_retries <= _core.MAX_RETRIES:
        return OTPException(
            gettext_noop("max_retries must be a whole number from 0 to %(limit)d."), limit=_core.MAX_RETRIES
        )
    if (
        isinstance(length, bool)
        or not isinstance(length, int)
        or not _core.MIN_CODE_LENGTH <= length <= _core.MAX_CODE_LENGTH
    ):
        return OTPException(
            gettext_noop("A code has %(low)d to %(high)d digits."),
            low=_core.MIN_CODE_LENGTH,
            high=_core.MAX_CODE_LENGTH,
        )
    if identifier is not None and (isinstance(identifier, bool) or not isinstance(identifier, (int, str))):
        return OTPException(gettext_noop("The identifier must be text, a whole number or None."))
    return OTPException(
        gettext_noop(
            "The identifier (at most %(identifier)d bytes of text, or a 64-bit number) or the purpose "
            "(at most %(purpose)d bytes of text) cannot be stored."
        ),
        identifier=_core.MAX_IDENTIFIER_SIZE,
        purpose=_core.MAX_PURPOSE_SIZE,
    )


#: Is shown every code, its context, and whom and what they are for. ``otp_actions.testing`` sets it, nobody else.
_witness: Callable[[str, str, str | int | None, str], None] | None = None


def generate_otp(
    identifier: str | int | None = None,
    metadata: Any = None,
    max_retries: int | None = None,
    length: int | None = None,
    *,
    purpose: str = "",
    supersede: bool = False,
    request: HttpRequest | None = None,
    now: float | None = None,
) -> tuple[str, str]:
    """Issue a code and its context. Deliver the code out of band; give the context to the client.

    Args:
        identifier: Who the code is for; comes back in the verified dict. At most 1024 bytes of UTF-8.
        metadata: Any JSON value, at most 4 KiB and 8 levels deep; comes back in the verified dict. Sealed, so the
            client cannot read it.
        max_retries: Attempts, right or wrong ones; ``OTP_DEFAULT_MAX_RETRIES`` if ``None``. 0 refuses at once.
        length: Digits, 4 to 12; ``OTP_DEFAULT_LENGTH`` if ``None``.
        purpose: What the code is good for; verifying needs the same.
        supersede: Make every older code for this identifier and purpose worthless. Needs both an identifier and a
            ledger, and asks the ledger once.
        request: The request this is done for; signals and the audit trail are told.
        now: Unix time in seconds, UTC; the clock if ``None``.

    Returns:
        ``(code, context)``, two strings.

    Raises:
        OTPException: An argument is out of its range; the text says which.
        OTPUnavailableException: With *supersede*: the ledger cannot tell; no code is issued.
    """
    settings = conf.current()
    now = time.time() if now is None else _precise(now)
    if max_retries is None:
        max_retries = settings.max_retries
    if length is None:
        length = settings.length
    if max_retries is True or length is True:  # To the core they would be 1.
        raise _explain(identifier, purpose, max_retries, length)
    text = None if metadata is None else _metadata_json(metadata)
    keyring, otp, session = settings.keyring, settings.otp_expiry, settings.session_expiry
    instant = 0
    try:
        if supersede:
            # For its errors: the epoch is moved only when nothing is wrong with the arguments. The code is nobody's.
            keyring.issue(identifier, text, purpose, length, max_retries, now, otp, session, instant)
            instant = _advance_epoch(settings, identifier, purpose, now, ledger_for(settings))
        issued = keyring.issue(identifier, text, purpose, length, max_retries, now, otp, session, instant)
    except (TypeError, ValueError):
        raise _explain(identifier, purpose, max_retries, length) from None
    except _core.ContextTooBig:
        raise _too_big() from None
    try:
        if _witness is not None:
            _witness(*issued, identifier, purpose)
        if signals.is_observed("generated"):
            _tell("generated", settings, issued[1], request, int(now))
    except BaseException:
        issued = ("", "")  # As in verify_otp.
        raise
    return issued


def generate_decoy(
    identifier: str | int | None = None,
    metadata: Any = None,
    max_retries: int | None = None,
    *,
    purpose: str = "",
    supersede: bool = False,
    request: HttpRequest | None = None,
    now: float | None = None,
) -> str:
    """Return a context that looks, counts and expires like a real one and never verifies.

    Give it to a client that asks for a code for an account that does not exist, so that the answer does not tell. Pass
    the same arguments as for a real one: they are those of :func:`generate_otp`, but for *length*, which a context does
    not show.

    Raises:
        OTPException, OTPUnavailableException: As :func:`generate_otp`.
    """
    settings = conf.current()
    now = time.time() if now is None else _precise(now)
    if max_retries is None:
        max_retries = settings.max_retries
    if max_retries is True:
        raise _explain(identifier, purpose, max_retries, settings.length)
    text = None if metadata is None else _metadata_json(metadata)
    issue = settings.keyring.issue_decoy
    otp, session = settings.otp_expiry, settings.session_expiry
    instant = 0
    try:
        if supersede:
            issue(identifier, text, purpose, max_retries, now, otp, session, instant)  # For its errors, as above.
            instant = _advance_epoch(settings, identifier, purpose, now, ledger_for(settings))
        context = issue(identifier, text, purpose, max_retries, now, otp, session, instant)
    except (TypeError, ValueError):
        raise _explain(identifier, purpose, max_retries, settings.length) from None
    except _core.ContextTooBig:
        raise _too_big() from None
    if signals.is_observed("generated"):
        _tell("generated", settings, context, request, int(now), "DECOY")
    return context


def canonical_identifier(identifier: str) -> str:
    """Return the one form of all spellings of *identifier* that budgets, throttles and revocations take for the same.

    Compare with it what a database finds: a database may take two spellings for the same that count as two here, and
    then each of them has a budget of its own for guessing at the one account.

    Raises:
        OTPException: It has no UTF-8 form.
    """
    try:
        return str(conf.current().rules.canonical(identifier))
    except ValueError:
        raise _explain(identifier, "", 0, _core.MIN_CODE_LENGTH) from None


# --- Tell ------------------------------------------------------------------------------------------------------------


@sensitive_variables()
def _occurrence(
    event: str, settings: conf.Settings, context: object, request: HttpRequest | None, now: int, reason: str
) -> signals.Occurrence:
    try:
        jti, identifier, purpose = settings.keyring.describe(context)
    except _core.InvalidToken:
        jti, identifier, purpose = "", None, ""
    return _seen(event, settings, jti, identifier, purpose, request, now, reason)


def _seen(
    event: str,
    settings: conf.Settings,
    jti: str,
    identifier: str | int | None,
    purpose: str,
    request: HttpRequest | None,
    now: int,
    reason: str,
) -> signals.Occurrence:
    return signals.Occurrence(
        event=event,
        reason=reason,
        identifier=identifier,
        purpose=purpose,
        jti=jti,
        address=None if request is None else client.address_of(request, settings.proxies),
        user_agent="" if request is None else request.META.get("HTTP_USER_AGENT", "")[:256],
        time=now,
    )


@sensitive_variables()
def _tell(
    event: str, settings: conf.Settings, context: object, request: HttpRequest | None, now: int, reason: str = ""
) -> None:
    signals.tell(_occurrence(event, settings, context, request, now, reason), request)


@sensitive_variables()
def _tell_refused(
    error: OTPException, settings: conf.Settings, context: object, request: HttpRequest | None, now: int
) -> None:
    if isinstance(error, (MissingFieldsException, OTPUnavailableException)):
        return  # Nothing was judged.
    event = "exhausted" if isinstance(error, (MaxRetriesExceededException, OTPThrottledException)) else "failed"
    if signals.is_observed(event):
        _tell(event, settings, context, request, now, error.code)


def _records(ledger: Ledger) -> bool:
    return ledger.transactional and signals.record is not None


class _Recording:
    """A transactional ledger that writes *occurrence* in the transaction of the first mark that moves."""

    def __init__(self, ledger: Ledger, occurrence: signals.Occurrence) -> None:
        self.take = ledger.take
        self.give_back = ledger.give_back
        self._advance = ledger.advance
        self._occurrence = occurrence

    def advance(self, mark: LedgerKey, value: int, *, ttl: int, now: int, release: tuple[Release, ...] = ()) -> bool:
        event = None if self._occurrence.recorded else self._record
        moved = self._advance(mark, value, ttl=ttl, now=now, release=release, event=event)
        if moved and event is not None:
            self._occurrence = replace(self._occurrence, recorded=True)
        return moved

    def tell(self, request: HttpRequest | None) -> None:
        """Tell what happened. Nothing was recorded if nothing was marked, as where ``OTP_SINGLE_USE`` is off."""
        signals.tell(self._occurrence, request)

    def _record(self, connection: Any) -> Iterable[tuple[str, Sequence[Any]]]:
        return () if signals.record is None else signals.record(self._occurrence, connection)


@sensitive_variables()
def _tell_done(
    core: object, event: str, settings: conf.Settings, context: object, request: HttpRequest | None, now: int
) -> None:
    """Tell what *core* has just marked."""
    if isinstance(core, _Recording):
        core.tell(request)
    else:
        _tell(event, settings, context, request, now)


def _network(settings: conf.Settings, request: HttpRequest | None) -> str | None:
    """Return what ``OTP_IP_BUDGET`` is counted for, if it is."""
    if settings.ip_budget is None or request is None:
        return None
    return client.network_of(client.address_of(request, settings.proxies))


# --- Verify ---------------------------------------------------------------------------------------------------------


@sensitive_variables()
def _typed(otp: object) -> str:
    """Return what the user typed, in the form codes are made in; raise unless it counts as an attempt."""
    if isinstance(otp, str):
        text = otp
    elif otp is None:
        raise MissingFieldsException
    elif isinstance(otp, bool) or not isinstance(otp, int):
        raise OTPException(gettext_noop("The OTP must be text or a whole number."))
    else:
        # A longer number is not even printed: that takes time in proportion to the square of its length.
        text = str(otp) if otp.bit_length() <= _MAX_TYPED_BITS else "9" * (_MAX_TYPED + 1)
    if len(text) > _MAX_TYPED:
        raise OTPException(gettext_noop("The OTP is longer than %(limit)d characters."), limit=_MAX_TYPED)
    if text.isascii() and text.isdigit():
        return text
    text = "".join(c for c in unicodedata.normalize("NFKC", text) if not c.isspace() and c not in _HYPHENS)
    if not text:
        raise MissingFieldsException
    return text


def _rejection(verdict: Verdict, new_context: str | None, attempts: int) -> OTPException:
    """Return the exception for what the core said; *attempts* is how many are left, or were allowed, or seconds."""
    if verdict is Verdict.WRONG_CODE:
        return InvalidOTPException(new_context, attempts_remaining=attempts)
    if verdict is Verdict.EXHAUSTED:
        return MaxRetriesExceededException(max_retries=attempts)
    if verdict is Verdict.OVER_BUDGET:
        return OTPThrottledException(retry_after=max(attempts, 1))
    if verdict is Verdict.WRONG_PURPOSE:
        return OTPException(gettext_noop("This OTP was issued for something else."))
    return _REJECTIONS.get(verdict, _not_opened)()


def _not_opened() -> OTPException:
    return OTPException(_CANNOT_OPEN)


_REJECTIONS: Final[dict[Verdict, Callable[[], OTPException]]] = {
    Verdict.SESSION_EXPIRED: SessionExpiredException,
    Verdict.CODE_EXPIRED: OTPExpiredException,
    Verdict.REVOKED: OTPRevokedException,
    Verdict.USED: OTPUsedException,
}


def _failure(error: Exception, encrypted_context: object) -> OTPException:
    """Return the exception for what the core raised instead of a verdict."""
    if isinstance(error, _core.LedgerFull):
        return ledger_is_full()
    if isinstance(error, _core.ClockBehind):
        signals.logger.error(
            "Another host's clock was over %d seconds ahead of this one, so nothing was revoked: compare the clocks.",
            _core.CLOCK_SKEW,
        )
        return OTPUnavailableException()
    return MissingFieldsException() if encrypted_context in (None, "") else _not_opened()


def verify_otp(
    otp: str | int,
    encrypted_context: str,
    *,
    purpose: str = "",
    request: HttpRequest | None = None,
    now: int | None = None,
) -> dict[str, Any]:
    """Verify a code, use it up, and return what was sealed with it.

    Args:
        otp: What the user typed: text or an int of at most 64 characters. Spaces, hyphens and full-width digits are
            put right; an int is not padded with zeros.
        encrypted_context: The context that came with the code, or the one that came with the last wrong attempt.
        purpose: What the code is wanted for; must equal the purpose it was issued for.
        request: The request this is done for.
        now: Unix time in seconds, UTC; the clock if ``None``.

    Returns:
        ``identifier``, ``metadata``, ``purpose``, ``timestamp``, ``otp_expiry``, ``session_expiry`` (Unix seconds),
        ``retry_count`` (as in the context), ``max_retries``, ``otp_hash`` and ``jti`` (hexadecimal), ``v``.

    Raises:
        MissingFieldsException: Code or context is missing, ``None`` or empty. Not counted.
        OTPException: The context does not open, has another purpose, or the code is not one by its form. Not counted.
        SessionExpiredException: ``now >= session_expiry``. Not counted.
        OTPExpiredException: ``now >= otp_expiry``. Not counted.
        OTPRevokedException: It was revoked. Not counted.
        OTPUsedException: It was accepted before. Not counted.
        MaxRetriesExceededException: No attempt was left. Nothing was compared.
        OTPThrottledException: The identifier or the address has used up its budget. Nothing was compared.
        InvalidOTPException: The code is wrong. Counted; ``new_context`` carries the count.
        OTPUnavailableException: The ledger cannot tell. Nothing is accepted.
    """
    try:
        settings = conf.current()
        now = int(time.time()) if now is None else _moment(now)
        # What nearly everybody types needs no second look.
        code = otp if type(otp) is str and len(otp) <= _MAX_TYPED and otp.isascii() and otp.isdigit() else _typed(otp)
        ledger = ledger_for(settings)
        core: Any = ledger.core
        if _records(ledger):
            core = _Recording(ledger, _occurrence("verified", settings, encrypted_context, request, now, ""))
        network = None if settings.ip_budget is None else _network(settings, request)
        try:
            result = settings.keyring.verify(encrypted_context, code, purpose, now, settings.rules, network, core)
        except (_core.InvalidToken, _core.ContextTooBig, _core.LedgerFull) as problem:
            error = _failure(problem, encrypted_context)
        else:
            if isinstance(result, dict):
                metadata = result["metadata"]
                if metadata is not None:
                    result["metadata"] = _decode_json(metadata)[0]
                if signals.is_observed("verified"):
                    _tell_done(core, "verified", settings, encrypted_context, request, now)
                return result
            error = _rejection(*result)
        _tell_refused(error, settings, encrypted_context, request, now)
        raise error
    except BaseException:
        # Error reports show what the frames of a traceback hold. sensitive_variables() hides that from Django's alone,
        # and costs each call, not only this one.
        otp = code = encrypted_context = ""
        result = None
        raise


def validate_otp(
    otp: str | int,
    encrypted_context: str,
    *,
    purpose: str = "",
    request: HttpRequest | None = None,
    now: int | None = None,
) -> bool:
    """Verify a code and use it up, as :func:`verify_otp` does, and return ``True``.

    Raises:
        OTPException: As :func:`verify_otp`; there is no ``False``.
    """
    try:
        verify_otp(otp, encrypted_context, purpose=purpose, request=request, now=now)
    except BaseException:
        otp = encrypted_context = ""  # As in verify_otp.
        raise
    return True


@sensitive_variables()
def increment_retry_count(encrypted_context: str, *, request: HttpRequest | None = None, now: int | None = None) -> str:
    """Count one attempt without comparing anything, and return the context that carries the new count.

    Raises:
        OTPException: The context does not open.
        OTPRevokedException, OTPUsedException, MaxRetriesExceededException, OTPThrottledException: There is nothing left
            to count.
        OTPUnavailableException: The ledger cannot tell.
    """
    now = int(time.time()) if now is None else _moment(now)
    settings = conf.current()
    try:
        verdict, context, number = settings.keyring.count_attempt(
            encrypted_context, now, settings.rules, _network(settings, request), ledger_for(settings).core
        )
    except (_core.InvalidToken, _core.ContextTooBig, _core.LedgerFull) as problem:
        error = _failure(problem, encrypted_context)
    else:
        if context is not None:
            return context
        error = _rejection(verdict, None, number)
    _tell_refused(error, settings, encrypted_context, request, now)
    raise error


# --- Revoke ----------------------------------------------------------------------------------------------------------


def _remembering(ledger: Ledger) -> Ledger:
    if not ledger.remembers:
        raise OTPException(gettext_noop("Nothing can be revoked without a ledger: set OTP_LEDGER."))
    return ledger


@sensitive_variables()
def revoke_otp(encrypted_context: str, *, request: HttpRequest | None = None, now: int | None = None) -> None:
    """Make a challenge worthless from now on, whatever context of it a client holds. Doing it twice is fine.

    Raises:
        OTPException: The context does not open, or ``OTP_LEDGER`` is ``None`` and could not remember.
        OTPUnavailableException: The ledger cannot tell. Whether the challenge is revoked is not known: call again.
    """
    now = int(time.time()) if now is None else _moment(now)
    settings = conf.current()
    ledger = _remembering(ledger_for(settings))
    core: Any = ledger.core
    if _records(ledger):
        core = _Recording(ledger, _occurrence("revoked", settings, encrypted_context, request, now, ""))
    try:
        newly = settings.keyring.revoke(encrypted_context, now, core)
    except (_core.InvalidToken, _core.LedgerFull) as error:
        raise _failure(error, encrypted_context) from None
    if newly and signals.is_observed("revoked"):
        _tell_done(core, "revoked", settings, encrypted_context, request, now)


def revoke_identifier(
    identifier: str | int,
    *,
    purpose: str = "",
    request: HttpRequest | None = None,
    now: float | None = None,
) -> None:
    """Make every code worthless that was issued to *identifier* for *purpose* before now.

    Codes that are issued afterwards are good. A verification that is under way at this very moment may still succeed.

    Raises:
        OTPException: No code can be issued with that identifier or purpose; or ``OTP_LEDGER`` is ``None`` and could not
            remember.
        OTPUnavailableException: The ledger cannot tell. Whether anything is revoked is not known: call again.
    """
    settings = conf.current()
    now = time.time() if now is None else _precise(now)
    ledger = ledger_for(settings)
    occurrence = _seen("revoked", settings, "", identifier, purpose, request, int(now), "IDENTIFIER")
    core = _Recording(ledger, occurrence) if _records(ledger) else ledger
    _advance_epoch(settings, identifier, purpose, now, core)
    if isinstance(core, _Recording):
        core.tell(request)
    else:
        signals.tell(occurrence, request)


def _advance_epoch(
    settings: conf.Settings,
    identifier: object,
    purpose: str,
    now: float,
    ledger: Ledger | _Recording,
) -> int:
    """Revoke what was issued to *identifier* before, and return the instant from which on codes are good."""
    if not isinstance(identifier, (str, int)) or isinstance(identifier, bool):
        raise OTPException(gettext_noop("Revoking by identifier, or superseding, needs an identifier."))
    if not isinstance(purpose, str):
        raise _explain(identifier, purpose, 0, settings.length)
    core = ledger if isinstance(ledger, _Recording) else _remembering(ledger).core
    # At least a day: codes in flight may have been issued when OTP_SESSION_EXPIRY_SECONDS was longer.
    ttl = max(settings.session_expiry, _DAY) + _core.CLOCK_SKEW
    try:
        return settings.keyring.advance_epoch(identifier, purpose, now, ttl, settings.rules, core)
    except ValueError:
        raise _explain(identifier, purpose, 0, settings.length) from None
    except (_core.LedgerFull, _core.ClockBehind) as error:
        raise _failure(error, "") from None


# --- Async twins ----------------------------------------------------------------------------------------------------


# Django's error reports look for sensitive_variables() in the frames that called one. A coroutine's frames have lost
# their caller by then, so every coroutine here says so itself, and _apart says it again for what it calls.


@sensitive_variables()
async def _apart(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call *function*, in a thread of its own if the ledger would block the event loop."""

    @sensitive_variables()
    def call() -> _T:
        return function(*args, **kwargs)

    if signals.is_heard():
        # In the thread of the request's other sync code: there Django's connections are closed with the request.
        return await sync_to_async(call)()
    if ledger_for(conf.current()).blocking:
        # Without arguments: what sync_to_async is given stands in its own frame.
        return await sync_to_async(call, thread_sensitive=False)()
    return call()


@sensitive_variables()
async def agenerate_otp(
    identifier: str | int | None = None,
    metadata: Any = None,
    max_retries: int | None = None,
    length: int | None = None,
    *,
    purpose: str = "",
    supersede: bool = False,
    request: HttpRequest | None = None,
    now: float | None = None,
) -> tuple[str, str]:
    """:func:`generate_otp` for async code."""
    return await _apart(
        generate_otp,
        identifier,
        metadata,
        max_retries,
        length,
        purpose=purpose,
        supersede=supersede,
        request=request,
        now=now,
    )


@sensitive_variables()
async def agenerate_decoy(
    identifier: str | int | None = None,
    metadata: Any = None,
    max_retries: int | None = None,
    *,
    purpose: str = "",
    supersede: bool = False,
    request: HttpRequest | None = None,
    now: float | None = None,
) -> str:
    """:func:`generate_decoy` for async code."""
    return await _apart(
        generate_decoy,
        identifier,
        metadata,
        max_retries,
        purpose=purpose,
        supersede=supersede,
        request=request,
        now=now,
    )


@sensitive_variables()
async def averify_otp(
    otp: str | int,
    encrypted_context: str,
    *,
    purpose: str = "",
    request: HttpRequest | None = None,
    now: int | None = None,
) -> dict[str, Any]:
    """:func:`verify_otp` for async code."""
    return await _apart(verify_otp, otp, encrypted_context, purpose=purpose, request=request, now=now)


@sensitive_variables()
async def avalidate_otp(
    otp: str | int,
    encrypted_context: str,
    *,
    purpose: str = "",
    request: HttpRequest | None = None,
    now: int | None = None,
) -> bool:
    """:func:`validate_otp` for async code."""
    return await _apart(validate_otp, otp, encrypted_context, purpose=purpose, request=request, now=now)


@sensitive_variables()
async def aincrement_retry_count(
    encrypted_context: str, *, request: HttpRequest | None = None, now: int | None = None
) -> str:
    """:func:`increment_retry_count` for async code."""
    return await _apart(increment_retry_count, encrypted_context, request=request, now=now)


@sensitive_variables()
async def arevoke_otp(encrypted_context: str, *, request: HttpRequest | None = None, now: int | None = None) -> None:
    """:func:`revoke_otp` for async code."""
    await _apart(revoke_otp, encrypted_context, request=request, now=now)


async def arevoke_identifier(
    identifier: str | int,
    *,
    purpose: str = "",
    request: HttpRequest | None = None,
    now: float | None = None,
) -> None:
    """:func:`revoke_identifier` for async code."""
    await _apart(revoke_identifier, identifier, purpose=purpose, request=request, now=now)
