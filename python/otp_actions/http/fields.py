"""Reading ``otp`` and ``context`` from any request: DRF, or plain Django with a form or JSON body."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.http import HttpRequest
from django.http.multipartparser import MultiPartParserError
from django.http.request import RawPostDataException, UnreadablePostError
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.parsers import FormParser, JSONParser, MultiPartParser
from rest_framework.request import Request

from otp_actions.exceptions import MissingFieldsException, OTPException, gettext_noop

_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")

# What a parser, ours or the project's, throws at a body that it cannot read.
_UNREADABLE = (
    ParseError,
    UnsupportedMediaType,
    MultiPartParserError,
    BadRequest,
    SuspiciousOperation,
    UnreadablePostError,
    RawPostDataException,  # Somebody has read it before, and not kept it.
    ValueError,
    LookupError,  # A charset that is no text encoding.
    RecursionError,
)


def read_data(request: HttpRequest | Request) -> Mapping[str, Any]:
    """Return the fields of the body, and leave it readable for the view.

    Raises:
        OTPException: The body cannot be read, or is not an object.
    """
    try:
        data = _drf_data(request) if isinstance(request, Request) else _plain_data(request)
    except _UNREADABLE:
        raise OTPException(gettext_noop("The request body could not be read.")) from None
    if type(data) is not dict and not isinstance(data, Mapping):
        raise OTPException(gettext_noop("The request body must be an object."))
    return data


def _check_charset(request: HttpRequest) -> None:
    # Decoding by punycode takes quadratic time, rot13 is no text encoding: nobody sends a code in anything but these.
    encoding = request.encoding
    if encoding is not None and codecs.lookup(encoding).name not in ("utf-8", "ascii", "iso8859-1"):
        raise LookupError


def _drf_data(request: Request) -> Any:
    http: HttpRequest = request._request  # noqa: SLF001 -- DRF offers no other way
    _check_charset(http)
    if http.content_type == _FORMS[0] or (http.content_type or "").endswith("json"):
        # As newer releases of DRF do: the body is read once and kept, for the view or for whom it hands the request to.
        http.body  # noqa: B018 -- a property: reading it is what keeps it
    return request.data


def _plain_data(request: HttpRequest) -> Any:
    _check_charset(request)
    if request.method == "POST" and request.content_type in _FORMS:
        return request.POST
    request.body  # noqa: B018 -- read here, it is kept; read by a parser, it would be gone for the view.
    return Request(request, parsers=[JSONParser(), FormParser(), MultiPartParser()]).data


def otp_and_context(data: Mapping[str, Any]) -> tuple[Any, str]:
    """Return the two fields of a verification. The code may still be anything; the rule judges its form.

    Raises:
        MissingFieldsException: One of them is missing, null or empty.
        OTPException: The context is not text.
    """
    otp, context = data.get("otp"), data.get("context")
    if otp is None or otp == "" or context is None or context == "":
        raise MissingFieldsException
    if not isinstance(context, str):
        raise OTPException(gettext_noop("The context must be text."))
    return otp, context
