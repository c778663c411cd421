"""What a shop has that signs its users in by code: the same doors in DRF, in plain Django and async."""

import json

from django.contrib import admin
from django.contrib.auth.models import Group
from django.http import JsonResponse
from django.urls import include, path
from rest_framework.decorators import api_view
from rest_framework.response import Response

from otp_actions.decorators import otp_protected, otp_verified
from otp_actions.services import arevoke_identifier, arevoke_otp, revoke_identifier, revoke_otp

PURPOSE = "login"


def body_of(request):
    return request.data if hasattr(request, "data") else json.loads(request.body)


def ask(request):
    return {"context": request.generate_otp(identifier=body_of(request).get("email"))[1]}


def replace(request):
    return {"context": request.generate_otp(identifier=body_of(request)["email"], supersede=True)[1]}


def deceive(request):
    return {"context": request.generate_decoy(identifier=body_of(request)["email"])}


def confirm(request):
    return {"confirmed": request.otp_context["identifier"]}


def write_and_fail(request):
    Group.objects.create(name="written")
    raise ValueError("after writing")


def revoke(request):
    revoke_otp(body_of(request)["context"], request=request)
    return {}


def revoke_all(request):
    revoke_identifier(body_of(request)["email"], purpose=PURPOSE, request=request)
    return {}


async def aask(request):
    return {"context": (await request.agenerate_otp(identifier=body_of(request).get("email")))[1]}


async def areplace(request):
    return {"context": (await request.agenerate_otp(identifier=body_of(request)["email"], supersede=True))[1]}


async def adeceive(request):
    return {"context": await request.agenerate_decoy(identifier=body_of(request)["email"])}


async def aconfirm(request):
    return {"confirmed": request.otp_context["identifier"]}


async def arevoke(request):
    await arevoke_otp(body_of(request)["context"], request=request)
    return {}


async def arevoke_all(request):
    await arevoke_identifier(body_of(request)["email"], purpose=PURPOSE, request=request)
    return {}


def unguarded(*, purpose):
    return lambda view: view


def drf(guard, body):
    def view(request):
        return Response(body(request))

    return guard(purpose=PURPOSE)(api_view(["POST"])(view))


def plain(guard, body):
    def view(request):
        return JsonResponse(body(request))

    return guard(purpose=PURPOSE)(view)


def asynchronous(guard, body):
    async def view(request):
        return JsonResponse(await body(request))

    return guard(purpose=PURPOSE)(view)


def doors(make, *bodies):
    names = ("ask", "replace", "deceive", "confirm", "confirm-and-fail", "revoke", "revoke-all")
    guards = (otp_protected, otp_protected, otp_protected, otp_verified, otp_verified, unguarded, unguarded)
    return include([path(f"{n}/", make(g, b)) for n, g, b in zip(names, guards, bodies, strict=True) if b is not None])


urlpatterns = [
    path("admin/", admin.site.urls),
    path("drf/", doors(drf, ask, replace, deceive, confirm, write_and_fail, revoke, revoke_all)),
    path("plain/", doors(plain, ask, replace, deceive, confirm, write_and_fail, revoke, revoke_all)),
    path("async/", doors(asynchronous, aask, areplace, adeceive, aconfirm, None, arevoke, arevoke_all)),
]
