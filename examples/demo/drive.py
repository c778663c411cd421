"""``make demo``: start the example server, show one whole exchange over HTTP, and keep serving until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BOLD, DIM, GREEN, RED, PLAIN = (
    ("\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m") if sys.stdout.isatty() else ("",) * 5
)
EMAIL = "ada@example.com"


def free_port(wanted: int) -> int:
    """Return *wanted* if nothing listens there, else any free port."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SystemExit("No free port on 127.0.0.1.")


class Server:
    """The example project under ``manage.py runserver``, and what it prints."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.lines: queue.Queue[str] = queue.Queue()
        self.echo = False
        manage = [sys.executable, "-u", str(HERE / "manage.py")]
        subprocess.run([*manage, "migrate", "--verbosity", "0"], check=True, cwd=HERE)
        self.process = subprocess.Popen(
            [*manage, "runserver", "--noreload", f"127.0.0.1:{port}"],
            cwd=HERE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if self.echo:
                print(line, end="", flush=True)
            self.lines.put(line)

    def wait_until_up(self) -> None:
        """Return as soon as the server answers."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                urllib.request.urlopen(self.url, timeout=5).close()
                return
            except OSError:
                time.sleep(0.1)
        raise SystemExit("The server did not start:\n" + "".join(self.lines.queue))

    def mailed_code(self) -> str:
        """Return the code in the mail that the server prints next."""
        while True:
            try:
                line = self.lines.get(timeout=30)
            except queue.Empty:
                raise SystemExit("The server printed no mail.") from None
            if found := re.search(r"Your code is: (\d+)", line):
                return found[1]

    def post(self, title: str, path: str, body: dict[str, Any], expected: int) -> dict[str, Any]:
        """Send *body*, print the exchange, and stop the demo if the status is not *expected*."""
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                status, answer = response.status, json.load(response)
        except urllib.error.HTTPError as error:
            status, answer = error.code, _parsed(error)
        color = GREEN if status < 400 else RED
        print(
            f"\n{BOLD}{title}{PLAIN}\n{DIM}POST {path}{PLAIN}  {shown(body)}\n  {color}{status}{PLAIN}  {shown(answer)}"
        )
        if status != expected:
            raise SystemExit(f"Expected {expected}: this demo is broken, please report it.")
        return answer


def _parsed(error: urllib.error.HTTPError) -> dict[str, Any]:
    text = error.read().decode(errors="replace")
    try:
        return json.loads(text)
    except ValueError:
        raise SystemExit(f"{error.code}, and not JSON:\n{text}") from None


def shown(body: dict[str, Any]) -> str:
    """Return *body* as JSON, its context cut short."""
    return json.dumps({k: v[:14] + "…" if k == "context" and v else v for k, v in body.items()}, ensure_ascii=False)


def exchange(server: Server) -> None:
    """Drive request, wrong code, right code, replay."""
    asked = server.post("1. Ask for a code", "/request-code/", {"email": EMAIL}, 200)
    code = server.mailed_code()
    print(f"     {DIM}the server mailed{PLAIN} {BOLD}{code}{PLAIN} {DIM}to {EMAIL} (console mail){PLAIN}")
    wrong = code[:-1] + str((int(code[-1]) + 1) % 10)
    refused = server.post("2. A wrong code", "/sign-in/", {"otp": wrong, "context": asked["context"]}, 400)
    server.post("3. The right code", "/sign-in/", {"otp": code, "context": refused["context"]}, 200)
    server.post("4. The right code again", "/sign-in/", {"otp": code, "context": refused["context"]}, 410)
    print(f"\n{GREEN}A wrong code was counted, the right one worked once.{PLAIN}")


def main() -> int:
    """Run the demo and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", action="store_true", help="stop after the exchange")
    parser.add_argument("--port", type=int, default=int(os.environ.get("DEMO_PORT", "8000")))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # By way of the finally: the server must not be left alone.
    server = Server(free_port(options.port))
    try:
        server.wait_until_up()
        print(f'{BOLD}The example project serves {server.url}{PLAIN} (examples/demo, SQLite, ledger "process")')
        exchange(server)
        if not options.once:
            print(
                f"\nNow you: open {BOLD}{server.url}{PLAIN} and try it. Mail and requests appear here. Ctrl-C stops.\n"
            )
            server.echo = True
            server.process.wait()
    except KeyboardInterrupt:
        print()
    finally:
        server.process.terminate()
        server.process.wait(timeout=10)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
