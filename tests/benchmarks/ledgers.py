"""What a verification costs on each ledger: one client, its server on the same host.

Each is measured in a process of its own, and with nobody else's server beside it: these are times, not ratios.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from typing import Any

import backends
from benchmarks.measuring import EMAIL, ROOT, Piece, in_turns, report, row, set_up
from otp_actions.services import generate_otp, verify_otp

ROUNDS = 31
CALLS, CALLS_OF_A_DATABASE = 300, 20

#: The kind of server that each ledger needs, as ``backends`` calls it.
KINDS = {"None": None, "process": None, "Redis": "redis", "SQLite": None, "PostgreSQL": "postgres", "MariaDB": "mysql"}


def server(kind: str) -> str:
    """Return the URL of a server of *kind*, configured as its makers ship it.

    One of our own where possible: the throw-away ones that tests share do not wait for the disk.
    """
    try:
        return backends.own(kind).url
    except backends.Missing:
        return backends.url(kind)


def verify_time(calls: int) -> float:
    """Return the microseconds of a verification under the settings of this process."""
    pieces = {"verify": Piece(partial(generate_otp, EMAIL), verify_otp)}
    return statistics.median(in_turns(pieces, rounds=ROUNDS, calls=calls)["verify"])


def on_database(options: dict[str, Any]) -> float:
    """Return the microseconds of a verification on the database that *options* describe."""
    set_up(
        INSTALLED_APPS=["otp_actions.ledgers.database"],
        # Connections last, as in a deployment that cares; else every operation would be a log-in.
        DATABASES={"default": {}, "otp": {**options, "CONN_MAX_AGE": None}},
        DATABASE_ROUTERS=["otp_actions.ledgers.database.router.LedgerRouter"],
        OTP_LEDGER="database",
        OTP_LEDGER_DATABASE="otp",
    )
    from django.core.management import call_command

    call_command("migrate", database="otp", verbosity=0)
    return verify_time(CALLS_OF_A_DATABASE)


def measure(ledger: str) -> float:
    """Return the microseconds of a verification on *ledger*.

    Raises:
        backends.Missing: Its server could not be had.
    """
    kind = KINDS[ledger]
    if ledger == "SQLite":
        (ROOT / "build").mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=ROOT / "build") as directory:  # /tmp may be no disk.
            return on_database({"ENGINE": "django.db.backends.sqlite3", "NAME": f"{directory}/otp.sqlite3"})
    if kind is None or kind == "redis":
        of_redis = {"OTP_REDIS_URL": server(kind)} if kind else {}
        set_up(OTP_LEDGER={"None": None}.get(ledger, ledger.lower()), **of_redis)
        return verify_time(CALLS)
    url = server(kind)
    name = f"otp_bench_{os.getpid()}"
    with backends.sql_connection(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        try:
            return on_database(backends.django_database(url, name))
        finally:
            cursor.execute(f"DROP DATABASE {name}" + (" WITH (FORCE)" if kind == "postgres" else ""))


def main() -> None:
    if sys.argv[1:]:
        try:
            print(json.dumps(measure(sys.argv[1])))
        except backends.Missing as error:
            print(json.dumps(str(error)))
        return
    times: dict[str, float] = {}
    missing: dict[str, str] = {}
    for ledger in KINDS:
        command = [sys.executable, "-m", "benchmarks.ledgers", ledger]
        found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        (missing if isinstance(found, str) else times)[ledger] = found
    report([row(f"verify_otp, ledger {ledger}", ours=value) for ledger, value in times.items()], times, missing)


if __name__ == "__main__":
    main()
