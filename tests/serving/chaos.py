"""``kill -9`` of a worker and of the whole backend, under load, again and again; then a look at what is left.

``make chaos`` runs it for long, ``tests/full/test_chaos.py`` for a moment.
"""

from __future__ import annotations

import math
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import backends
from serving import Site

USED = 2**40  # What the ledger holds for a code that was accepted: see docs/architecture.md.
THREADS = 4  # In each of the 4 client processes; enough to keep the server busy all the time.
LOAD_SECONDS = (0.4, 1.2)
DOWN_SECONDS = 0.5
RECOVERY_SECONDS = 5.0
MAX_REPLAYED = 1000
#: No code expires while this runs, and so none is refused for another reason than that it was used.
LONG = {"OTP_EXPIRY_SECONDS": 36_000, "OTP_SESSION_EXPIRY_SECONDS": 36_000}

#: What is killed: the kind of server and how it is set up.
SETUPS: dict[str, tuple[str, dict[str, str]]] = {
    "postgres": ("postgres", {}),
    "mysql": ("mysql", {}),
    "redis-always": ("redis", {"appendonly": "yes", "appendfsync": "always"}),
    "redis-everysec": ("redis", {"appendonly": "yes", "appendfsync": "everysec"}),
    "redis-memory": ("redis", {}),
}
#: Redis with appendfsync everysec lets a write wait for 2 s while the disk is busy; measured: up to 2.4 s before the
#: kill (docs/redis.md). The rest is for a machine that is busier still.
EVERYSEC_SECONDS = 10.0
#: How long before a kill a code was acknowledged when its mark may not be lost any more. The others keep every mark.
MAY_LOSE = {"redis-everysec": EVERYSEC_SECONDS, "redis-memory": math.inf}


@dataclass
class Outage:
    """One time that the backend was away, by ``time.monotonic``: it was killed, and started, from one to the other."""

    killing: float
    killed: float
    starting: float
    up: float


@dataclass
class Report:
    """What came of it.

    Attributes:
        acknowledged: For each code that a client was told is right: when the answer came.
        twice: For each code for which that happened more than once, or again when all were sent once more in the end:
            seconds from the answer to the kill between the two; infinite if there was none.
        lost: For each acknowledged code without a used mark in the end: seconds from the answer to the next kill.
        down: How requests were answered that began and ended while the backend was away.
        recoveries: For each outage: seconds from the backend's first answer to the first code accepted.
        aftermath: For each request that began after the backend's first answer and was refused: seconds from that.
        broken: How many requests were cut off, by the kill of a worker.
        unexplained: What there is no good reason for.
    """

    name: str
    requests: int = 0
    seconds: float = 0.0
    acknowledged: dict[str, float] = field(default_factory=dict)
    twice: dict[str, float] = field(default_factory=dict)
    lost: dict[str, float] = field(default_factory=dict)
    down: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)
    aftermath: list[float] = field(default_factory=list)
    broken: int = 0
    unexplained: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """What must not have happened."""
        found = list(self.unexplained)
        if not self.acknowledged:
            found.append("no code was accepted at all")
        bound = MAY_LOSE.get(self.name, 0.0)
        if twice := sum(seconds >= bound for seconds in self.twice.values()):
            found.append(f"{twice} codes were accepted twice")
        if lost := sum(seconds >= bound for seconds in self.lost.values()):
            found.append(f"{lost} acknowledged codes have no used mark")
        if max(self.aftermath, default=0) > RECOVERY_SECONDS:
            found.append(f"requests were still refused {max(self.aftermath):.1f} s after the backend was back")
        if set(self.down) - {"503 OTP_UNAVAILABLE"}:
            found.append(f"answers while the backend was away: {dict(self.down)}")
        return found

    def __str__(self) -> str:
        return (
            f"{self.name}: {len(self.recoveries)} rounds, {self.requests} answers in {self.seconds:.0f} s, "
            f"{self.broken} cut off, {len(self.acknowledged)} codes acknowledged, {len(self.twice)} accepted twice, "
            f"{len(self.lost)} marks lost{_range(self.lost.values(), ' before a kill')}; "
            f"while away: {dict(self.down)}; back: first code accepted{_range(self.recoveries, ' after it')}, "
            f"{len(self.aftermath)} requests still refused{_range(self.aftermath, ' after it')}"
        )


def _range(seconds: Collection[float], of_what: str) -> str:
    return f" {min(seconds) * 1000:.0f} to {max(seconds) * 1000:.0f} ms{of_what}" if seconds else ""


def run(name: str, rounds: int) -> Report:
    """Kill a worker and the backend of the setup *name*, *rounds* times, and look at what is left.

    Raises:
        backends.Missing: There is no such backend to kill.
        ValueError: Nothing would be killed.
    """
    if rounds < 1:
        raise ValueError(f"at least one round, not {rounds}")
    kind, options = SETUPS[name]
    report = Report(name)
    with backends.own(kind, **options) as server:
        if kind == "redis":
            settings: dict[str, Any] = {"OTP_LEDGER": "redis", "OTP_REDIS_URL": server.url}
        else:
            database = {**backends.django_database(server.url), "CONN_MAX_AGE": 60}
            settings = {"OTP_LEDGER": "database", "DATABASES": {"default": database}}
        with Site(**settings, **LONG) as site:
            begin = time.monotonic()
            with site.storm(THREADS) as answers:
                outages = [_one_round(report, site, server) for _ in range(rounds)]
                # Long enough for what may be lost no more: rounds are shorter than what everysec may lose.
                longest = MAY_LOSE.get(name, 0.0)
                time.sleep(max(LOAD_SECONDS) + (longest if longest < math.inf else 0.0))
            report.seconds = time.monotonic() - begin
            # Once more, without load: what is looked at is what is on the disk.
            outages.append(_outage(report, server))
            _judge(report, answers, outages)
            kept = _marks(server, report.acknowledged)
            for jti, moment in report.acknowledged.items():
                if jti not in kept:
                    report.lost[jti] = _until_kill(moment, outages)
            _replay(report, site, answers, outages)
            _read_log(report, site.log, sum(answer["status"] == 503 for answer in answers))
    return report


