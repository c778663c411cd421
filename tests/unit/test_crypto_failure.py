"""An OpenSSL that cannot do what it is asked to: an error that says nothing, and no code."""

import os
import subprocess
import sys

NO_ALGORITHMS = """
openssl_conf = init
[init]
providers = providers
[providers]
null = null
[null]
activate = 1
"""

PROGRAM = """
import os
from otp_actions import _core
from otp_actions._core import CryptoFailure, Keyring
try:
    Keyring([bytes(32)])
except CryptoFailure as error:
    print(error, isinstance(error, (_core.InvalidToken, ValueError)))
"""


def test_openssl_without_its_algorithms_makes_no_keyring(tmp_path):
    (tmp_path / "openssl.cnf").write_text(NO_ALGORITHMS)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "OPENSSL_CONF": str(tmp_path / "openssl.cnf")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("OpenSSL failed False\n", "")
