"""The C++ core beside the raw primitives, and the services beside the best loop over OpenSSL."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from functools import partial
from itertools import count, takewhile
from pathlib import Path

from benchmarks.measuring import EMAIL, ROOT, Piece, in_turns, medians, progress, report, row, set_up, times_the_cost
from otp_actions.services import generate_otp, verify_otp

ROUNDS, CALLS = 61, 300

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
    return next((ROOT / "build/bench/cpp/benchmarks").glob("libbench_core.*"))


class CorePieces:
    """The pieces of bench_core, by name."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.bench_name.restype = ctypes.c_char_p
        self._library.bench_round.restype = ctypes.c_double
        names = takewhile(bool, map(self._library.bench_name, map(ctypes.c_size_t, count())))
        self.places = {name.decode(): place for place, name in enumerate(names)}

    def round(self, name: str) -> float:
        """Return the microseconds of a call, over one round."""
        return self._library.bench_round(ctypes.c_size_t(self.places[name])) / 1000


def main() -> None:
    set_up(OTP_LEDGER=None)
    try:
        core = CorePieces(build())
    except FileNotFoundError as error:
        return report([], {}, {"the C++ core (bench_core)": str(error)})

    ours = partial(generate_otp, EMAIL)
    pieces = {"generate_otp": Piece(tuple, ours), "verify_otp": Piece(ours, verify_otp)}
    samples: dict[str, list[float]] = {name: [] for name in (*core.places, *pieces)}
    for _ in progress(ROUNDS):
        for name in core.places:
            samples[name].append(core.round(name))
        for name, found in in_turns(pieces, rounds=1, warm_up=0, calls=CALLS).items():
            samples[name] += found
    time = medians(samples)

    report(
        [
            times_the_cost("C++ seal, to the primitives alone", time["seal"], time["floor_seal"]),
            times_the_cost("C++ open, to the primitives alone", time["open"], time["floor_open"]),
            times_the_cost("generate_otp, to the best EVP loop", time["generate_otp"], time["loop_seal"]),
            times_the_cost("verify_otp, to the best EVP loop", time["verify_otp"], time["loop_open"]),
            times_the_cost("C++ seal, to the best EVP loop", time["seal"], time["loop_seal"]),
            times_the_cost("C++ open, to the best EVP loop", time["open"], time["loop_open"]),
            *(row(text, ours=time[name]) for name, text in PARTS.items()),
        ],
        time,
    )
    return None


if __name__ == "__main__":
    main()
