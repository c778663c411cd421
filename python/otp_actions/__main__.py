"""``python -m otp_actions generate-key``: needs no settings and no Django project."""

from __future__ import annotations

import argparse
import base64
import secrets


def generate_key() -> str:
    """Return a new value for ``OTP_SIGNING_KEY``."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m otp_actions", description="Tools of django-otp-actions.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("generate-key", help="print a new value for OTP_SIGNING_KEY")
    parser.parse_args(argv)
    print(generate_key())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
