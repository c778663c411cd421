"""``python -m otp_actions``: needs no settings and no Django project."""

from __future__ import annotations

import argparse
import base64
import secrets
from pathlib import Path

from otp_actions import __version__, _core


def generate_key() -> str:
    """Return a new value for ``OTP_SIGNING_KEY``."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def describe_version() -> str:
    """Return the version of the package, and which OpenSSL it runs on: its own, from a wheel, or the system's."""
    openssl, file = _core.openssl_library()
    library = Path(file).resolve()
    installed_in = Path(__file__).resolve().parent.parent
    origin = "bundled" if library.is_relative_to(installed_in) else "not bundled"
    return f"django-otp-actions {__version__}\n{openssl}, {origin}: {library}"


COMMANDS = {
    "generate-key": (generate_key, "print a new value for OTP_SIGNING_KEY"),
    "version": (describe_version, "print the version, and which OpenSSL is used"),
}


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m otp_actions", description="Tools of django-otp-actions.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (_, text) in COMMANDS.items():
        commands.add_parser(name, help=text)
    answer, _ = COMMANDS[parser.parse_args(argv).command]
    print(answer())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
