"""``verify_otp`` beside a busy Python thread, and in two threads at once."""

from __future__ import annotations

import gc
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from benchmarks import baseline
from benchmarks.measuring import EMAIL, progress, report, row, set_up, timed, times_faster
from otp_actions.services import generate_otp, verify_otp

ROUNDS, WARM_UP, CALLS = 12, 2, 3000  # Long beside the 5 ms after which Python lets another thread run.


@contextmanager
def busy_thread() -> Iterator[None]:
    """Run Python code in another thread meanwhile."""
    stop = threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            number += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def both(call: Callable[..., Any], first: list[Any], second: list[Any]) -> int:
    """Return the nanoseconds that two threads take for one list each."""
    ready = threading.Barrier(3)

    def work(mine: list[Any]) -> None:
        ready.wait()
        for arguments in mine:
            call(*arguments)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in (first, second)]
    for thread in threads:
        thread.start()
    gc.disable()
    start = time.perf_counter_ns()
    ready.wait()
    for thread in threads:
        thread.join()
    took = time.perf_counter_ns() - start
    gc.enable()
    return took


def main() -> None:
    set_up()
    whose = {
        "ours": (partial(generate_otp, EMAIL), verify_otp),
        "baseline": (partial(baseline.generate, EMAIL), baseline.verify),
    }
    samples: dict[str, list[float]] = {}
    for turn in progress(ROUNDS + WARM_UP):
        for name, (make, call) in whose.items():
            batches = [[make() for _ in range(CALLS)] for _ in range(4)]
            took = {f"{name} alone": timed(call, batches[0])}
            with busy_thread():
                took[f"{name} beside a busy thread"] = timed(call, batches[1])
            took[f"{name} two threads"] = both(call, batches[2], batches[3]) / 2
            if turn >= WARM_UP:
                for what, nanoseconds in took.items():
                    samples.setdefault(what, []).append(nanoseconds / CALLS / 1000)
    found = {name: statistics.median(values) for name, values in samples.items()}

    rows = []
    for what in ("alone", "beside a busy thread", "two threads"):
        rows.append(times_faster(f"verify_otp, {what}", found[f"ours {what}"], found[f"baseline {what}"]))
    for name in whose:
        alone, busy, two = (found[f"{name} {what}"] for what in ("alone", "beside a busy thread", "two threads"))
        rows.append(row(f"  {name}: time beside a busy thread, to alone", value=busy / alone))
        rows.append(row(f"  {name}: throughput of two threads, to one", value=alone / two))
    report(rows, found)


if __name__ == "__main__":
    main()
