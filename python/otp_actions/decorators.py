"""``otp_protected``, ``otp_verified``, ``otp_throttle``: above or below ``@api_view``, with or without parentheses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

from otp_actions.http.doors import IssuingDoor, Precheck, VerifyingDoor, put_behind
from otp_actions.http.throttles import otp_throttle

__all__ = ["otp_protected", "otp_throttle", "otp_verified", "require_otp_verification"]

_View = TypeVar("_View", bound=Callable[..., Any])


@overload
def otp_protected(view: _View) -> _View: ...
@overload
def otp_protected(view: None = None, *, purpose: str = "") -> Callable[[_View], _View]: ...
def otp_protected(view: Any = None, *, purpose: str = "") -> Any:
    """Give a view ``request.generate_otp()`` and ``request.generate_decoy()`` (``agenerate_…`` in async views).

    Args:
        view: Any Django or DRF view, or a method of a class-based one.
        purpose: What the codes are good for; ``otp_verified`` needs the same.
    """
    door = IssuingDoor(purpose=purpose)
    return put_behind(door, view) if view is not None else lambda view: put_behind(door, view)


@overload
def otp_verified(view: _View) -> _View: ...
@overload
def otp_verified(
    view: None = None, *, purpose: str = "", precheck: Precheck | None = None
) -> Callable[[_View], _View]: ...
def otp_verified(view: Any = None, *, purpose: str = "", precheck: Precheck | None = None) -> Any:
    """Run a view's unsafe methods only with a code that verifies.

    The request's body holds ``otp`` and ``context``. On success ``request.otp_verified`` is ``True`` and
    ``request.otp_context`` the verified dict; on failure the view is not run and the client gets the reason. GET, HEAD
    and OPTIONS pass unverified, with ``request.otp_verified`` ``False``.

    Args:
        view: Any Django or DRF view, or a method of a class-based one.
        purpose: What the code must have been issued for.
        precheck: A serializer class, or a callable that is given the request, run before anything is counted: a new
            password that is refused then does not cost the code. It raises, or returns a response, to refuse.
    """
    door = VerifyingDoor(purpose=purpose, precheck=precheck)
    return put_behind(door, view) if view is not None else lambda view: put_behind(door, view)


require_otp_verification = otp_verified
