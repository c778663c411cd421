"""``python -m otp_actions generate-key``, and what is shipped beside the code."""

import importlib.resources
import os
import subprocess
import sys

import pytest
from cryptography.fernet import Fernet

from otp_actions.__main__ import generate_key, main


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


def test_package_is_marked_as_typed():
    package = importlib.resources.files("otp_actions")
    assert package.joinpath("py.typed").is_file()
    assert package.joinpath("_core.pyi").is_file()
