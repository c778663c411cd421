"""Break the code on purpose, a little at a time, and require that a test notices. ``make mutants`` calls this.

``core``: the faults listed in ``tests/mutants/core.toml``, each made in a copy of the C++ core. ``python``: what mutmut
makes of the rule and the doors. Both work on copies under build/mutants, and show how far they are. Stopped, the core
goes on where it was, and of Python what is tried with all tests; mutmut itself begins anew. FRESH=1 forgets what was
done before; ONLY=text takes the faults that have this text in their file.
"""

from __future__ import annotations

import argparse
import filecmp
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it.

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "mutants"
BIN = Path(sys.executable).parent
LISTS = ROOT / "tests" / "mutants"
CHILDREN = 2  # At once.
SURVIVORS = Lock()  # Held while survivors.json is read or written.
TEST_SECONDS = 300  # A fault may make a test wait for ever.

#: What the C++ tests are made of: they replay the seeds and findings of the fuzzers.
CORE_TESTS = ("cpp/tests", "cpp/fuzz", "tests/vectors")
# Run only if all others pass: they take ten times as long.
SLOW_TESTS = ":".join(
    [
        "*Thread*",
        "*Fork*",
        "*Random*",
        "*MemoryStaysBounded*",
        "*SixtyFourBytes*",
        "*NeverFullWhileWhatLivesFits*",
        "ContextTest.RoundTripsASpecialCharacterAtEveryPlace",
        "Base64UrlTest.EveryByteStringHasExactlyOneSpelling",
    ]
)

#: What mutmut is asked to break, and the tests that have to notice: those that are about it, and quick.
PYTHON = {
    "rule": (
        ["otp_actions.services", "otp_actions.signals", "otp_actions.ledgers.base"],
        ["tests/unit", "tests/contract"],
    ),
    "doors": (
        ["otp_actions.http.doors", "otp_actions.http.errors", "otp_actions.http.fields"],
        ["tests/http"],
    ),
}
#: mutmut's codes for a failed test run: pytest's 1 and, where a fault breaks pytest itself, 3. Whatever else it says
#: (it passed, no test calls it, a time-out on a busy machine, a crash), all tests are asked again.
NOTICED = (1, 3)
FLOOR = 95  # Per cent of what mutmut breaks in a module.

# Some tests read the source, or what stands in the frames of the code; some need more than this copy, or a server.
MUTMUT = r"""
[mutmut]
source_paths =
    src
only_mutate =
    {modules}
do_not_mutate_patterns =
    gettext_noop
    raise TypeError\(f?"
    ^ *f?"[A-Z][^"]* [^"]*",?$
pytest_add_cli_args =
    -p
    no:cacheprovider
    -W
    ignore:This process:DeprecationWarning
pytest_add_cli_args_test_selection =
    {tests}
    --ignore=tests/contract/test_redis.py
    --deselect=tests/http/test_disclosure.py::test_report_of_a_failing_precheck
    --deselect=tests/http/test_disclosure.py::test_report_of_a_failing_ledger
    --deselect=tests/http/test_disclosure.py::test_report_of_an_async_precheck
    --deselect=tests/http/test_disclosure.py::test_report_shows_no_secret
    --ignore=tests/unit/test_crypto_failure.py
    --ignore=tests/unit/test_disclosure.py
    --ignore=tests/unit/test_testing.py
    --ignore=tests/unit/test_translations.py
timeout_constant = 60
process_isolation = forkserver
forkserver_warmup = import
preload_modules_file = preload.txt
use_git_change_detection = false
"""
# Imported once. The tests are collected in each child anew: pytest spells the names of some in another way the second
# time, and a view is decorated, by what is broken perhaps, when its module is imported.
PRELOAD = "cryptography.fernet\ndjango.test\nhypothesis\npytest\n"

