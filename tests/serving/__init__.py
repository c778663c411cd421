"""A real server with several processes and threads, and many clients that send at the same moment."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import backends

if TYPE_CHECKING:
    from typing import Self  # Not in Python 3.10.

TESTS = Path(__file__).resolve().parent.parent
WORKERS = 4
THREADS = 16


class Site:
    """The project ``projects.served`` under gunicorn, with *settings* on top of its own.

    As a context manager: its tables are made and it answers on entry, and it is gone on exit.

    Args:
        hosts: How many servers the workers are divided among, each with a port of its own. Workers of one server take
            connections as they come, and often nearly all come to one of them; between hosts the clients are spread
            evenly.
        settings: Settings of Django and ours.
    """

    def __init__(self, hosts: int = 1, **settings: Any) -> None:
        self.ports = [backends.free_port() for _ in range(hosts)]
        self._aliases = list(settings.get("DATABASES", {}))
        self._environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "projects.served.settings",
            "OTP_SERVED": json.dumps(settings),
            "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        }
        self._directory = tempfile.TemporaryDirectory(prefix="otp-site-")
        self._log = Path(self._directory.name) / "log"
        self._keeper = backends.Keeper(Path(self._directory.name), signal.SIGQUIT)
        self._processes: list[subprocess.Popen[bytes]] = []
        # By worker. A worker's highest number is its last one: each of its answers carries it.
        self._compared: Counter[str] = Counter()

    @property
    def log(self) -> str:
        """What the servers have said."""
        return self._log.read_text(errors="replace")

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers that live now."""
        return [pid for process in self._processes for pid in backends.children_of(process.pid)]

    def __enter__(self) -> Self:
        try:
            for alias in self._aliases:
                if self._spawn("-m", "django", "migrate", "--verbosity", "0", "--database", alias).wait():
                    raise RuntimeError(f"the tables of {alias} could not be made:\n{self.log}")
            self._processes = [
                self._spawn(
                    *("-m", "gunicorn", "django.core.wsgi:get_wsgi_application()", "--preload", "--no-control-socket"),
                    *("--worker-class", "gthread", "--threads", str(THREADS)),
                    *("--keep-alive", "60", "--graceful-timeout", "1"),
                    *("--workers", str(WORKERS // len(self.ports)), "--bind", f"127.0.0.1:{port}"),
                )
                for port in self.ports
            ]
            self._keeper.watch(*self._processes)
            deadline = time.monotonic() + 30
            for port, process in zip(self.ports, self._processes, strict=True):
                while not self._answers(port):
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError(f"gunicorn did not start:\n{self.log}")
                    time.sleep(0.05)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the servers."""
        for process in self._processes:
            backends.kill_all(process)
        self._processes = []
        self._keeper.dismiss()
        self._directory.cleanup()

    def _spawn(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *arguments],
                cwd=TESTS,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _answers(self, port: int) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return True
        return False

    def ask(self, path: str, body: Any) -> Any:
        """Send *body* to *path* and return what comes back; anything but a 200 is an error of the tests."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[0], timeout=60)
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} {text[:200]!r}\n{self.log[-2000:]}")
        return json.loads(text)

    def issue(self, arguments: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
        """Issue one code for each of *arguments*, the keywords of ``generate_otp``; each has otp, context and jti."""
        issued: list[dict[str, str]] = self.ask("/issue/", list(arguments))
        return issued

    def clients(self, mode: str, **plan: Any) -> subprocess.Popen[str]:
        """Start the client processes of ``serving/clients.py``: *plan* goes in, JSON comes out."""
        process = subprocess.Popen(
            [sys.executable, "-I", str(TESTS / "serving" / "clients.py"), mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps({"ports": self.ports, **plan}) + "\n")
        process.stdin.flush()
        return process

    def race(self, path: str, codes: Sequence[dict[str, str]]) -> Race:
        """Send each of *codes* to *path* from 4 clients at the same moment, 16 such groups at a time."""
        bodies = [{"otp": code["otp"], "context": code["context"]} for code in codes]
        begin = time.perf_counter()
        with self.clients("race", path=path, bodies=bodies) as process:
            try:
                output, _ = process.communicate(timeout=300)
            finally:
                backends.kill_all(process)
        seconds = time.perf_counter() - begin
        if process.returncode:
            raise RuntimeError("the clients failed")
        answers = json.loads(output)
        before = sum(self._compared.values())
        for answer in answers:
            worker = answer["worker"]
            self._compared[worker] = max(self._compared[worker], answer["comparisons"])
        return Race(answers, sum(self._compared.values()) - before, seconds)

    @contextmanager
    def storm(self, threads: int) -> Iterator[list[dict[str, Any]]]:
        """Have 4 processes of *threads* clients get and send codes meanwhile; on exit the list holds what was answered.

        An answer has, beside what a race's has, the code, and when it was begun and ended by ``time.monotonic``.
        """
        answers: list[dict[str, Any]] = []
        with self.clients("storm", threads=threads) as process:
            try:
                yield answers
                output, _ = process.communicate(timeout=300)
            finally:
                backends.kill_all(process)
        if process.returncode:
            raise RuntimeError("the clients failed")
        answers += json.loads(output)


class Race(NamedTuple):
    """What came of a race.

    Attributes:
        answers: One dict for each request, see ``Client.receive`` in ``clients.py``; index says which code it was.
        comparisons: How many codes all workers together have compared.
        seconds: How long it took.
    """

    answers: list[dict[str, Any]]
    comparisons: int
    seconds: float

    @property
    def outcomes(self) -> Counter[str]:
        """How often each outcome was had: the status, then the reason if the body gives one."""
        found: Counter[str] = Counter()
        for answer in self.answers:
            body = answer["body"]
            reason = body.get("error_code") if isinstance(body, dict) else body[:300]
            found[f"{answer['status']} {reason}" if reason else str(answer["status"])] += 1
        return found
