"""Never run: type-checked by ``make lint``, to show that the public API has the types that users see."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from rest_framework import serializers
from rest_framework.views import APIView
from typing_extensions import assert_type

from otp_actions.decorators import otp_protected, otp_verified, require_otp_verification
from otp_actions.exceptions import InvalidOTPException, OTPUnavailableException
from otp_actions.mixins import OTPProtectedMixin, OTPVerifiedMixin
from otp_actions.services import (
    averify_otp,
    decrypt_context,
    encrypt_context,
    generate_decoy,
    generate_otp,
    increment_retry_count,
    revoke_otp,
    validate_otp,
    verify_otp,
)
from otp_actions.testing import IssuedOTP, capture_otps


class NewPassword(serializers.Serializer[Any]):
    new_password = serializers.CharField()


assert_type(generate_otp("ada@example.com"), tuple[str, str])
assert_type(generate_otp(identifier=42, metadata={"a": 1}, max_retries=3, length=6, purpose="x"), tuple[str, str])
assert_type(generate_decoy("ada@example.com", purpose="login"), str)
assert_type(verify_otp(123456, "context", purpose="login", now=0), dict[str, Any])
assert_type(validate_otp("123456", "context"), bool)
assert_type(increment_retry_count("context"), str)
assert_type(encrypt_context({"a": 1}), str)
assert_type(decrypt_context("token"), dict[str, Any])
assert_type(InvalidOTPException().new_context, str | None)
assert_type(OTPUnavailableException().retry_after, int)
with capture_otps() as issued:
    assert_type(issued, list[IssuedOTP])
revoke_otp("context")


async def check_async() -> None:
    assert_type(await averify_otp("1", "context"), dict[str, Any])


@otp_protected
def bare(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


@otp_verified(purpose="login", precheck=NewPassword)
def with_arguments(request: HttpRequest, number: int) -> HttpResponse:
    return HttpResponse()


@require_otp_verification
def other_name(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


# A decorated view keeps its type.
assert_type(bare(HttpRequest()), HttpResponse)
assert_type(with_arguments(HttpRequest(), 1), HttpResponse)


class Ask(OTPProtectedMixin, APIView):
    otp_purpose = "login"


class Confirm(OTPVerifiedMixin, APIView):
    otp_purpose = "login"
    otp_precheck = NewPassword