# mutmut's copy of the package is further down the path than the one that is installed in place.
FORGET_INSTALLED = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != "ScikitBuildInplaceFinder"]
"""


def read_list(name: str, table: str) -> list[dict[str, str]]:
    """Return the entries of a list in tests/mutants, each checked against the code it speaks of.

    Raises:
        SystemExit: A text to be replaced is not there exactly once. The list has to follow the code.
    """
    entries: list[dict[str, str]] = tomllib.loads((LISTS / name).read_text())[table]
    problems = []
    for entry in entries:
        count = (ROOT / entry["file"]).read_text().count(entry["before"])
        if count != 1:
            problems.append(f"{entry['file']}: this is there {count} times, not once: {entry['before']!r}")
        if entry["before"] == entry["after"]:
            problems.append(f"{entry['file']}: nothing is changed in {entry['before']!r}")
    if problems:
        raise SystemExit("\n".join([*problems, f"Bring tests/mutants/{name} up to date with the code."]))
    return entries


def sync(source: Path, target: Path) -> None:
    """Make *target* what *source* is, touching only what differs: the next build does no more than it must."""
    files = [source] if source.is_file() else [path for path in source.rglob("*") if path.is_file()]
    for file in files:
        copy = target / file.relative_to(source) if source.is_dir() else target
        if "__pycache__" in copy.parts or (copy.exists() and filecmp.cmp(file, copy, shallow=False)):
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, copy)
        os.utime(copy)
    if source.is_dir():
        for copy in [path for path in target.rglob("*") if path.is_file() and "__pycache__" not in path.parts]:
            if not (source / copy.relative_to(target)).exists():
                copy.unlink()


def digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def files_of(tree: Path, *folders: str) -> list[tuple[str, bytes]]:
    """Return the name and the content of each file in *folders* of *tree*."""
    found = [path for folder in folders for path in sorted((tree / folder).rglob("*")) if path.is_file()]
    return [(path.relative_to(tree).as_posix(), path.read_bytes()) for path in found if path.suffix != ".pyc"]


# --- The core -------------------------------------------------------------------------------------------------------


def build_core(tree: Path) -> str:
    """Build the C++ tests of *tree*; return what went wrong, or nothing."""
    build = WORK / "core" / "build"
    steps = []
    if not (build / "build.ninja").exists():
        flags = ["-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS=-g0 -w", "-DOTP_BUILD_TESTS=ON"]
        # Asking the tests for their names after every link would take longer than linking.
        flags.append("-DCMAKE_GTEST_DISCOVER_TESTS_DISCOVERY_MODE=PRE_TEST")
        steps.append(["-S", tree, "-B", build, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={BIN / 'ninja'}", *flags])
    steps.append(["--build", build, "-j", "2", "--target", "core_tests"])
    for step in steps:
        done = subprocess.run([BIN / "cmake", *step], capture_output=True, text=True, check=False)
        if done.returncode:
            return done.stdout + done.stderr
    return ""


def core_tests_pass() -> bool:
    return all(run_core_tests(tests) for tests in (f"-{SLOW_TESTS}", SLOW_TESTS))


def run_core_tests(tests: str) -> bool:
    """Say whether those of the filter *tests* pass. A time-out tells something only if there are two."""
    command = [WORK / "core" / "build" / "cpp" / "tests" / "core_tests", "--gtest_brief=1", "--gtest_fail_fast"]
    for _ in range(2):
        with suppress(subprocess.TimeoutExpired):
            done = subprocess.run(
                [*command, f"--gtest_filter={tests}"], capture_output=True, check=False, timeout=TEST_SECONDS
            )
            return done.returncode == 0
    return False


def core(only: str, fresh: bool) -> bool:
    """Try every fault of the list; say whether each was noticed, and no other."""
    faults = read_list("core.toml", "mutant")
    tree, report = WORK / "core" / "tree", WORK / "core" / "report.json"
    if fresh:
        shutil.rmtree(WORK / "core", ignore_errors=True)
    for part in ("CMakeLists.txt", "cpp", "tests/vectors"):
        sync(ROOT / part, tree / part)
    # What was found holds for this core and these tests.
    sources, tests = digest(files_of(tree, "cpp/src", "cpp/include")), digest(files_of(tree, *CORE_TESTS))
    found: dict[str, Any] = json.loads(report.read_text()) if report.exists() else {}
    if (found.get("sources"), found.get("tests")) != (sources, tests):
        print("==> Building the C++ tests, and seeing that they pass as things are", flush=True)
        problem = build_core(tree)
        if problem or not core_tests_pass():
            raise SystemExit(problem or "The C++ tests fail with nothing broken. Type: make test")
        found = {"sources": sources, "tests": tests, "noticed": {}}

    chosen = [fault for fault in faults if only in fault["file"]]
    print(f"==> {len(chosen)} faults of the core, one at a time", flush=True)
    wrong = []
    for number, fault in enumerate(chosen, 1):
        name = digest(fault["file"], fault["before"], fault["after"])
        start = time.monotonic()
        if name not in found["noticed"]:
            original = (ROOT / fault["file"]).read_text()
            (tree / fault["file"]).write_text(original.replace(fault["before"], fault["after"]))
            try:
                problem = build_core(tree)
                if problem:
                    raise SystemExit(f"{problem}\nThis does not compile: {fault['after']!r} in {fault['file']}")
                found["noticed"][name] = not core_tests_pass()
            finally:
                (tree / fault["file"]).write_text(original)
            report.write_text(json.dumps(found))
        noticed = found["noticed"][name]
        word = "noticed" if noticed else "NOT NOTICED" if "equivalent" not in fault else "changes nothing"
        seconds = f"{time.monotonic() - start:4.0f} s" if time.monotonic() - start > 1 else "before"
        text = " ".join(fault["before"].split())[:70]
        print(f"[{number:3}/{len(chosen)}] {seconds}  {word:15} {fault['file']}: {text}", flush=True)
        if noticed == ("equivalent" in fault):
            wrong.append(fault)
    for fault in wrong:
        if "equivalent" in fault:
            print(f"\nSaid to change nothing, but a test noticed: {fault['file']}\n{fault['before']}")
        else:
            print(f"\nNo test noticed: {fault['file']}\n- {fault['before']}\n+ {fault['after']}")
            print(f"It would let in {fault['lets_in']}. Write the test that notices.")
    equivalent = sum("equivalent" in fault for fault in chosen)
    noticed = sum(found["noticed"][digest(f["file"], f["before"], f["after"])] for f in chosen)
    print(f"core: {noticed} of {len(chosen) - equivalent} faults noticed; {equivalent} change nothing")
    return not wrong


# --- Python ---------------------------------------------------------------------------------------------------------


def mutmut(tree: Path, *arguments: str, capture: bool = False) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(tree / "site"), str(tree / "src")])
    return subprocess.run(
        [BIN / "mutmut", *arguments],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE if capture else None,
        stderr=subprocess.STDOUT if capture else None,
        text=True,
        check=False,
    )


def source_of(module: str) -> str:
    return f"src/{module.replace('.', '/')}.py"


def make_tree(group: str) -> Path:
    """Make a project that mutmut understands, or bring it up to date; what was tried with the same tests stays."""
    modules, tests = PYTHON[group]
    tree = WORK / group
    # It knows packages that lie in src/.
    sync(ROOT / "python" / "otp_actions", tree / "src" / "otp_actions")
    if (tree / "mutants" / "src").exists():  # What it does not break it copies only once.
        for file in (tree / "src").rglob("*.py"):
            if str(file.relative_to(tree)) not in map(source_of, modules):
                sync(file, tree / "mutants" / file.relative_to(tree))
    for module in modules:  # It leaves alone what is decorated; and the tests of what this one hides do not run here.
        copy = tree / source_of(module)
        copy.write_text(re.sub(r"(?m)^ *@sensitive_variables\(.*\)\n", "", copy.read_text()))
    sync(ROOT / "tests", tree / "tests")
    sync(ROOT / "pyproject.toml", tree / "pyproject.toml")
    lines = "\n    ".join
    settings = MUTMUT.format(modules=lines(map(source_of, modules)), tests=lines(tests))
    (tree / "setup.cfg").write_text(settings)
    (tree / "preload.txt").write_text(PRELOAD)
    (tree / "site").mkdir(exist_ok=True)
    (tree / "site" / "sitecustomize.py").write_text(FORGET_INSTALLED)
    forget_if_tests_changed(tree, tests)
    return tree


def tests_of(tree: Path, tests: list[str]) -> str:
    """Return a digest of *tests*, of what helps them, and of how pytest runs them."""
    own = tuple(f"{folder}/" for folder in tests)
    others = ("tests/mutants/", *(name for name, _ in files_of(tree, "tests") if "/test_" in name))
    used = [file for file in files_of(tree, "tests") if file[0].startswith(own) or not file[0].startswith(others)]
    options = tomllib.loads((tree / "pyproject.toml").read_text())["tool"]["pytest"]
    return digest(used, options, (tree / "setup.cfg").read_text())


def forget_if_tests_changed(tree: Path, tests: list[str]) -> None:
    """Remove what was found with other tests: mutmut keeps its outcomes, and its copy of a test that is gone."""
    stamp, now = tree / "tests.digest", tests_of(tree, tests)
    if not stamp.exists() or stamp.read_text() != now:
        shutil.rmtree(tree / "mutants", ignore_errors=True)
        stamp.write_text(now)


def python(only: str, fresh: bool) -> bool:
    """Have mutmut break the rule and the doors; say whether enough of it was noticed."""
    excused = read_excused()
    rows, survivors, enough = [], [], True
    for group, (modules, tests) in PYTHON.items():
        chosen = [module for module in modules if only in source_of(module)]
        if not chosen:
            continue
        if fresh:
            shutil.rmtree(WORK / group, ignore_errors=True)
        tree = make_tree(group)
        for module in chosen:
            retry(tree / "mutants" / f"{source_of(module)}.meta")
        print(f"==> Breaking {', '.join(chosen)}", flush=True)
        if mutmut(tree, "run", "--max-children", str(CHILDREN), *(f"{module}.*" for module in chosen)).returncode:
            raise SystemExit("mutmut could not run. If a test fails with nothing broken, type: make test")
        for module in chosen:
            meta = tree / "mutants" / f"{source_of(module)}.meta"
            outcomes: dict[str, int | None] = json.loads(meta.read_text())["exit_code_by_key"]
            tried = {name: code for name, code in outcomes.items() if code is not None}
            unnoticed = [name for name, code in tried.items() if code not in NOTICED]
            changes = [change_of(tree, name) for name in unnoticed]
            file = source_of(module).replace("src/", "python/", 1)
            doubtful = [change for change in changes if (file, *change[1:]) not in excused]
            if doubtful and not survives_all(tree, tests, ("", "", "")):
                raise SystemExit(f"The tests in {', '.join(tests)} fail with nothing broken. Type: make test")
            with ThreadPoolExecutor(CHILDREN) as pool:
                survives = pool.map(partial(survives_all, tree, tests), doubtful)
                left = [change for change, survived in zip(doubtful, survives, strict=True) if survived]
            equivalent = len(changes) - len(doubtful)
            total = len(tried) - equivalent
            percent = 100 * (total - len(left)) / total if total else 100.0
            untried = len(outcomes) - len(tried)
            rest = f"; {untried} NOT TRIED" if untried else ""
            count = f"{total - len(left)} of {total}"
            rows.append(f"{module:26} {count:>12} noticed {percent:6.1f} %; {equivalent} change nothing{rest}")
            enough = enough and percent >= FLOOR and bool(total) and not untried
            survivors += left
    for name, before, after in survivors:
        print(f"\nNo test noticed {name}\n- {before}\n+ {after}")
    if survivors:
        print("\nWrite the test that notices, or say in tests/mutants/python.toml why nothing can.")
    print("\n".join(["", *rows, f"All of each must be tried, and {FLOOR} % noticed."]))
    return enough


def retry(meta: Path) -> None:
    """Have mutmut try again what was not noticed: there may be new tests for it."""
    if meta.exists():
        found = json.loads(meta.read_text())
        outcomes = found["exit_code_by_key"]
        found["exit_code_by_key"] = {name: code if code in NOTICED else None for name, code in outcomes.items()}
        meta.write_text(json.dumps(found))


def change_of(tree: Path, name: str) -> tuple[str, str, str]:
    """Return a mutant's name, the lines it changes, and what they become."""
    lines = mutmut(tree, "show", name, capture=True).stdout.splitlines()
    before, after = ("\n".join(line[1:].strip() for line in lines if line.startswith(f"{sign} ")) for sign in "-+")
    return name, before, after


