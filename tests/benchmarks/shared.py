"""The ledgers that hosts share, beside the bare calls they are made of. ``bench.py`` runs this in a process of its own.

Prints one JSON object: ``rows``, each with our time and the bare one; ``missing``, what could not be had and why.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import django
from django.conf import settings

import backends

EMAIL = "ada.lovelace@example"
ROUNDS, CALLS = 15, 150
CLIENTS, CLIENT_ROUNDS, CLIENT_CALLS = 8, 7, 60


def timed(call: Callable[..., Any], work: list[tuple[Any, ...]]) -> float:
    """Return the microseconds for each call of *call*."""
    start = time.perf_counter_ns()
    for arguments in work:
        call(*arguments)
    return (time.perf_counter_ns() - start) / len(work) / 1000


# --- Redis: a verification beside the two EVALSHA it consists of, from the same client ------------------------------


def redis_row() -> dict[str, Any]:
    from otp_actions import conf
    from otp_actions.ledgers import ledger_for
    from otp_actions.services import generate_otp, verify_otp

    settings.OTP_LEDGER = "redis"
    settings.OTP_REDIS_URL = backends.url("redis")
    ledger: Any = ledger_for(conf.current())

    ask = ledger._ask

    def bare(*commands: tuple[Any, ...]) -> None:
        for command in commands:
            ask(*command)

    def recorded(issued: tuple[str, str]) -> tuple[tuple[Any, ...], ...]:
        """Return the commands that verifying *issued* sends."""
        commands: list[tuple[Any, ...]] = []
        ledger._ask = lambda *command: commands.append(command) or ask(*command)
        try:
            verify_otp(*issued)
        finally:
            ledger._ask = ask
        return tuple(commands)

    # To run the same commands again as if for the first time, the database is emptied in between.
    samples: dict[str, list[float]] = {"ours": [], "bare": []}
    for _ in range(ROUNDS + 2):
        issued = [generate_otp(EMAIL) for _ in range(CALLS)]
        work = [recorded(one) for one in issued]
        with backends.redis_client(settings.OTP_REDIS_URL) as client:
            client.flushdb()
            samples["bare"].append(timed(bare, work))
            client.flushdb()
            samples["ours"].append(timed(verify_otp, issued))
    ours, theirs = (statistics.median(samples[name][2:]) for name in ("ours", "bare"))
    return {
        "text": "verify_otp on Redis to two bare EVALSHA",
        "ours": ours,
        "bare": theirs,
        "ratio": ours / theirs,
        "gate": 1.3,
        "aim": 1.1,
    }


# --- PostgreSQL: eight clients, the same two committed transactions -------------------------------------------------


class Bare:
    """What a verification commits, in plain SQL: one attempt taken; then a mark and one row of audit."""

    def __init__(self) -> None:
        import psycopg
        from django.db import connections

        parameters = connections["default"].get_connection_params()
        names = ("host", "port", "user", "password", "dbname")
        self.connection: Any = psycopg.connect(
            **{name: parameters[name] for name in names if parameters.get(name)}, autocommit=True
        )

    def __call__(self, entry: bytes, subject: bytes, now: int) -> None:
        with self.connection.transaction():
            self.connection.execute(
                "INSERT INTO otp_actions_ledger AS held (key, value, expiry) VALUES (%s, 1, %s), (%s, 1, %s) "
                "ON CONFLICT (key) DO UPDATE SET value = held.value + 1 WHERE held.value < 1000000 RETURNING value",
                (entry, now + 900, subject, now + 900),
            )
        with self.connection.transaction():
            self.connection.execute(
                "UPDATE otp_actions_ledger SET value = %s WHERE key = %s AND value < %s", (2**40, entry, 2**40)
            )
            self.connection.execute("UPDATE otp_actions_ledger SET value = 0 WHERE key = %s", (subject,))
            self.connection.execute(AUDIT_ROW)


#: The INSERT of an audit row, with its values in it; set before the clients are forked.
AUDIT_ROW = ""


def audit_row() -> str:
    """Return the INSERT of an audit row, as the audit trail itself writes it."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from otp_actions.audit.models import OTPEvent

    with CaptureQueriesContext(connection) as queries:
        row = OTPEvent.objects.create(
            event="verified",
            outcome="success",
            identifier="0" * 64,
            jti="0" * 32,
            time=django.utils.timezone.now(),
        )
        sql = queries.captured_queries[0]["sql"]
    row.delete()
    return sql


