"""Fuzz the core, then compare it with other implementations on made-up input. ``make fuzz`` calls this.

``FUZZ_SECONDS`` is the time for each libFuzzer target (60), and with it goes the number of examples for each
Hypothesis test. What libFuzzer learns stays in ``build/corpus``, so the next run goes on from there. An input that
breaks something is saved as ``cpp/fuzz/<target>/findings/<kind>-<hash>``; from then on ``make test`` replays it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
SECONDS = max(1, int(os.environ.get("FUZZ_SECONDS") or 60))  # To libFuzzer none would mean for ever.
EXAMPLES = 25 * SECONDS
LONGEST = 10_240  # Bytes of an input: beyond every limit of the core.
COMPARISONS = [f"tests/unit/test_{name}.py" for name in ("interop", "any_json", "payload_json")]
TARGETS = ("token", "context", "encoding")


def build() -> None:
    print("==> Building the fuzz targets (clang, ASan, UBSan)", flush=True)
    for command in (("--preset", "fuzz"), ("--build", "--preset", "fuzz", "--parallel", "2")):
        done = subprocess.run([BIN / "cmake", *command], cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)


def fuzz(target: str) -> tuple[list[str], str | None]:
    """Run *target* and show how it goes; return its row of the table, and what broke it."""
    print(f"==> Fuzzing {target} for {SECONDS} s", flush=True)
    home = Path("cpp/fuzz") / target
    corpus = Path("build/corpus") / target
    findings = home / "findings"
    for folder in (corpus, findings):
        (ROOT / folder).mkdir(parents=True, exist_ok=True)
    program = f"build/fuzz/cpp/fuzz/fuzz_{target}"
    words = home / "words.dict"
    options = [f"-max_total_time={SECONDS}", f"-max_len={LONGEST}", "-timeout=10", "-print_final_stats=1"]
    options += [f"-artifact_prefix={findings}/"] + ([f"-dict={words}"] if (ROOT / words).exists() else [])
    run = subprocess.Popen(
        [program, *options, corpus, home / "seeds", findings],
        cwd=ROOT,
        env={"UBSAN_OPTIONS": "print_stacktrace=1", **os.environ},
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    executions = rate = edges = total = "?"
    finding, report = None, []
    assert run.stderr is not None
    for line in run.stderr:
        if found := re.match(r"INFO: Loaded .*\((\d+) inline", line):
            total = found[1]
        elif found := re.match(r"#(\d+)\s+(INITED|NEW|REDUCE|pulse|DONE|RELOAD)\s+cov: (\d+)", line):
            executions, edges = found[1], found[3]
            if found[2] in ("INITED", "pulse", "DONE"):
                print(f"    {found[1]} executions, {found[3]} edges", flush=True)
        elif found := re.match(r"stat::(number_of_executed_units|average_exec_per_sec): +(\d+)", line):
            executions, rate = (found[2], rate) if found[1].startswith("number") else (executions, found[2])
        elif found := re.search(r"Test unit written to (\S+)", line):
            finding = found[1]
        if not line.startswith(("#", "INFO", "stat::")):
            report.append(line)
    if run.wait() == 0:
        return [target, executions, rate, f"{edges} of {total}", "0"], None
    sys.stdout.writelines(report[:60])
    if finding is None:
        raise SystemExit(f"fuzz: {program} ended with {run.returncode}")
    message = (
        f"FINDING: {finding}\n  replay it:  {program} {finding}\n  `make test` replays it too: commit it with the mend"
    )
    print(message)
    return [target, executions, rate, f"{edges} of {total}", "1"], message


def compare() -> tuple[list[str], bool]:
    """Run the Hypothesis tests with many examples; return their row of the table, and whether they passed."""
    print(f"==> Comparing with cryptography.fernet and json, {EXAMPLES} examples for each test", flush=True)
    report = ROOT / "build/reports/fuzz.xml"
    report.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "hypothesis", *COMPARISONS, f"--junitxml={report}"],
        cwd=ROOT,
        env={**os.environ, "HYPOTHESIS_PROFILE": "fuzz", "FUZZ_EXAMPLES": str(EXAMPLES)},
    )
    suite = next(ElementTree.parse(report).iter("testsuite")) if report.exists() else None
    tests, failed = (0, 1) if suite is None else (int(suite.get("tests", 0)), int(suite.get("failures", 0)))
    return ["Python", f"{tests} x {EXAMPLES}", "", "", str(failed)], done.returncode == 0 and tests > 0


def main() -> int:
    build()
    rows, findings = [["target", "executions", "a second", "edges covered", "findings"]], []
    for target in TARGETS:
        row, finding = fuzz(target)
        rows.append(row)
        if finding:
            findings.append(finding)
    row, agreed = compare()
    rows.append(row)
    print()
    for row in rows:
        print("{:<10} {:>14} {:>10} {:>16} {:>10}".format(*row).rstrip())
    for finding in findings:
        print(finding)
    return 1 if findings or not agreed else 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