def survives_all(tree: Path, tests: list[str], change: tuple[str, str, str]) -> bool:
    """Say whether all of *tests* pass with it, too.

    mutmut has run those that call what is broken; but a view is decorated when its module is imported, before any test.
    """
    report = tree / "survivors.json"
    key = digest(*change, tests_of(tree, tests))
    with SURVIVORS:
        found: dict[str, bool] = json.loads(report.read_text()) if report.exists() else {}
    if key in found:
        return found[key]
    print(f"==> All tests, with {change[0] or 'nothing broken'}", flush=True)
    paths = os.pathsep.join([str(tree / "site"), str(tree / "mutants" / "src")])
    ignored = re.findall(r"--(?:ignore|deselect)=\S+", (tree / "setup.cfg").read_text())
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests, *ignored]
    try:
        done = subprocess.run(
            command,
            cwd=tree / "mutants",
            env={**os.environ, "PYTHONPATH": paths, "MUTANT_UNDER_TEST": change[0]},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=10 * TEST_SECONDS,
        )
        # 2 is also what pytest says when it is stopped, 4 when it is called in a wrong way, which tells nothing.
        broken = {2: b"during collection", 4: b"while loading conftest"}.get(done.returncode)
        noticed = done.returncode == 1 or (broken is not None and broken in done.stdout)
    except subprocess.TimeoutExpired:
        noticed = True
    with SURVIVORS:
        found = json.loads(report.read_text()) if report.exists() else {}
        if change[0] or not noticed:  # Tests that fail with nothing broken are mended outside of this tree.
            report.write_text(json.dumps({**found, key: not noticed}))
    return not noticed


