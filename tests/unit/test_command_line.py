"""``python -m otp_actions``, and what is shipped beside the code."""

import importlib.resources
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

import otp_actions
from otp_actions import __version__, _core
from otp_actions.__main__ import describe_version, generate_key, main


def run(*arguments):
    environ = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "otp_actions", *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_generate_key_prints_one_usable_key_and_needs_no_settings(settings):
    done = run("generate-key")
    assert (done.returncode, done.stderr) == (0, "")
    key = done.stdout.removesuffix("\n")
    assert len(key) == 44
    assert Fernet(key).decrypt(Fernet(key).encrypt(b"x")) == b"x"


@pytest.mark.parametrize("arguments", [(), ("no-such-command",)])
def test_wrong_usage_exits_with_2_and_names_the_command(arguments):
    done = run(*arguments)
    assert done.returncode == 2
    assert "generate-key" in done.stderr
    assert "Traceback" not in done.stderr


def test_main_prints_another_key_each_time(capsys):
    assert main(["generate-key"]) == main(["generate-key"]) == 0
    first, second = capsys.readouterr().out.split()
    assert first != second
    assert len({generate_key() for _ in range(100)}) == 100


def test_version_names_the_openssl_that_is_really_loaded():
    done = run("version")
    assert (done.returncode, done.stderr) == (0, "")
    package, openssl = done.stdout.splitlines()
    assert package == f"django-otp-actions {__version__}"
    version, file = _core.openssl_library()
    assert openssl.startswith(f"{version}, ")
    assert version.startswith("OpenSSL 3.")
    assert os.path.realpath(file) in Path("/proc/self/maps").read_text()


@pytest.mark.parametrize(
    ("file", "origin"),
    [
        ("../django_otp_actions.libs/libcrypto-0a1b2c3d.so.3", "bundled"),
        ("../../../libcrypto.so.3", "not bundled"),
    ],
)
def test_openssl_is_bundled_if_it_lies_where_the_package_is_installed(file, origin, monkeypatch):
    path = Path(otp_actions.__file__).parent / file
    monkeypatch.setattr(_core, "openssl_library", lambda: ("OpenSSL 3.5.7", str(path)))
    assert describe_version().splitlines()[1] == f"OpenSSL 3.5.7, {origin}: {path.resolve()}"


def test_package_is_marked_as_typed():
    package = importlib.resources.files("otp_actions")
    assert package.joinpath("py.typed").is_file()
    assert package.joinpath("_core.pyi").is_file()
