"""Everything switched on, on a real database: ``OTP_TEST_ENGINE`` is sqlite, postgres or mysql.

The databases are made by pytest-django and dropped at the end. Their names carry the run's process id, so that two
runs on one server do not meet; a child process of the run that imports this module finds the same ones.
"""

import os
import tempfile

import backends

ENGINE = os.environ.get("OTP_TEST_ENGINE", "sqlite")
RUN = os.environ.setdefault("OTP_TEST_RUN", str(os.getpid()))


def _sqlite(alias):
    name = os.path.join(tempfile.gettempdir(), f"otp-test-{RUN}-{alias}.sqlite3")
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "TEST": {"NAME": name}}


if ENGINE == "sqlite":
    # A ledger on SQLite needs a file of its own: the request's transaction locks the whole file that it writes to.
    DATABASES = {"default": _sqlite("default"), "otp": _sqlite("otp")}
    DATABASE_ROUTERS = ["otp_actions.ledgers.database.router.LedgerRouter"]
    OTP_LEDGER_DATABASE = "otp"
else:
    _name = f"test_otp_{RUN}"
    _test = {"NAME": _name, "CHARSET": {"postgres": "UTF8", "mysql": "utf8mb4"}[ENGINE]}
    DATABASES = {"default": {**backends.django_database(backends.url(ENGINE), _name), "TEST": _test}}
    OTP_LEDGER_DATABASE = "default"

SECRET_KEY = "not-a-secret"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "rest_framework",
    "otp_actions",
    "otp_actions.ledgers.database",
    "otp_actions.audit",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "projects.full.urls"
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}  # From Django 6.1.
SILENCED_SYSTEM_CHECKS = ["mail.E001"]  # It says that such mail goes nowhere.
USE_TZ = True
STATIC_URL = "static/"
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

OTP_LEDGER = "database"
# A key for tests, made of the bytes 0 to 31.
OTP_SIGNING_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
