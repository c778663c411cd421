"""A small project that signs people in with a code sent by e-mail. The mail goes to the console."""

import os
from pathlib import Path

import django

from otp_actions.__main__ import generate_key

BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = True
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
ROOT_URLCONF = "demo.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "demo.sqlite3"}}
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.console.EmailBackend"}}
else:
    EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
DEFAULT_FROM_EMAIL = "demo@example.com"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "rest_framework",
    "otp_actions",
]
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [BASE_DIR / "demo" / "templates"]}]

# A demo may forget its keys when it stops. Your project reads them from its environment and keeps them.
SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY") or generate_key()
OTP_SIGNING_KEY = os.environ.get("OTP_SIGNING_KEY") or generate_key()
OTP_LEDGER = "process"
