"""Views that do things their own way are verified all the same: in doubt a request needs a code."""

import functools
import json

import pytest
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils.decorators import method_decorator
from django.views.generic import View
from rest_framework.decorators import api_view
from rest_framework.response import Response
from rest_framework.views import APIView

from otp_actions.decorators import otp_verified
from otp_actions.mixins import OTPVerifiedMixin
from otp_actions.services import generate_otp


class OwnDispatch(View):
    def dispatch(self, request):
        return HttpResponse("ran")


class OwnSetup(View):
    def setup(self, request, *args, **kwargs):
        super().setup(request, *args, **kwargs)
        self.post = lambda request: HttpResponse("ran")


class Named(View):
    http_method_names = ("get",)

    def post(self, request):
        return HttpResponse("ran")


class OwnInit(APIView):
    authentication_classes = ()

    def __init__(self, **kwargs):
        self.service = object()

    def post(self, request):
        return Response("ran")


class OwnDrfDispatch(APIView):
    def dispatch(self, request):
        return HttpResponse("ran")


class Mixed(OTPVerifiedMixin, OwnDispatch):
    pass


@method_decorator(otp_verified, name="dispatch")
class Decorated(OwnDispatch):
    pass


VIEWS = {
    "dispatch of its own": otp_verified(OwnDispatch.as_view()),
    "setup of its own": otp_verified(OwnSetup.as_view()),
    "methods named by as_view": otp_verified(Named.as_view(http_method_names=["get", "post"])),
    "init of its own, DRF": otp_verified(OwnInit.as_view()),
    "dispatch of its own, DRF": otp_verified(OwnDrfDispatch.as_view()),
    "dispatch of its own, mixin": Mixed.as_view(),
    "dispatch of its own, decorated": Decorated.as_view(),
}


def post(view, **fields):
    return view(RequestFactory().post("/", json.dumps(fields), "application/json"))


@pytest.mark.parametrize("name", VIEWS)
def test_view_is_not_run_without_a_code(name):
    code, context = generate_otp()
    assert post(VIEWS[name]).status_code == 400
    assert post(VIEWS[name], otp="wrong", context=context).status_code == 400
    assert post(VIEWS[name], otp=code, context=context).status_code == 200
    assert post(VIEWS[name], otp=code, context=context).status_code == 410


def test_view_that_a_decorator_puts_in_place_of_the_verified_one_is_no_silent_way_in():
    @api_view(["POST"])
    def first(request):
        return Response("first")

    @api_view(["POST"])
    def second(request):
        return Response("second")

    @otp_verified
    @functools.wraps(first)
    def switch(request):
        return second(request)

    with pytest.raises(RuntimeError, match="without the OTP verification"):
        post(switch)
