"""One view three times: without a code, behind ``@otp_verified``, and calling the baseline."""

from __future__ import annotations

from django.conf import settings
from django.urls import path
from rest_framework.decorators import api_view
from rest_framework.response import Response

from benchmarks.baseline import Baseline
from otp_actions.decorators import otp_verified

BASELINE = Baseline(settings.OTP_SIGNING_KEY.encode())


def answer(request):
    return Response({"paid": request.data["amount"], "currency": request.data["currency"]})


@api_view(["POST"])
def without(request):
    return answer(request)


@otp_verified
@api_view(["POST"])
def ours(request):
    return answer(request)


@api_view(["POST"])
def baseline(request):
    request.otp_context = BASELINE.verify(request.data["otp"], request.data["context"])
    return answer(request)


#: Each is a URL configuration of its own, since finding the second view of one takes longer than the first.
URLS = {name: (path("", view),) for name, view in (("without", without), ("ours", ours), ("baseline", baseline))}
