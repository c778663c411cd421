"""Two endpoints: ask for a code, sign in with it."""

from django.contrib.auth.models import User
from django.core.mail import send_mail
from django.shortcuts import render
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.response import Response

from otp_actions.decorators import otp_protected, otp_verified


class Email(serializers.Serializer):
    email = serializers.EmailField(max_length=254)


def page(request):
    return render(request, "page.html")


@otp_protected(purpose="login")
@api_view(["POST"])
def request_code(request):
    form = Email(data=request.data)
    form.is_valid(raise_exception=True)
    email = form.validated_data["email"]
    code, context = request.generate_otp(identifier=email)
    send_mail("Your code", f"Your code is: {code}", None, [email])
    return Response({"message": "A code is on its way.", "context": context})


@otp_verified(purpose="login")
@api_view(["POST"])
def sign_in(request):
    email = request.otp_context["identifier"]
    user, created = User.objects.get_or_create(username=email, defaults={"email": email})
    return Response({"signed_in_as": user.email, "new_account": created})