def client(pipe: Any) -> None:
    from django.db import connections

    from otp_actions.services import generate_otp, verify_otp

    connections.close_all()
    bare = Bare()
    while (what := pipe.recv()) is not None:
        if what == "ours":
            # Of one identifier each, as in life; one for all would be a queue for its budget.
            work: list[tuple[Any, ...]] = [
                generate_otp(f"{os.urandom(8).hex()}@example.com") for _ in range(CLIENT_CALLS)
            ]
            call: Callable[..., Any] = verify_otp
        else:
            now = int(time.time())
            work = [(b"c" + os.urandom(16), b"i" + os.urandom(16), now) for _ in range(CLIENT_CALLS)]
            call = bare
        pipe.send("ready")
        pipe.recv()
        timed(call, work)
        pipe.send("done")


def postgres_row() -> dict[str, Any]:
    global AUDIT_ROW
    from django.core.management import call_command
    from django.db import connections

    settings.OTP_LEDGER = "database"
    call_command("migrate", verbosity=0)
    AUDIT_ROW = audit_row()
    connections.close_all()
    fork = multiprocessing.get_context("fork")
    pipes, processes = [], []
    for _ in range(CLIENTS):
        ours, theirs = fork.Pipe()
        process = fork.Process(target=client, args=(theirs,), daemon=True)
        process.start()
        pipes.append(ours)
        processes.append(process)

    def ask(what: Any) -> None:
        for pipe in pipes:
            pipe.send(what)

    def answers() -> None:
        for pipe in pipes:
            if not pipe.poll(120):
                raise SystemExit("a client of the benchmark does not answer")
            pipe.recv()

    samples: dict[str, list[float]] = {"ours": [], "bare": []}
    for _ in range(CLIENT_ROUNDS + 1):
        for what in samples:
            ask(what)
            answers()
            start = time.perf_counter_ns()
            ask("go")
            answers()
            took = time.perf_counter_ns() - start
            samples[what].append(took / (CLIENTS * CLIENT_CALLS) / 1000)
    ask(None)
    for process in processes:
        process.join(10)
    ours, theirs = (statistics.median(samples[name][1:]) for name in ("ours", "bare"))
    return {
        "text": f"verify_otp on PostgreSQL with audit, {CLIENTS} clients, to bare SQL",
        "ours": ours,
        "bare": theirs,
        "ratio": theirs / ours,
        "gate": 0.5,
        "aim": 0.8,
    }


def main() -> None:
    from otp_actions.__main__ import generate_key

    name = f"otp_bench_{os.getpid()}"
    missing: dict[str, str] = {}
    rows = []
    databases: dict[str, Any] = {}
    try:
        url = backends.url("postgres")
        # Connections last, as in a deployment that cares; else every operation would be a log-in.
        databases["default"] = {**backends.django_database(url, name), "CONN_MAX_AGE": None}
        with backends.sql_connection(url) as connection:
            connection.execute(f"CREATE DATABASE {name}")
    except backends.Missing as error:
        missing["PostgreSQL"] = str(error)
    settings.configure(
        SECRET_KEY="benchmark",
        INSTALLED_APPS=["otp_actions", "otp_actions.ledgers.database", "otp_actions.audit"],
        DATABASES=databases,
        USE_TZ=True,
        OTP_SIGNING_KEY=generate_key(),
    )
    django.setup()
    from otp_actions import signals

    try:
        if databases:
            rows.append(postgres_row())
    finally:
        if databases:
            from django.db import connections

            connections.close_all()
            with backends.sql_connection(url) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    # The audit trail would be another database's time.
    for signal in (signals.otp_generated, signals.otp_verified, signals.otp_failed, signals.otp_revoked):
        signal.receivers.clear()
        signal.sender_receivers_cache.clear()
    try:
        rows.append(redis_row())
    except backends.Missing as error:
        missing["Redis"] = str(error)
    print(json.dumps({"rows": rows, "missing": missing}))


if __name__ == "__main__":
    main()
