"""Run the C++ tests, then the Python tests, and end with one line of counts. ``make test`` calls this.

Arguments go to pytest: ``make test`` is everything, ``.venv/bin/python tools/run_tests.py -k replay`` is not.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "build" / "reports"
BIN = Path(sys.executable).parent


def run(*command: str | Path, quiet: bool = False) -> int:
    """Run *command*; if *quiet*, show its output only when it fails."""
    done = subprocess.run(
        command,
        cwd=ROOT,
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


def main() -> int:
    REPORTS.mkdir(parents=True, exist_ok=True)
    reports = {"C++": REPORTS / "ctest.xml", "Python": REPORTS / "pytest.xml"}
    for report in reports.values():
        report.unlink(missing_ok=True)

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
    status |= run(sys.executable, "-m", "pytest", "-q", f"--junitxml={reports['Python']}", *sys.argv[1:])

    totals = [counts(report) for report in reports.values()]
    print()
    for name, (passed, failed, skipped) in zip(reports, totals, strict=True):
        print(f"{name}: {passed} passed, {failed} failed, {skipped} skipped")
    passed, failed, skipped = (sum(column) for column in zip(*totals, strict=True))
    print(f"total: {passed} passed, {failed} failed, {skipped} skipped")
    return 1 if status or failed or not passed else 0


if __name__ == "__main__":
    raise SystemExit(main())
