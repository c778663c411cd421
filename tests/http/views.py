"""Every kind of view, made from the same few bodies: a kind says how a view is put behind a door, a scenario which."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import django
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.views import View
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.exceptions import ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from otp_actions.decorators import otp_protected, otp_verified, require_otp_verification
from otp_actions.exceptions import OTPRevokedException
from otp_actions.mixins import OTPProtectedMixin, OTPVerifiedMixin

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
UNSAFE = METHODS[1:]

#: What careless views keep in local variables.
CANARIES = ("canary-in-otp", "canary-in-context", "canary-in-code")


def fields_of(request):
    """Read the body as a view would, after the door has read it."""
    if isinstance(request, Request):
        return request.data
    if request.content_type == "application/json":
        return json.loads(request.body)
    return request.POST


# --- Bodies: what a view does once it is reached --------------------------------------------------------------------


def report(request):
    read = {} if request.method in ("GET", "HEAD") else fields_of(request)
    return {
        "verified": request.otp_verified,
        "identifier": request.otp_context and request.otp_context["identifier"],
        "method": request.method,
        "read": sorted(read),
        "files": {name: file.read().decode() for name, file in request.FILES.items()},
    }


def report_raw(request):
    return {"verified": request.otp_verified, "body": request.body.decode()}


def issue(request):
    fields = {} if request.method in ("GET", "HEAD") else fields_of(request)
    _, context = request.generate_otp(identifier=fields.get("email"))
    return {"context": context}


async def aissue(request):
    fields = {} if request.method in ("GET", "HEAD") else fields_of(request)
    _, context = await request.agenerate_otp(identifier=fields.get("email"))
    return {"context": context}


def issue_then_fail(request):
    issue(request)
    raise ValueError("after issuing")


async def aissue_then_fail(request):
    await aissue(request)
    raise ValueError("after issuing")


def decoy(request):
    return {"context": request.generate_decoy(identifier=fields_of(request).get("email"))}


async def adecoy(request):
    return {"context": await request.agenerate_decoy(identifier=fields_of(request).get("email"))}


def issue_next(request):
    _, context = request.generate_otp(identifier=request.otp_context["identifier"])
    return {"verified": request.otp_verified, "context": context}


def write_and_fail(request):
    Group.objects.create(name="written")
    raise ValueError("after writing")


def raising(error, *args):
    def body(request):
        raise error(*args)

    return body


ASYNC_TWINS = {issue: aissue, issue_then_fail: aissue_then_fail, decoy: adecoy}


# --- Prechecks ------------------------------------------------------------------------------------------------------


class NewPassword(serializers.Serializer):
    new_password = serializers.CharField(min_length=8)


def refuse_by_raising(request):
    if len(fields_of(request).get("new_password", "")) < 8:
        raise ValidationError({"new_password": ["Too short."]})


def refuse_by_answering(request):
    if len(fields_of(request).get("new_password", "")) < 8:
        return HttpResponse("too short", status=422)
    return None


def break_down(request):
    otp, context = fields_of(request)["otp"], fields_of(request)["context"]
    raise RuntimeError(f"{len(otp)}, {len(context)}")


async def arefuse_by_answering(request):
    return refuse_by_answering(request)


async def arefuse_by_raising(request):
    refuse_by_raising(request)


# --- Guards: which doors ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Guard:
    """One or two doors, as a decorator and as mixins."""

    decorators: tuple[Callable[..., Any], ...]
    aliases: tuple[Callable[..., Any], ...]
    mixins: tuple[type, ...]
    options: dict[str, Any] = field(default_factory=dict)

    def decorate(self, view):
        for decorator in self.decorators:
            view = decorator(**self.options)(view) if self.options else decorator(view)
        return view

    def decorate_with_parentheses(self, view):
        for decorator in self.decorators:
            view = decorator(**self.options)(view)
        return view

    def decorate_by_alias(self, view):
        for alias in self.aliases:
            view = alias(**self.options)(view) if self.options else alias(view)
        return view

    @property
    def attributes(self):
        return {
            f"otp_{name}": value if isinstance(value, (str, type)) else staticmethod(value)
            for name, value in self.options.items()
        }


def issuing(**options):
    return Guard((otp_protected,), (otp_protected,), (OTPProtectedMixin,), options)


def verifying(**options):
    return Guard((otp_verified,), (require_otp_verification,), (OTPVerifiedMixin,), options)


def both(**options):
    return Guard(
        (otp_protected, otp_verified),
        (otp_protected, require_otp_verification),
        (OTPProtectedMixin, OTPVerifiedMixin),
        options,
    )


# --- Kinds: how a view is put behind them ----------------------------------------------------------------------------


def drf_method(body):
    def handler(self, request, *args, **kwargs):
        otp, context, code = CANARIES  # noqa: RUF059
        return Response(body(request))

    return handler


def plain_method(body):
    def handler(self, request, *args, **kwargs):
        otp, context, code = CANARIES  # noqa: RUF059
        return JsonResponse(body(request))

    return handler


def async_method(body):
    twin = ASYNC_TWINS.get(body)

    async def handler(self, request, *args, **kwargs):
        otp, context, code = CANARIES  # noqa: RUF059
        return JsonResponse(body(request) if twin is None else await twin(request))

    return handler


def unchanged(value):
    return value


def make_class(
    *bases, body, methods, handler=drf_method, each=unchanged, whole=unchanged, attributes=None, actions=False
):
    """Make a view class whose handlers (named as actions if *actions*) run *body*."""
    names = {method: ACTIONS[method] if actions else method.lower() for method in methods}
    return whole(type("Made", bases, {**(attributes or {}), **{name: each(handler(body)) for name in names.values()}}))


ACTIONS = {"GET": "list", "POST": "create", "PUT": "update", "PATCH": "partial_update", "DELETE": "destroy"}


def routes(methods):
    return {method.lower(): ACTIONS[method] for method in methods}


def drf_function(body, methods):
    def view(request, *args, **kwargs):
        otp, context, code = CANARIES  # noqa: RUF059
        return Response(body(request))

    # DRF's api_view answers HEAD only where it is told to.
    return view, api_view([*methods, "HEAD"])


def drf_above(guard, body, methods):
    view, exposed = drf_function(body, methods)
    return guard.decorate(exposed(view))


def drf_above_with_parentheses(guard, body, methods):
    view, exposed = drf_function(body, methods)
    return guard.decorate_with_parentheses(exposed(view))


def drf_above_by_alias(guard, body, methods):
    view, exposed = drf_function(body, methods)
    return guard.decorate_by_alias(exposed(view))


def drf_below(guard, body, methods):
    view, exposed = drf_function(body, methods)
    return exposed(guard.decorate(view))


def drf_below_with_parentheses(guard, body, methods):
    view, exposed = drf_function(body, methods)
    return exposed(guard.decorate_with_parentheses(view))


def drf_on_method(guard, body, methods):
    return make_class(APIView, body=body, methods=methods, each=guard.decorate).as_view()


def drf_method_decorator(guard, body, methods):
    return make_class(APIView, body=body, methods=methods, each=method_decorator(guard.decorate)).as_view()


def drf_dispatch(guard, body, methods):
    whole = method_decorator(guard.decorate, name="dispatch")
    return make_class(APIView, body=body, methods=methods, whole=whole).as_view()


def drf_as_view(guard, body, methods):
    return guard.decorate(make_class(APIView, body=body, methods=methods).as_view())


def drf_mixin(guard, body, methods):
    return make_class(*guard.mixins, APIView, body=body, methods=methods, attributes=guard.attributes).as_view()


def drf_generic_mixin(guard, body, methods):
    attributes = {**guard.attributes, "serializer_class": NewPassword, "get_object": lambda self: None}
    return make_class(*guard.mixins, GenericAPIView, body=body, methods=methods, attributes=attributes).as_view()


def drf_viewset_mixin(guard, body, methods):
    made = make_class(*guard.mixins, ViewSet, body=body, methods=methods, attributes=guard.attributes, actions=True)
    return made.as_view(routes(methods))


def drf_viewset_as_view(guard, body, methods):
    return guard.decorate(make_class(ViewSet, body=body, methods=methods, actions=True).as_view(routes(methods)))


def drf_viewset_actions(guard, body, methods):
    each = method_decorator(guard.decorate)
    return make_class(ViewSet, body=body, methods=methods, each=each, actions=True).as_view(routes(methods))


def plain_function(guard, body, methods):
    def view(request, *args, **kwargs):
        otp, context, code = CANARIES  # noqa: RUF059
        return JsonResponse(body(request))

    return guard.decorate(view)


def plain_mixin(guard, body, methods):
    return make_class(
        *guard.mixins, View, body=body, methods=methods, handler=plain_method, attributes=guard.attributes
    ).as_view()


def plain_as_view(guard, body, methods):
    return guard.decorate(make_class(View, body=body, methods=methods, handler=plain_method).as_view())


def plain_on_method(guard, body, methods):
    return make_class(View, body=body, methods=methods, handler=plain_method, each=guard.decorate).as_view()


def plain_method_decorator(guard, body, methods):
    each = method_decorator(guard.decorate)
    return make_class(View, body=body, methods=methods, handler=plain_method, each=each).as_view()


def plain_dispatch(guard, body, methods):
    whole = method_decorator(guard.decorate, name="dispatch")
    return make_class(View, body=body, methods=methods, handler=plain_method, whole=whole).as_view()


def async_function(guard, body, methods):
    twin = ASYNC_TWINS.get(body)

    async def view(request, *args, **kwargs):
        otp, context, code = CANARIES  # noqa: RUF059
        return JsonResponse(body(request) if twin is None else await twin(request))

    return guard.decorate(view)


def async_mixin(guard, body, methods):
    return make_class(
        *guard.mixins, View, body=body, methods=methods, handler=async_method, attributes=guard.attributes
    ).as_view()


def async_as_view(guard, body, methods):
    return guard.decorate(make_class(View, body=body, methods=methods, handler=async_method).as_view())


def async_on_method(guard, body, methods):
    return make_class(View, body=body, methods=methods, handler=async_method, each=guard.decorate).as_view()


def async_method_decorator(guard, body, methods):
    each = method_decorator(guard.decorate)
    return make_class(View, body=body, methods=methods, handler=async_method, each=each).as_view()


DRF_KINDS = {
    build.__name__: build
    for build in (
        drf_above,
        drf_above_with_parentheses,
        drf_above_by_alias,
        drf_below,
        drf_below_with_parentheses,
        drf_on_method,
        drf_method_decorator,
        drf_dispatch,
        drf_as_view,
        drf_mixin,
        drf_generic_mixin,
        drf_viewset_mixin,
        drf_viewset_as_view,
        drf_viewset_actions,
    )
}
PLAIN_KINDS = {
    build.__name__: build
    for build in (
        plain_function,
        plain_mixin,
        plain_as_view,
        plain_on_method,
        plain_method_decorator,
        plain_dispatch,
    )
}
ASYNC_KINDS = {build.__name__: build for build in (async_function, async_mixin, async_as_view, async_on_method)}
if django.VERSION >= (5, 2):  # Earlier, method_decorator makes a sync method of an async one.
    ASYNC_KINDS["async_method_decorator"] = async_method_decorator
KINDS = {**DRF_KINDS, **PLAIN_KINDS, **ASYNC_KINDS}
#: A function does not say which methods it supports.
KINDS_THAT_KNOW_THEIR_METHODS = [kind for kind in KINDS if kind not in ("plain_function", "async_function")]


# --- Scenarios: which door, which body -------------------------------------------------------------------------------


SCENARIOS = {
    "issue": (issuing(), issue, METHODS),
    "issue-login": (issuing(purpose="login"), issue, METHODS),
    "issue-reset": (issuing(purpose="reset"), issue, METHODS),
    "issue-then-fail": (issuing(), issue_then_fail, METHODS),
    "decoy": (issuing(), decoy, METHODS),
    "decoy-login": (issuing(purpose="login"), decoy, METHODS),
    "decoy-reset": (issuing(purpose="reset"), decoy, METHODS),
    "verify": (verifying(), report, METHODS),
    "verify-login": (verifying(purpose="login"), report, METHODS),
    "verify-reset": (verifying(purpose="reset"), report, METHODS),
    "verify-raw": (verifying(), report_raw, METHODS),
    "verify-post-only": (verifying(), report, ("GET", "POST")),
    "verify-then-value-error": (verifying(), raising(ValueError, "the view's own"), METHODS),
    "verify-then-denied": (verifying(), raising(PermissionDenied), METHODS),
    "verify-then-missing": (verifying(), raising(Http404), METHODS),
    "verify-then-revoked": (verifying(), raising(OTPRevokedException), METHODS),
    "verify-then-write": (verifying(), write_and_fail, METHODS),
    "verify-then-issue": (both(), issue_next, METHODS),
    "precheck-serializer": (verifying(precheck=NewPassword), report, METHODS),
    "precheck-raises": (verifying(precheck=refuse_by_raising), report, METHODS),
    "precheck-answers": (verifying(precheck=refuse_by_answering), report, METHODS),
    "precheck-breaks": (verifying(precheck=break_down), report, METHODS),
}
ASYNC_SCENARIOS = {
    "precheck-async-answers": (verifying(precheck=arefuse_by_answering), report, METHODS),
    "precheck-async-raises": (verifying(precheck=arefuse_by_raising), report, METHODS),
}


def build(kind, scenario):
    guard, body, methods = {**SCENARIOS, **ASYNC_SCENARIOS}[scenario]
    return KINDS[kind](guard, body, methods)
