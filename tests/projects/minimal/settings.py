"""The smallest installation: two apps, a key, and SQLite."""

SECRET_KEY = "not-a-secret, and as long as one should be: 50 characters"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "rest_framework", "otp_actions"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}  # From Django 6.1.
SILENCED_SYSTEM_CHECKS = ["mail.E001"]  # It says that such mail goes nowhere.
ROOT_URLCONF = "projects.minimal.urls"
USE_TZ = True
STATIC_URL = "static/"
ALLOWED_HOSTS = ["testserver", "localhost"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# A key for tests, made of the bytes 0 to 31.
OTP_SIGNING_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
