"""The size of a context, and what a million codes leave behind in memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.measuring import EMAIL, progress, report, row, set_up
from otp_actions.services import generate_otp, verify_otp

WARM_UP, CALLS, STEP = 100_000, 1_000_000, 50_000
#: Codes in a second of the clock that is passed in. Entries live for up to an hour, so all that will ever be live at
#: once is live when the warm-up ends after 5,000 such seconds.
A_SECOND = 20


def resident() -> int:
    """Return the bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def use_up(first: int, number: int) -> None:
    """Issue and verify *number* codes of different people."""
    for one in range(first, first + number):
        now = 1_800_000_000 + one // A_SECOND
        code, context = generate_otp(f"ada{one % 1_000_000:07}@example.com", now=now)
        verify_otp(code, context, now=now)


def growth(ledger: str | None) -> int:
    """Return by how many bytes this process grows over a million codes."""
    set_up(OTP_LEDGER=ledger)
    use_up(0, WARM_UP)
    before = resident()
    for step in progress(CALLS // STEP):
        use_up(WARM_UP + step * STEP, STEP)
    return resident() - before


def main() -> None:
    if sys.argv[1:]:
        print(growth({"None": None}.get(sys.argv[1], sys.argv[1])))
        return
    set_up()
    size = len(generate_otp(EMAIL)[1])
    rows = [row("context, identifier of 20 characters", value=size, unit=" B")]
    figures: dict[str, float] = {"context bytes": size}
    missing = {}
    if Path("/proc/self/statm").exists():
        for ledger in ("None", "process"):
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.memory", ledger], stdout=subprocess.PIPE, text=True, check=True
            )
            figures[f"growth bytes {ledger}"] = grown = int(done.stdout)
            text = f"growth over 10^6 generate + verify, {ledger}"
            rows.append(row(text, value=grown / 2**20, unit=" MiB"))
    else:
        missing["growth of memory"] = "there is no /proc/self/statm on this system"
    report(rows, figures, missing)


if __name__ == "__main__":
    main()
