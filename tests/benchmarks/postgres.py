"""The database ledger on PostgreSQL with the audit trail, eight clients, beside bare SQL that commits the same."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import django

import backends
from benchmarks.ledgers import server
from benchmarks.measuring import Row, progress, report, row, set_up, timed

CLIENTS, ROUNDS, CALLS = 8, 7, 60


class Bare:
    """What a verification commits, in plain SQL: one attempt taken; then a mark and one row of audit.

    Args:
        prepare_threshold: psycopg's. ``None``, no prepared statements, is what Django and the ledger go by, since
            poolers such as PgBouncer lend a session to many; 5, psycopg's own default, spares the server the planning.
    """

    def __init__(self, *, prepare_threshold: int | None) -> None:
        import psycopg
        from django.db import connections

        parameters = connections["default"].get_connection_params()
        names = ("host", "port", "user", "password", "dbname")
        self.connection: Any = psycopg.connect(
            **{name: parameters[name] for name in names if parameters.get(name)},
            autocommit=True,
            prepare_threshold=prepare_threshold,
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
    bare = {"bare": Bare(prepare_threshold=None), "prepared": Bare(prepare_threshold=5)}
    while (what := pipe.recv()) is not None:
        if what == "ours":
            # Of one identifier each, as in life; one for all would be a queue for its budget.
            work: list[tuple[Any, ...]] = [generate_otp(f"{os.urandom(8).hex()}@example.com") for _ in range(CALLS)]
            call: Callable[..., Any] = verify_otp
        else:
            now = int(time.time())
            work = [(b"c" + os.urandom(16), b"i" + os.urandom(16), now) for _ in range(CALLS)]
            call = bare[what]
        pipe.send("ready")
        pipe.recv()
        timed(call, work)
        pipe.send("done")


def measure() -> tuple[list[Row], dict[str, float]]:
    global AUDIT_ROW
    from django.core.management import call_command
    from django.db import connections

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

    samples: dict[str, list[float]] = {"ours": [], "bare": [], "prepared": []}
    for _ in progress(ROUNDS + 1):
        for what in samples:
            ask(what)
            answers()
            start = time.perf_counter_ns()
            ask("go")
            answers()
            took = time.perf_counter_ns() - start
            samples[what].append(took / (CLIENTS * CALLS) / 1000)
    ask(None)
    for process in processes:
        process.join(10)
    time_of = {name: statistics.median(times[1:]) for name, times in samples.items()}
    ours, bare, prepared = time_of["ours"], time_of["bare"], time_of["prepared"]
    rows = [
        row(
            f"verify_otp with audit, {CLIENTS} clients, to bare SQL",
            ours=ours,
            other=bare,
            value=bare / ours,
        ),
        row("  to bare SQL in prepared statements", ours=ours, other=prepared, value=prepared / ours),
    ]
    return rows, time_of


def main() -> None:
    name = f"otp_bench_{os.getpid()}"
    try:
        url = server("postgres")
    except backends.Missing as error:
        return report([], {}, {"PostgreSQL with audit, eight clients": str(error)})
    with backends.sql_connection(url) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        set_up(
            INSTALLED_APPS=["otp_actions.ledgers.database", "otp_actions.audit"],
            # Connections last, as in a deployment that cares; else every operation would be a log-in.
            DATABASES={"default": {**backends.django_database(url, name), "CONN_MAX_AGE": None}},
            OTP_LEDGER="database",
        )
        rows, figures = measure()
    finally:
        with backends.sql_connection(url) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    report(rows, figures)
    return None


if __name__ == "__main__":
    main()
