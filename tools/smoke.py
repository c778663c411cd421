"""Show that the installed package works. Needs nothing of the source tree but this file.

``smoke.py`` does what ``manage.py check`` does, issues a code, verifies it, and sees the replay refused. It says which
OpenSSL did that, and with ``--bundled`` insists on the one that the wheel brought. ``--beside first`` and ``--beside
last`` import the OpenSSLs of Python, cryptography and psycopg too, before ours or after.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from pathlib import Path


def use_other_openssls() -> None:
    import hashlib
    import ssl

    import psycopg
    from cryptography.hazmat.backends.openssl import backend

    assert ssl.create_default_context().check_hostname
    assert hashlib.scrypt(b"x", salt=b"y", n=2, r=1, p=1)
    print(f"beside {ssl.OPENSSL_VERSION} of Python, {backend.openssl_version_text()} of cryptography,", end=" ")
    print(f"and libpq {psycopg.pq.version()} of psycopg")


def set_up() -> None:
    import django
    from django.conf import settings
    from django.core.management import call_command

    from otp_actions.__main__ import generate_key

    apps = ["contenttypes", "auth", "admin", "messages", "sessions"]
    settings.configure(
        SECRET_KEY="not-a-secret",
        OTP_SIGNING_KEY=generate_key(),
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        SILENCED_SYSTEM_CHECKS=["admin.E403", "admin.E408", "admin.E409", "admin.E410"],  # The admin is only imported.
        INSTALLED_APPS=[
            *(f"django.contrib.{app}" for app in apps),
            "rest_framework",
            "otp_actions",
            "otp_actions.audit",
            "otp_actions.ledgers.database",
        ],
    )
    django.setup()
    call_command("migrate", verbosity=0)


def import_everything() -> None:
    """Import all modules but those of an extra: with ``-W error``, none may use what is deprecated."""
    import otp_actions

    for module in pkgutil.walk_packages(otp_actions.__path__, "otp_actions."):
        if module.name not in ("otp_actions.ledgers.redis", "otp_actions.testing.plugin"):
            importlib.import_module(module.name)


def check_and_verify() -> None:
    from django.core.management import execute_from_command_line

    from otp_actions.exceptions import OTPUsedException
    from otp_actions.services import generate_otp, verify_otp

    execute_from_command_line(["manage.py", "check"])
    code, context = generate_otp("ada@example.com", {"next": "/"})
    assert verify_otp(code, context)["metadata"] == {"next": "/"}
    try:
        verify_otp(code, context)
    except OTPUsedException:
        print("issues, verifies, refuses a replay")
    else:
        raise SystemExit("a code was accepted twice")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundled", action="store_true")
    parser.add_argument("--beside", choices=["first", "last"])
    options = parser.parse_args()
    if options.beside == "first":
        use_other_openssls()
    set_up()
    import_everything()
    check_and_verify()
    if options.beside:
        use_other_openssls()
        check_and_verify()

    from otp_actions import _core
    from otp_actions.__main__ import describe_version

    source = Path(__file__).resolve().parent.parent / "python"
    if Path(_core.__file__).is_relative_to(source):
        raise SystemExit(f"that was the source tree, not what is installed: {_core.__file__}")
    print(describe_version())
    if options.bundled:
        maps = Path("/proc/self/maps").read_text().splitlines()
        libraries = {line.split()[-1] for line in maps if "libcrypto" in line}
        print("loaded:", *sorted(libraries))
        ours = str(Path(_core.openssl_library()[1]).resolve())
        if ours not in libraries or ", bundled: " not in describe_version():
            raise SystemExit("OpenSSL is not the one that the wheel brought")
    return 0


if __name__ == "__main__":
    sys.exit(main())
