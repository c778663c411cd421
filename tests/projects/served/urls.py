"""Views that hand out codes together with their contexts, for tests only, and views that want one."""

import json
import os
import uuid

from django.contrib.contenttypes.models import ContentType
from django.http import JsonResponse
from django.urls import path

from otp_actions import _core
from otp_actions.decorators import otp_verified
from otp_actions.exceptions import OTPException
from otp_actions.services import decrypt_context, generate_otp, verify_otp


class OnPurpose(Exception):
    """What a view raises that should."""


def tell_comparisons(get_response):
    """Say on each answer how many codes this worker has compared; the last words of all workers add up to the total."""

    def middleware(request):
        response = get_response(request)
        response["X-Worker"] = str(os.getpid())
        response["X-Comparisons"] = str(_core.match_count())
        return response

    return middleware


def issue(request):
    """Issue one code for each entry of the body; an entry is the keyword arguments."""
    issued = []
    for arguments in json.loads(request.body):
        code, context = generate_otp(**arguments)
        issued.append({"otp": code, "context": context, "jti": decrypt_context(context)["jti"]})
    return JsonResponse(issued, safe=False)


@otp_verified
def confirm(request):
    return JsonResponse({"jti": request.otp_context["jti"]})


@otp_verified
def confirm_and_raise(request):
    """Write something and raise, after the code was accepted."""
    request.accepted = request.otp_context["jti"]
    ContentType.objects.create(app_label="otp", model=request.accepted)
    raise OnPurpose


def try_and_raise(request):
    """Write something, verify, and raise whatever came of it."""
    fields = json.loads(request.body)
    ContentType.objects.create(app_label="otp", model=uuid.uuid4().hex)
    try:
        verify_otp(fields["otp"], fields["context"])
        request.accepted = True
    except OTPException as error:
        request.refused = error.code
    raise OnPurpose


def on_error(request):
    """What raised on purpose is told from anything else that is a 500."""
    return JsonResponse(
        {"accepted": getattr(request, "accepted", None), "refused": getattr(request, "refused", None)}, status=500
    )


def written(request):
    """Say how much of what the views wrote is there."""
    return JsonResponse({"rows": ContentType.objects.filter(app_label="otp").count()})


handler500 = on_error
urlpatterns = [
    path("issue/", issue),
    path("confirm/", confirm),
    path("confirm-and-raise/", confirm_and_raise),
    path("try-and-raise/", try_and_raise),
    path("written/", written),
]
