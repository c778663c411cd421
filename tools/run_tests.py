"""Run the C++ tests, then the Python tests, and end with one line of counts. ``make test`` calls this.

The Python tests run on the smallest installation; those in ``tests/full`` run once for each database. The servers they
need are found, started or installed by ``tests/backends.py``. What could not be had is listed at the end; with ``CI``
set that is a failure.

Options go to pytest: ``make test`` is everything, ``.venv/bin/python tools/run_tests.py -k replay`` is not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "build" / "reports"
BIN = Path(sys.executable).parent
NO_TESTS_SELECTED = 5  # What pytest exits with.

sys.path.insert(0, str(ROOT / "tests"))
import backends  # noqa: E402 -- it is found by the line above


def run(*command: str | Path, quiet: bool = False, **variables: str) -> int:
    """Run *command* with *variables* in its environment; if *quiet*, show its output only when it fails."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
    )
    if quiet and done.returncode:
        print(done.stdout)
    return done.returncode


def counts(report: Path) -> tuple[int, int, int]:
    """Return (passed, failed, skipped) of a JUnit report."""
    if not report.exists():
        return 0, 1, 0  # The runner died: that is a failure, not "no tests".
    passed = failed = skipped = 0
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def run_pytest(report: Path, *arguments: str, **variables: str) -> int:
    """Run pytest with *arguments* and those of the command line."""
    status = run(sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *arguments, *sys.argv[1:], **variables)
    # The command line may select what only other runs have.
    return 0 if status == NO_TESTS_SELECTED and sys.argv[1:] else status


def find_backends() -> dict[str, str]:
    """Export the URL of each backend to the tests; return what could not be had, and why."""
    print("==> Looking for Redis, PostgreSQL and MariaDB", flush=True)
    missing = {}
    for kind in backends.KINDS:
        try:
            os.environ[backends.variable(kind)] = backends.server_url(kind)
        except backends.Missing as error:
            missing[kind] = str(error)
    return missing


def main() -> int:
    shutil.rmtree(REPORTS, ignore_errors=True)
    REPORTS.mkdir(parents=True)
    reports = {"C++": REPORTS / "ctest.xml", "Python": REPORTS / "pytest.xml"}

    print("==> Building the C++ tests", flush=True)
    warnings = ["-DOTP_WARNINGS_AS_ERRORS=ON"] if os.environ.get("CI") else []
    status = run(BIN / "cmake", "--preset", "dev", *warnings, quiet=True)
    status = status or run(BIN / "cmake", "--build", "--preset", "dev", quiet=True)
    if status == 0:
        print("==> Running the C++ tests", flush=True)
        status = run(
            BIN / "ctest",
            "--preset",
            "dev",
            "--output-junit",
            reports["C++"],
            "--parallel",
            "2",
            "--progress",
            quiet=True,
        )

    print("==> Running the Python tests", flush=True)
    status |= run_pytest(reports["Python"])

    missing = find_backends()
    for engine in ("sqlite", "postgres", "mysql"):
        if engine in missing:
            continue
        name = f"Python, everything on {backends.NAMES.get(engine, 'SQLite')}"
        reports[name] = REPORTS / f"pytest-{engine}.xml"
        print(f"==> Running the tests of the full installation on {backends.NAMES.get(engine, 'SQLite')}", flush=True)
        full = ("tests/full", "--ds=projects.full.settings")
        status |= run_pytest(reports[name], *full, OTP_TEST_ENGINE=engine)

    totals = [counts(report) for report in reports.values()]
    print()
    for name, (passed, failed, skipped) in zip(reports, totals, strict=True):
        print(f"{name}: {passed} passed, {failed} failed, {skipped} skipped")
    for kind, reason in missing.items():
        print(f"NOT TESTED: {backends.NAMES[kind]}: {reason}")
    passed, failed, skipped = (sum(column) for column in zip(*totals, strict=True))
    untested = "; NOT TESTED: " + ", ".join(backends.NAMES[kind] for kind in missing) if missing else ""
    print(f"total: {passed} passed, {failed} failed, {skipped} skipped{untested}")
    return 1 if status or failed or not passed or (missing and os.environ.get("CI")) else 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
