"""The C++ core beside the raw primitives, and the services beside the best loop over OpenSSL."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks.measuring import EMAIL, ROOT, Piece, in_turns, medians, report, row, set_up, times_the_cost
from otp_actions.services import generate_otp, verify_otp

TURNS, ROUNDS, CALLS = 7, 6, 300

#: Parts of the core that have no goal of their own, in the order of the table.
PARTS = {
    "encode": "C++: encode the payload",
    "parse": "C++: parse the payload",
    "code_digest": "C++: compare a code",
    "issue": "C++: issue, the whole of it",
    "verify_none": "C++: verify, ledger None",
    "verify_process": "C++: verify, ledger process",
}


def tool(name: str) -> str | None:
    """Return the path of a program, that of the virtual environment first."""
    return shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


def build() -> Path:
    """Build bench_core and return it.

    Raises:
        FileNotFoundError: A tool is missing; the text says what to type.
        SystemExit: It does not build.
    """
    compiler = os.environ.get("CXX", "c++")
    cmake = tool("cmake")
    if cmake is None:
        raise FileNotFoundError("cmake is not installed. Type: .venv/bin/python -m pip install cmake")
    if tool(compiler) is None:
        raise FileNotFoundError(f"{compiler} is not installed. On Debian: apt-get install g++")
    for command in ([cmake, "--preset", "bench"], [cmake, "--build", "--preset", "bench", "-j", "2"]):
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise SystemExit(f"bench_core does not build:\n{done.stdout}")
    return ROOT / "build/bench/cpp/benchmarks/bench_core"


def main() -> None:
    set_up(OTP_LEDGER=None)
    try:
        program = build()
    except FileNotFoundError as error:
        return report([], {}, {"the C++ core (bench_core)": str(error)})

    # bench_core lets its pieces take turns, and here the two programs take turns.
    ours = partial(generate_otp, EMAIL)
    pieces = {"generate_otp": Piece(tuple, ours), "verify_otp": Piece(ours, verify_otp)}
    samples: dict[str, list[float]] = {}
    for _ in range(TURNS):
        found = json.loads(subprocess.run([program], stdout=subprocess.PIPE, check=True).stdout)
        for name, nanoseconds in found.items():
            samples.setdefault(name, []).append(nanoseconds / 1000)
        for name, value in medians(in_turns(pieces, rounds=ROUNDS, calls=CALLS)).items():
            samples.setdefault(name, []).append(value)
    time = {name: statistics.median(values) for name, values in samples.items()}

    report(
        [
            times_the_cost("C++ seal, to the primitives alone", time["seal"], time["floor_seal"], 1.6, 1.3),
            times_the_cost("C++ open, to the primitives alone", time["open"], time["floor_open"], 1.8, 1.5),
            times_the_cost("generate_otp, to the best EVP loop", time["generate_otp"], time["loop_seal"], 3.0, 2.0),
            times_the_cost("verify_otp, to the best EVP loop", time["verify_otp"], time["loop_open"], 3.5, 2.5),
            times_the_cost("C++ seal, to the best EVP loop", time["seal"], time["loop_seal"]),
            times_the_cost("C++ open, to the best EVP loop", time["open"], time["loop_open"]),
            *(row(text, ours=time[name]) for name, text in PARTS.items()),
        ],
        time,
    )
    return None


if __name__ == "__main__":
    main()
