"""Build what is published, and test it where the source tree is not. ``make package`` and ``make lowest`` call this.

``make package``: sdist and wheel; the wheel holds what it should; installed into an empty environment, it checks,
issues and verifies. ``make lowest``: the same wheel for the lowest Python, Django and DRF, which then runs the test
suite.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "package"
LOWEST = ["Django==5.0.*", "djangorestframework==3.15.*"]
EXPECTED = [
    "otp_actions/py.typed",
    "otp_actions/_core.pyi",
    "otp_actions/services.py",
    "otp_actions/testing/plugin.py",
    "otp_actions/ledgers/database/migrations/0001_initial.py",
    "otp_actions/audit/migrations/0001_initial.py",
    "otp_actions/management/commands/otp_purge.py",
    "otp_actions/audit/management/commands/otp_erase.py",
]

SMOKE = """
import django
from django.conf import settings
from otp_actions.__main__ import generate_key
settings.configure(OTP_SIGNING_KEY=generate_key(), INSTALLED_APPS=["rest_framework", "otp_actions"])
django.setup()
from django.core.management import call_command
from otp_actions.exceptions import OTPUsedException
from otp_actions.services import generate_otp, verify_otp
import otp_actions._core
assert {source!r} not in otp_actions._core.__file__, otp_actions._core.__file__
call_command("check")
code, context = generate_otp("ada@example.com", {{"next": "/"}})
assert verify_otp(code, context)["metadata"] == {{"next": "/"}}
try:
    verify_otp(code, context)
except OTPUsedException:
    print("installed wheel: issues, verifies, refuses a replay")
else:
    raise SystemExit("a code was accepted twice")
"""


def run(*command: str | Path, **kwargs: object) -> None:
    done = subprocess.run([str(word) for word in command], check=False, **kwargs)  # type: ignore[call-overload]
    if done.returncode:
        raise SystemExit(f"failed: {' '.join(str(word) for word in command)}")


def new_environment(name: str, python: str) -> Path:
    """Return the ``python`` of an empty virtual environment."""
    path = WORK / name
    shutil.rmtree(path, ignore_errors=True)
    run(sys.executable, "-m", "virtualenv", "--quiet", "--python", python, path)
    return path / "bin" / "python"


def install(python: Path, *what: str | Path) -> None:
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what)


def build_wheel(python: str) -> Path:
    """Build the sdist, and from it a wheel for *python*, as a package index would."""
    dist = WORK / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    print("==> Building the sdist", flush=True)
    run(sys.executable, "-m", "build", "--sdist", "--outdir", dist, ROOT, stdout=subprocess.DEVNULL)
    sdist = next(dist.glob("*.tar.gz"))
    print(f"==> Building a wheel from it ({python})", flush=True)
    builder = new_environment("builder", python)
    run(builder, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps", "-w", dist, sdist)
    wheel = next(dist.glob("*.whl"))
    names = zipfile.ZipFile(wheel).namelist()
    missing = [name for name in EXPECTED if name not in names]
    libraries = [name for name in names if name.endswith((".so", ".a"))]
    translations = [name for name in names if name.endswith(".mo")]
    if missing or len(libraries) != 1 or not translations:
        raise SystemExit(f"{wheel.name}: missing {missing}, libraries {libraries}, translations {translations}")
    print(f"{sdist.name}: {sdist.stat().st_size // 1024} KiB; {wheel.name}: {wheel.stat().st_size // 1024} KiB")
    return wheel


def smoke(python: Path) -> None:
    run(python, "-c", SMOKE.format(source=str(ROOT / "python")), cwd=WORK, env={**os.environ, "PYTHONPATH": ""})


def lowest_python() -> str:
    """Return the lowest interpreter at hand that is supported, looking under pyenv too."""
    for minor in range(10, sys.version_info.minor):
        found = shutil.which(f"python3.{minor}")
        candidates = [found] if found else []
        candidates += [str(path) for path in Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python")]
        for candidate in candidates:
            works = subprocess.run([candidate, "-c", "import ssl, ctypes"], capture_output=True, check=False)
            if works.returncode == 0:
                return candidate
    return sys.executable


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lowest", action="store_true")
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    python = lowest_python() if options.lowest else sys.executable
    wheel = build_wheel(python)
    environment = new_environment("installed", python)
    if not options.lowest:
        install(environment, wheel)
        smoke(environment)
        return 0
    install(environment, wheel, *LOWEST, "pip>=25.1")
    install(environment, "--group", f"{ROOT / 'pyproject.toml'}:test", *LOWEST)
    smoke(environment)
    run(
        environment,
        "-c",
        "import sys, django, rest_framework as r;"
        "print('==> Testing with Python', sys.version.split()[0], 'Django', django.__version__, 'DRF', r.VERSION)",
    )
    # The tests lie beside the source tree but run against the installed wheel: python/ is not on the path.
    run(environment, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=ROOT)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
