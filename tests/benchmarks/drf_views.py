"""One view three times: without a code, behind ``@otp_verified``, and calling the baseline."""

from __future__ import annotations

from django.urls import path
from rest_framework.decorators import api_view
from rest_framework.response import Response

from benchmarks.baseline import verify
from otp_actions.decorators import otp_verified


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
    # What the decorator of release 0.1 does, without its answers to what is wrong.
    code, context = (str(request.data.get(name) or "").strip() for name in ("otp", "context"))
    request.otp_context = verify(code, context)
    request.otp_verified = True
    return answer(request)


#: Each is a URL configuration of its own, since finding the second view of one takes longer than the first.
URLS = {name: (path("", view),) for name, view in (("without", without), ("ours", ours), ("baseline", baseline))}
