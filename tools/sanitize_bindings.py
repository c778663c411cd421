"""Run Python tests of the smallest installation on a core with ASan and UBSan. ``make sanitize`` calls this.

The C++ tests know nothing of ``cpp/bindings``: this is what looks at them. Prints one line, or what went wrong.
"""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import another_core

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "asan"
REPORTS = "report-of-bindings"
TESTS = ["tests/unit", "tests/contract"]

sys.path.insert(0, str(ROOT / "tests"))
import backends  # noqa: E402 -- it is found by the line above


def library(name: str) -> str:
    """Return where the compiler has *name*."""
    found = subprocess.run(
        ["c++", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(found).is_absolute():
        raise SystemExit(f"The compiler has no {name}. Install GCC's sanitizers, and let c++ be GCC.")
    return found


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python, and whatever it starts, on the sanitized core."""
    variables = {
        # Python is not built with them: they have to be there first, and libstdc++ before ASan looks for its throw.
        "LD_PRELOAD": f"{library('libasan.so')} {library('libstdc++.so')}",
        "PYTHONPATH": another_core.python_path(BUILD),
        "PYTHONMALLOC": "malloc",  # Else ASan sees arenas, and no end of a str or a bytes in them.
        # An interpreter gives back little at its end.
        "ASAN_OPTIONS": f"log_path={BUILD / REPORTS}:detect_leaks=0",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def main() -> int:
    for old in BUILD.glob(f"{REPORTS}.*"):
        old.unlink()
    start = time.monotonic()
    which = run("-c", "import otp_actions._core as core; print(core.__file__)").stdout.strip()
    if not which.startswith(str(BUILD)):
        raise SystemExit(f"Python does not import the core of build/asan: {which}")
    with contextlib.suppress(backends.Missing):  # The tests say so.
        # Found, started or installed here, without ASan.
        os.environ[backends.variable("redis")] = backends.server_url("redis")
    # UBSan writes to the standard error of a process that then ends: pytest must not have taken it.
    tests = run("-m", "pytest", "-q", "--capture=sys", "-p", "no:cacheprovider", *TESTS)
    reports = sorted(BUILD.glob(f"{REPORTS}.*"))  # Also of a child whose death no test noticed.
    if tests.returncode or reports:
        print(tests.stdout, *(report.read_text() for report in reports), sep="\n")
        print("sanitize: the bindings: failed")
        return 1
    counts = tests.stdout.strip().splitlines()[-1].strip("= ")
    print(f"sanitize: the bindings under ASan and UBSan, no report: {counts} ({time.monotonic() - start:.0f} s)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
