"""Measure what the tests run: lines of the C++ core, lines and branches of the Python package. ``make coverage``.

The C++ tests run, then the Python tests on a core built to be measured: those of the smallest installation, and
``tests/full`` on SQLite. Ends with one table, and fails below a floor; the pages for a browser are in build/coverage.
``--report`` makes them again from what the last run measured.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import another_core

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "coverage"
BIN = Path(sys.executable).parent
PASSED = BUILD / "passed"  # There if every test of the last run passed.

FLOOR = 95.0
#: What decides who gets in: nothing in these goes without a test. The rest of ledgers/database has lines that only a
#: database server runs, and they are not measured here.
WHOLE = [
    "cpp/bindings/ledger_adapter.cc",
    "cpp/include/otp_actions/bytes.h",
    "cpp/include/otp_actions/challenge.h",
    "cpp/include/otp_actions/keyring.h",
    "cpp/include/otp_actions/ledger.h",
    "cpp/src/bytes.cc",
    "cpp/src/challenge.cc",
    "cpp/src/constant_time.cc",
    "cpp/src/context.cc",
    "cpp/src/encoding.cc",
    "cpp/src/fernet.cc",
    "cpp/src/hkdf.cc",
    "cpp/src/hmac.cc",
    "cpp/src/instant.cc",
    "cpp/src/json.cc",
    "cpp/src/json.h",
    "cpp/src/keyring.cc",
    "cpp/src/ledger.cc",
    "cpp/src/openssl/keyed_cache.h",
    "cpp/src/process_ledger.cc",
    "cpp/src/subject.cc",
    "cpp/src/verdict.cc",
    "cpp/src/verification.cc",
    "python/otp_actions/client.py",
    "python/otp_actions/conf.py",
    "python/otp_actions/decorators.py",
    "python/otp_actions/exceptions.py",
    "python/otp_actions/http/doors.py",
    "python/otp_actions/http/errors.py",
    "python/otp_actions/http/fields.py",
    "python/otp_actions/http/throttles.py",
    "python/otp_actions/ledgers/__init__.py",
    "python/otp_actions/ledgers/base.py",
    "python/otp_actions/ledgers/database/errors.py",
    "python/otp_actions/ledgers/native.py",
    "python/otp_actions/ledgers/none.py",
    "python/otp_actions/ledgers/process.py",
    "python/otp_actions/ledgers/redis.py",
    "python/otp_actions/mixins.py",
    "python/otp_actions/services.py",
    "python/otp_actions/signals.py",
]

FORKS_BESIDE_THREADS = "test_ledger_is_usable_in_children_forked_while_threads_are_busy"


class Measured(NamedTuple):
    """How much of a file was run. In Python a branch counts as a line does."""

    name: str
    run: int
    total: int
    missing: str

    @property
    def percent(self) -> float:
        """How much of it, in per cent."""
        return 100.0 * self.run / self.total if self.total else 100.0


def call(*command: str | Path, **variables: str) -> int:
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}, check=False).returncode


def build() -> None:
    """Build the C++ tests and the extension for measuring."""
    print("==> Building the core to be measured", flush=True)
    python = f"-DPython_EXECUTABLE={sys.executable}"
    for step in (["--preset", "coverage", python], ["--build", "--preset", "coverage", "-j", "2"]):
        done = subprocess.run([BIN / "cmake", *step], cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)


def measure() -> None:
    """Run all tests, measuring; whether they passed is noted beside what was measured."""
    build()
    PASSED.unlink(missing_ok=True)
    for old in (*BUILD.rglob("*.gcda"), *BUILD.glob("python.data*")):
        old.unlink()
    site = another_core.python_path(BUILD)

    print("==> Running the C++ tests", flush=True)
    status = call(BUILD / "cpp" / "tests" / "core_tests", "--gtest_brief=1")
    coverage = [BIN / "coverage", "run", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    # It forks while threads run: one of them may hold a lock of coverage, which the child then waits for for ever.
    coverage += [f"--deselect=tests/races/test_forks.py::{FORKS_BESIDE_THREADS}"]
    full = ["tests/full", "--ds=projects.full.settings"]
    # These are about servers that are killed, with what was measured in them.
    full += [f"--ignore=tests/full/{name}.py" for name in ("test_backends", "test_chaos")]
    for name, more in (("the smallest installation", []), ("the full installation on SQLite", full)):
        print(f"==> Running the Python tests of {name}", flush=True)
        status |= call(*coverage, *more, PYTHONPATH=site, OTP_TEST_ENGINE="sqlite")
    if not status:
        PASSED.touch()


def report_cpp() -> list[Measured]:
    pages = BUILD / "html-cpp"
    shutil.rmtree(pages, ignore_errors=True)
    pages.mkdir()
    report = BUILD / "cpp.json"
    filters = [f"--filter={ROOT}/cpp/{part}/" for part in ("src", "include", "bindings")]
    reports = [f"--json={report}", f"--html-details={pages}/index.html"]
    # On a line with nothing but a brace there is what the compiler does if something throws.
    braces = r"--exclude-lines-by-pattern=\s*\}\s*$"
    if call(BIN / "gcovr", f"--root={ROOT}", BUILD, *filters, braces, *reports):
        raise SystemExit("gcovr failed. Has make coverage been run before?")
    measured = []
    for file in json.loads(report.read_text())["files"]:
        lines = {line["line_number"]: 0 for line in file["lines"] if not line.get("gcovr/excluded")}
        for line in file["lines"]:  # A line of a template is there once for each of its instances.
            if line["line_number"] in lines:
                lines[line["line_number"]] += line["count"]
        missing = [str(number) for number, count in lines.items() if not count]
        measured.append(Measured(file["file"], len(lines) - len(missing), len(lines), " ".join(missing)))
    return measured


def report_python() -> list[Measured]:
    if list(BUILD.glob("python.data.*")) and call(BIN / "coverage", "combine", "--quiet"):
        raise SystemExit("coverage combine failed")
    report = BUILD / "python.json"
    if call(BIN / "coverage", "json", "--quiet", "-o", report) or call(
        BIN / "coverage", "html", "--quiet", "-d", BUILD / "html-python"
    ):
        raise SystemExit("coverage has nothing to report. Has make coverage been run before?")
    measured = []
    for name, file in json.loads(report.read_text())["files"].items():
        sums = file["summary"]
        missing = [str(number) for number in file["missing_lines"]]
        missing += [f"{a}->{'exit' if b < 0 else b}" for a, b in file["missing_branches"]]
        run = sums["covered_lines"] + sums["covered_branches"]
        measured.append(Measured(name, run, sums["num_statements"] + sums["num_branches"], " ".join(missing)))
    return measured


def show(files: list[Measured]) -> bool:
    """Print the table; say whether everything is above its floor."""
    below = []
    print(f"\n{'':45} {'run':>11} {'':>7}   {'at least':>8}   not run")
    for title, start in (("C++, lines", "cpp/"), ("Python, lines and branches", "python/")):
        part = sorted(file for file in files if file.name.startswith(start))
        rows = [(file, 100.0 if file.name in WHOLE else 0.0) for file in part]
        rows.append((Measured(title, sum(f.run for f in part), sum(f.total for f in part), ""), FLOOR))
        for file, floor in rows:
            least = f"{floor:.0f} %" if floor else ""
            counts = f"{file.run}/{file.total}"
            print(f"{file.name:45} {counts:>11} {file.percent:6.1f} %   {least:>8}   {file.missing[:60]}")
            if file.percent < floor:
                below.append(file.name)
        print()
    below += [f"{name} (not measured)" for name in WHOLE if name not in {file.name for file in files}]
    print(f"Pages: {BUILD.relative_to(ROOT)}/html-cpp/index.html, {BUILD.relative_to(ROOT)}/html-python/index.html")
    if below:
        print(f"coverage: below its floor: {', '.join(below)}")
    return not below


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", action="store_true")
    if not parser.parse_args().report:
        measure()
    enough = show(report_cpp() + report_python())
    if not PASSED.exists():
        print("coverage: a test failed, or not all were run")
    return 0 if enough and PASSED.exists() else 1


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