def read_excused() -> set[tuple[str, str, str]]:
    """Return what changes nothing that can be seen: (file, before, after) of each entry in python.toml."""
    entries = tomllib.loads((LISTS / "python.toml").read_text())["equivalent"]
    for entry in entries:
        code = {line.strip() for line in (ROOT / entry["file"]).read_text().splitlines()}
        if entry["before"] not in code:
            raise SystemExit(
                f"{entry['file']} has no such line any more; take it out of python.toml: {entry['before']}"
            )
    return {(entry["file"], entry["before"], entry["after"]) for entry in entries}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", metavar="WHAT", help="core, python; both if none is named")
    parser.add_argument("--only", default="", metavar="TEXT", help="files whose path has this in it")
    parser.add_argument("--fresh", action="store_true")
    options = parser.parse_args()
    files = {
        "core": [fault["file"] for fault in read_list("core.toml", "mutant")],
        "python": [source_of(module) for modules, _ in PYTHON.values() for module in modules],
    }
    if unknown := set(options.what) - set(files):
        parser.error(f"there are {' and '.join(files)}, and no {', '.join(sorted(unknown))}")
    chosen = [what for what in options.what or files if any(options.only in file for file in files[what])]
    if not chosen:
        parser.error(f"no file in which something is broken has {options.only!r} in its path")
    enough = True
    for what in chosen:
        enough = {"core": core, "python": python}[what](options.only, options.fresh) and enough
    return 0 if enough else 1


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        print("\nThe same command goes on from here.")
        raise SystemExit(130) from None
