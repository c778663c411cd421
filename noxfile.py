"""Run the tests on the installed wheel, with every Python and the ends of each range.

Those of the smallest installation, then those of the database ledger and the audit trail, on SQLite.

``make matrix`` is everything and ends with a table; ``make matrix ENDS=1`` is only the lowest of all and the highest of
all. ``.venv/bin/nox -s "tests(3.12-highest)"`` is one cell. A cell that passed is not run again until the sources or
the tests change (``make matrix FRESH=1`` forgets that): what was interrupted goes on where it stopped.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import nox

ROOT = Path(__file__).resolve().parent
ENDS_ONLY = bool(os.environ.get("ENDS"))
# The lowest Django and DRF that support a Python, by their own word.
LOWEST = {
    "3.10": ("5.0", "3.15"),
    "3.11": ("5.0", "3.15"),
    "3.12": ("5.0", "3.15"),
    "3.13": ("5.1", "3.16"),
    "3.14": ("5.2", "3.17"),
}
BETWEEN = {"3.12": ("6.0", "3.17")}  # Supported, but of no Python the lowest or the highest.
LOWEST_REDIS = "5.0.8"
# These need servers or other packages, and what they are about is no matter of versions of Django.
OF_SERVERS = ("backends", "chaos", "hosts", "redis_faults", "redis_rotation", "throttle_workers")


def digest(*names: str) -> str:
    """Return a digest of the files below *names*, but for what was built there."""
    state = hashlib.sha256()
    for name in names:
        path = ROOT / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".so":
                state.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return state.hexdigest()[:16]


SOURCES = ("CMakeLists.txt", "LICENSE", "cpp", "pyproject.toml", "python")
WHEELS = ROOT / "build" / "matrix" / f"wheels-{digest(*SOURCES)}"
TESTS = ("README.md", "docs", "examples", "noxfile.py", "tests", "tools/smoke.py")
RESULTS = ROOT / "build" / "matrix" / f"results-{digest(*SOURCES, *TESTS)}"


def show_pyenv() -> None:
    """Put the interpreters of pyenv on the path: its shims run only those that are switched on."""
    if not shutil.which("pyenv"):
        return
    root = subprocess.run(["pyenv", "root"], capture_output=True, text=True, check=True).stdout.strip()
    for directory in sorted(Path(root).glob("versions/3.*/bin")):
        os.environ["PATH"] = f"{directory}{os.pathsep}{os.environ['PATH']}"


def works(python: str) -> bool:
    """Return whether there is a ``python3.x`` that can run the tests; some builds lack a module."""
    command = [f"python{python}", "-c", "import ctypes, sqlite3, ssl"]
    return bool(shutil.which(command[0])) and subprocess.run(command, capture_output=True, check=False).returncode == 0


show_pyenv()
FOUND = [python for python in LOWEST if works(python)]
if not FOUND:
    raise SystemExit(f"No Python from {min(LOWEST)} on has ctypes, sqlite3 and ssl. Install one, or type: make test")
if ENDS_ONLY:
    CELLS = [(FOUND[0], "lowest"), (FOUND[-1], "highest")]
else:
    CELLS = [(python, "lowest") for python in LOWEST] + [(python, "highest") for python in LOWEST]
    CELLS = sorted(CELLS + [(python, "between") for python in BETWEEN])
if os.environ.get("FRESH"):
    shutil.rmtree(RESULTS, ignore_errors=True)

nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False  # The table tells.


def wheel_for(session: nox.Session) -> Path:
    """Return the wheel for the Python of *session*, built from the sdist unless that was done before."""
    tag = f"cp{str(session.python).replace('.', '')}"
    if not (found := list(WHEELS.glob(f"*-{tag}-*.whl"))):
        if not list(WHEELS.glob("*.tar.gz")):
            build = [sys.executable, "-m", "build", "--sdist", "--outdir", WHEELS, ROOT]
            session.run_install(*build, external=True, silent=True)
        (sdist,) = WHEELS.glob("*.tar.gz")
        session.run_install("python", "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", WHEELS, sdist)
        found = list(WHEELS.glob(f"*-{tag}-*.whl"))
    return found[0]


@nox.session
@nox.parametrize(("python", "ends"), CELLS, ids=["-".join(cell) for cell in CELLS])
def tests(session: nox.Session, ends: str) -> None:
    """Test one cell of the matrix."""
    result = RESULTS / f"{session.python}-{ends}.json"
    if result.exists():
        session.log(f"passed before: {result.read_text()}")
        return
    wheel = wheel_for(session)
    versions = ["Django", "djangorestframework", "redis"]
    if ends != "highest":
        django, drf = (LOWEST if ends == "lowest" else BETWEEN)[str(session.python)]
        versions = [f"Django=={django}.*", f"djangorestframework=={drf}.*", f"redis=={LOWEST_REDIS}"]
    session.install("--upgrade", *versions, wheel, "--group", f"{ROOT / 'pyproject.toml'}:suite")
    session.install("--force-reinstall", "--no-deps", wheel)  # Another wheel of the same version may be there.
    session.run("python", "-W", "error", "tools/smoke.py")
    # The tests lie beside the source tree but run against the installed wheel: python/ is not on the path.
    smallest = ["--ignore=tests/docs/test_integrations.py"]  # What others support is theirs to test.
    full = [
        "tests/full",
        "--ds=projects.full.settings",
        *(f"--ignore=tests/full/test_{name}.py" for name in OF_SERVERS),
    ]
    passed = skipped = seconds = 0
    # What is asked for by name is looked for in the first part only.
    for part, options in enumerate([smallest] if session.posargs else [smallest, full]):
        report = RESULTS / f"{session.python}-{ends}-{part}.xml"
        options += ["-p", "no:cacheprovider", f"--junitxml={report}"]
        session.run("python", "-m", "pytest", "-q", *options, *session.posargs, env={"OTP_TEST_ENGINE": "sqlite"})
        suite = ElementTree.parse(report).find("testsuite").attrib
        passed += int(suite["tests"]) - int(suite["skipped"])
        skipped += int(suite["skipped"])
        seconds += round(float(suite["time"]))
    found = session.run(
        "python",
        "-c",
        "import platform, django, redis, rest_framework as drf\n"
        "print(platform.python_version(), django.__version__, drf.VERSION, redis.__version__)",
        silent=True,
    )
    row = {"versions": found.split(), "passed": passed, "skipped": skipped, "seconds": seconds}
    if not session.posargs:
        result.write_text(json.dumps(row))


@nox.session(python=False)
def table(session: nox.Session) -> None:
    """Show what was tested; fail if a cell was not, unless its Python is not here."""
    failed = []
    print(f"{'':4} {'':8} Python   Django   DRF      redis-py passed skipped seconds")
    for python, ends in CELLS:
        result = RESULTS / f"{python}-{ends}.json"
        print(f"{python:4} {ends:8}", end=" ")
        if result.exists():
            row = json.loads(result.read_text())
            print(*(f"{version:8}" for version in row["versions"]), end=" ")
            print(f"{row['passed']:>6} {row['skipped']:>7} {row['seconds']:>7}")
        elif python in FOUND:
            print("FAILED")
            failed.append(f"{python} {ends}")
        else:
            print(f"NOT TESTED: there is no python{python} here, or it lacks ctypes, sqlite3 or ssl")
    if failed:
        session.error(f"not passed: {', '.join(failed)}")