def _read_log(report: Report, log: str, refused: int) -> None:
    if "Traceback" in log:
        report.unexplained.append(f"the server raised:\n{log[log.index('Traceback') :][:3000]}")
    lines = log.count("cannot tell, so nothing is accepted")
    # One for each request; a worker may have written it and been killed before it answered.
    if not refused <= lines <= refused + report.broken:
        report.unexplained.append(f"{lines} lines in the log about {refused} refusals")


def _one_round(report: Report, site: Site, server: backends.Server) -> Outage:
    time.sleep(random.uniform(*LOAD_SECONDS))
    try:
        os.kill(random.choice(site.workers), signal.SIGKILL)
    except (IndexError, ProcessLookupError):
        report.unexplained.append("the worker to be killed was gone")
    time.sleep(random.uniform(*LOAD_SECONDS))
    return _outage(report, server)


def _outage(report: Report, server: backends.Server) -> Outage:
    killing = time.monotonic()
    if not server.kill():
        report.unexplained.append("the backend to be killed was gone")
    killed = time.monotonic()
    time.sleep(DOWN_SECONDS)
    starting = time.monotonic()
    server.start()
    return Outage(killing, killed, starting, time.monotonic())


def _outcome(answer: dict[str, Any]) -> str:
    body = answer["body"]
    reason = body.get("error_code", "") if isinstance(body, dict) else str(body)[:200]
    return f"{answer['status']} {reason}".strip()


def _until_kill(moment: float, outages: Iterable[Outage], before: float = math.inf) -> float:
    """Return the seconds from an answer at *moment* to the next kill, or infinity if that was not *before* another.

    An answer from before the start of the backend is from before its kill, and was on its way.
    """
    following = (outage for outage in outages if moment <= outage.starting < before)
    return next((max(outage.killed - moment, 0.0) for outage in following), math.inf)


def _accept(report: Report, jti: str, moment: float, outages: Iterable[Outage]) -> None:
    """Note that a client was told at *moment* that the code is right; of each code, in the order of time."""
    if jti in report.acknowledged:
        seconds = _until_kill(report.acknowledged[jti], outages, before=moment)
        report.twice[jti] = max(seconds, report.twice.get(jti, 0.0))
    report.acknowledged[jti] = moment


def _judge(report: Report, answers: list[dict[str, Any]], outages: list[Outage]) -> None:
    report.requests = len(answers)
    for answer in sorted(answers, key=lambda answer: float(answer["ended"])):
        jti = answer["code"]["jti"]
        if answer["status"] == 200:
            if answer["body"] != {"jti": jti}:
                report.unexplained.append(f"the answer for another code: {answer['body']}")
            _accept(report, jti, answer["ended"], outages)
        elif _outcome(answer) == "503 OTP_UNAVAILABLE":
            if not (answer["retry_after"] or "").isdigit():
                report.unexplained.append(f"503 without Retry-After: {answer['retry_after']!r}")
        elif answer["status"] == 0:
            report.broken += 1
        elif _outcome(answer) != "410 OTP_USED":
            report.unexplained.append(_outcome(answer))
    for outage, following in pairwise(outages):
        during = [one for one in answers if one["begun"] > outage.killed and one["ended"] < outage.starting]
        after = [one for one in answers if outage.up < one["ended"] < following.killing]
        accepted = [one["ended"] - outage.up for one in after if one["status"] == 200]
        report.down += Counter(_outcome(one) for one in during)
        report.aftermath += [
            one["begun"] - outage.up for one in after if one["status"] == 503 and one["begun"] > outage.up
        ]
        if accepted:
            report.recoveries.append(min(accepted))
        else:
            report.unexplained.append("it did not recover before the next kill")


def _marks(server: backends.Server, wanted: Iterable[str]) -> set[str]:
    """Return those of the challenges *wanted* that are marked as used."""
    if server.kind == "redis":
        with backends.redis_client(server.url) as client:
            pipeline = client.pipeline(transaction=False)
            order = list(wanted)
            for jti in order:
                pipeline.get(b"{otp}:c" + bytes.fromhex(jti))
            entries = zip(order, pipeline.execute(), strict=True)
            return {jti for jti, entry in entries if entry is not None and int(entry.split()[0]) == USED}
    with backends.sql_connection(server.url) as connection, connection.cursor() as cursor:
        key = "`key`" if server.kind == "mysql" else "key"
        cursor.execute(f"SELECT {key} FROM otp_actions_ledger WHERE value = {USED}")
        return {bytes(row[0])[1:].hex() for row in cursor.fetchall() if bytes(row[0])[:1] == b"c"}


def _replay(report: Report, site: Site, answers: list[dict[str, Any]], outages: list[Outage]) -> None:
    """Send codes that were accepted once more."""
    codes = {answer["code"]["jti"]: answer["code"] for answer in answers if answer["status"] == 200}
    newest = sorted(codes, key=lambda jti: report.acknowledged[jti])[-MAX_REPLAYED:]
    chosen = [codes[jti] for jti in {*newest, *list(report.lost)[:MAX_REPLAYED]}]
    for answer in site.race("/confirm/", chosen).answers:
        if answer["status"] == 200:
            _accept(report, answer["body"]["jti"], time.monotonic(), outages)
