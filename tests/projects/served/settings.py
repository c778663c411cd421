"""What ``serving.Site`` puts behind gunicorn. What differs between sites comes as JSON in ``OTP_SERVED``."""

import json
import os

from django.utils.log import CallbackFilter

SECRET_KEY = "not-a-secret"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "rest_framework",
    "otp_actions",
    "otp_actions.ledgers.database",
]
MIDDLEWARE = ["projects.served.urls.tell_comparisons"]
ROOT_URLCONF = "projects.served.urls"
USE_TZ = True
ALLOWED_HOSTS = ["127.0.0.1"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# A key for tests, made of the bytes 0 to 31.
OTP_SIGNING_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
OTP_ACCEPT_LEGACY_CONTEXTS = False


def _is_unexpected(record):
    return record.exc_info is None or record.exc_info[0].__name__ != "OnPurpose"


LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"unexpected": {"()": CallbackFilter, "callback": _is_unexpected}},
    "handlers": {"console": {"class": "logging.StreamHandler", "filters": ["unexpected"]}},
    "root": {"handlers": ["console"], "level": "ERROR"},
}

globals().update(json.loads(os.environ["OTP_SERVED"]))
