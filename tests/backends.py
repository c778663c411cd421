"""Real Redis, PostgreSQL and MariaDB for the tests: found, else started, else installed. Never imitated.

``url(kind)`` is a server that all tests of a run share: the one named in ``OTP_TEST_<KIND>_URL``, else the one that
listens on loopback, else a throw-away one. ``own(kind)`` is always a throw-away one: what a test breaks, kills or
configures is never a server that somebody else uses.

A throw-away server lives in a temporary directory and dies with the process that made it, however that dies.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TextIO
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from typing import Self  # Not in Python 3.10.

KINDS = ("redis", "postgres", "mysql")
NAMES = {"redis": "Redis", "postgres": "PostgreSQL", "mysql": "MariaDB"}
LOOPBACK = {
    "redis": "redis://127.0.0.1:6379/15",
    "postgres": "postgres://postgres@127.0.0.1:5432/postgres",
    "mysql": "mysql://root@127.0.0.1:3306/test",
}
PACKAGES = {"redis": "redis-server", "postgres": "postgresql", "mysql": "mariadb-server"}

START_SECONDS = 60
CONNECT_SECONDS = 5


class Missing(Exception):
    """A backend could not be had; the text says why and what would help."""


def variable(kind: str) -> str:
    """Return the name of the environment variable that names the server of *kind*."""
    return f"OTP_TEST_{kind.upper()}_URL"


def say(text: str) -> None:
    print(f"==> {text}", file=sys.stderr, flush=True)


# --- Talking to one -------------------------------------------------------------------------------------------------


@contextmanager
def redis_client(url: str) -> Iterator[Any]:
    """A client of redis-py for *url*."""
    import redis

    # No retries: who asks wants to know how it is now.
    client = redis.Redis.from_url(
        url, socket_timeout=CONNECT_SECONDS, socket_connect_timeout=CONNECT_SECONDS, retry=None
    )
    try:
        yield client
    finally:
        client.close()


@contextmanager
def sql_connection(url: str, database: str | None = None) -> Iterator[Any]:
    """An autocommitting DB-API connection to *url*, or to another *database* of the same server."""
    parts = urlsplit(url)
    if database is None:
        database = parts.path.lstrip("/")
    where: dict[str, Any] = {
        "host": parts.hostname or "127.0.0.1",
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "connect_timeout": CONNECT_SECONDS,
    }
    if parts.scheme == "mysql":
        import MySQLdb

        connection = MySQLdb.connect(port=parts.port or 3306, db=database, autocommit=True, **where)
    else:
        import psycopg

        connection = psycopg.connect(port=parts.port or 5432, dbname=database, autocommit=True, **where)
    try:
        yield connection
    finally:
        connection.close()


def _ask_redis(url: str) -> None:
    with redis_client(url) as client:
        client.ping()


def _ask_sql(url: str, *, may_create: bool) -> None:
    with sql_connection(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        if may_create:
            probe = f"otp_probe_{os.getpid()}"
            cursor.execute(f"CREATE DATABASE {probe}")
            cursor.execute(f"DROP DATABASE {probe}")


def silence(url: str, *, may_create: bool = False) -> str | None:
    """Return why *url* cannot be used, or None if it answers as it should, and may create databases if it must."""
    try:
        if urlsplit(url).scheme.startswith("redis"):
            _ask_redis(url)
        else:
            _ask_sql(url, may_create=may_create)
    except ModuleNotFoundError as error:
        return f"the Python package {error.name} is not installed"
    except Exception as error:  # Three drivers, each with errors of its own; all mean "not this one".
        return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
    return None


def django_database(url: str, name: str | None = None) -> dict[str, Any]:
    """Return *url* as an entry of Django's DATABASES, for the database *name* of that server."""
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.mysql" if parts.scheme == "mysql" else "django.db.backends.postgresql",
        "HOST": parts.hostname or "127.0.0.1",
        "PORT": str(parts.port or ""),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "NAME": name or parts.path.lstrip("/"),
    }


# --- Throw-away servers ---------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find_binary(*names: str) -> str | None:
    """Return the path of the first of *names* that is installed, also where Debian hides it."""
    versions = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(Path(path).parts[-2]), reverse=True)
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", *versions])
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


def needed_binary(*names: str) -> str:
    found = find_binary(*names)
    if found is None:
        raise Missing(f"{' or '.join(names)} is not installed")
    return found


def children_of(pid: int) -> list[int]:
    """Return the processes whose parent is *pid*, and theirs."""
    done = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    parents = dict(tuple(map(int, line.split())) for line in done.stdout.splitlines())
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def kill_all(process: subprocess.Popen[Any]) -> bool:
    """Send SIGKILL to *process* and all that it has started, and wait for its end; say whether it still ran."""
    ran = process.poll() is None
    if ran:
        process.send_signal(signal.SIGSTOP)  # It starts no further child while they are counted.
        for pid in [*children_of(process.pid), process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
    return ran


class Keeper:
    """Ends processes and removes a directory once this process is gone, if it could not do so itself."""

    def __init__(self, directory: Path, stop_signal: signal.Signals) -> None:
        self._pids = directory / "pids"
        self._pids.touch()
        # When this process is gone, however that came, its end of the pipe is closed.
        script = 'cat >/dev/null; kill -"$1" $(cat "$0/pids"); sleep 2; rm -rf "$0"'
        self._process = subprocess.Popen(
            ["sh", "-c", script, str(directory), str(int(stop_signal))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def watch(self, *processes: subprocess.Popen[Any]) -> None:
        """End these, and not those named before."""
        self._pids.write_text(" ".join(str(process.pid) for process in processes))

    def dismiss(self) -> None:
        """All is done."""
        self._process.kill()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Server:
    """A throw-away server: its data survive ``kill`` and ``restart``, and nothing survives ``stop``."""

    kind: ClassVar[str]
    user: ClassVar[str]
    #: What makes it stop at once and in order, its clients notwithstanding.
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, **options: str) -> None:
        self.options = options
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix=f"otp-{self.kind}-"))
        self.log = self.directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: Keeper | None = None
        # Neither PostgreSQL nor MariaDB runs as root.
        self._account: pwd.struct_passwd | None = None
        if os.geteuid() == 0:
            for name in (self.user, "nobody"):
                with suppress(KeyError):
                    self._account = pwd.getpwnam(name)
                    os.chown(self.directory, self._account.pw_uid, self._account.pw_gid)
                    break

    @property
    def url(self) -> str:
        """Where it listens."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        """The process to send signals to."""
        assert self._process is not None, "not started"
        return self._process.pid

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _prepare(self) -> None:
        """Make the data directory."""

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        as_user: dict[str, Any] = {}
        if self._account is not None:
            as_user = {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}
        with self.log.open("ab") as log:
            try:
                # A session of its own: Ctrl-C in the terminal is for the tests, which then stop it.
                return subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.directory,
                    env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": str(self.directory)},
                    start_new_session=True,
                    **as_user,
                )
            except OSError as error:
                raise Missing(f"{command[0]} cannot be run: {error.strerror}") from None

    def _once(self, *command: str) -> None:
        status = self._spawn(list(command)).wait()
        if status:
            raise Missing(f"{Path(command[0]).name} failed with status {status}: {self._last_words()}")

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return " / ".join(lines[-5:]) or "it said nothing"

    def start(self) -> Self:
        """Start it, or start it again, and return when it answers."""
        assert self._process is None or self._process.poll() is not None, "it runs already"
        if self._keeper is None:
            atexit.register(self.stop)
            self._prepare()
            self._keeper = Keeper(self.directory, self.stop_signal)
        self._process = self._spawn(self._command())
        self._keeper.watch(self._process)
        deadline = time.monotonic() + START_SECONDS
        while (reason := silence(self.url)) is not None:
            if self._process.poll() is not None:
                raise Missing(f"it stopped with status {self._process.returncode}: {self._last_words()}")
            if time.monotonic() > deadline:
                raise Missing(f"it did not answer within {START_SECONDS} s ({reason}): {self._last_words()}")
            time.sleep(0.02)
        return self

    def kill(self) -> bool:
        """Send SIGKILL to every process of it, and say whether it still ran.

        Unlike after a power cut, what it had written to files is there.
        """
        assert self._process is not None
        assert self._keeper is not None
        ran = kill_all(self._process)
        self._keeper.watch()
        return ran

    def restart(self) -> None:
        """Start it again with the data that are there, stopping it first if it runs."""
        self._end()
        self.start()

    def stop(self) -> None:
        """Stop it and remove everything. It cannot be started again."""
        self._end()
        atexit.unregister(self.stop)
        if self._keeper is not None:
            self._keeper.dismiss()
            self._keeper = None
        shutil.rmtree(self.directory, ignore_errors=True)

    def _end(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()

    def __enter__(self) -> Self:
        return self if self._process is not None else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class RedisServer(Server):
    """Redis or Valkey. Options are its directives: ``RedisServer(appendonly="yes")``."""

    kind = "redis"
    user = "redis"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _command(self) -> list[str]:
        directives = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.directory),
            "save": "",
            "daemonize": "no",
            **self.options,
        }
        words = [word for name, value in directives.items() for word in (f"--{name}", value)]
        return [needed_binary("redis-server", "valkey-server"), *words]


class PostgresServer(Server):
    """PostgreSQL. Options are its parameters: ``PostgresServer(max_connections="20")``."""

    kind = "postgres"
    user = "postgres"
    stop_signal = signal.SIGINT  # "Fast": SIGTERM would wait for clients to leave.

    @property
    def url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def _prepare(self) -> None:
        data = str(self.directory / "data")
        self._once(needed_binary("initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8")

    def _command(self) -> list[str]:
        parameters = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            **self.options,
        }
        words = [word for name, value in parameters.items() for word in ("-c", f"{name}={value}")]
        return [needed_binary("postgres"), "-D", str(self.directory / "data"), *words]


class MariaServer(Server):
    """MariaDB. Options are its variables: ``MariaServer(max_connections="20")``."""

    kind = "mysql"
    user = "mysql"

    @property
    def url(self) -> str:
        return f"mysql://root@127.0.0.1:{self.port}/test"

    def _prepare(self) -> None:
        self._once(
            needed_binary("mariadb-install-db"),
            "--no-defaults",
            f"--datadir={self.directory / 'data'}",
            "--auth-root-authentication-method=normal",
        )

    def _command(self) -> list[str]:
        variables = {
            "datadir": str(self.directory / "data"),
            "socket": str(self.directory / "socket"),
            "pid-file": str(self.directory / "mariadbd.pid"),
            "bind-address": "127.0.0.1",
            "port": str(self.port),
            "max-connections": "200",
            **self.options,
        }
        return [needed_binary("mariadbd"), "--no-defaults", *(f"--{name}={value}" for name, value in variables.items())]


SERVERS: dict[str, type[Server]] = {server.kind: server for server in (RedisServer, PostgresServer, MariaServer)}


# --- Which one ------------------------------------------------------------------------------------------------------


def own(kind: str, **options: str) -> Server:
    """Start a throw-away server of *kind*, installing it first if that is possible and allowed.

    Raises:
        Missing: It could not be had.
    """
    install = needs_installing(kind)
    if install:
        install()
    server = SERVERS[kind](**options)
    try:
        server.start()
    except BaseException:
        server.stop()
        raise
    return server


def needs_installing(kind: str) -> Callable[[], None] | None:
    """Return what installs *kind*, or None if it is installed.

    Raises:
        Missing: It is not installed, and may or can not be.
    """
    programs = {"redis": ("redis-server", "valkey-server"), "postgres": ("initdb",), "mysql": ("mariadbd",)}[kind]
    if find_binary(*programs):
        return None
    package = PACKAGES[kind]
    reason = f"{' or '.join(programs)} is not installed"
    if os.environ.get("NO_INSTALL"):
        raise Missing(f"{reason}, and NO_INSTALL is set. On Debian: apt-get install {package}")
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Missing(f"{reason}. On Debian, as root: apt-get install {package}")
    return functools.partial(_install, package)


def _install(package: str) -> None:
    say(f"Installing {package} for the tests, without starting its service (NO_INSTALL=1 stops this)")
    # What Debian asks before a package starts its service; 101 is "no".
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", package]):
            done = subprocess.run(
                ["apt-get", *command],
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            if done.returncode:
                raise Missing(f"apt-get {' '.join(command)} failed: {' / '.join(done.stdout.splitlines()[-3:])}")
    finally:
        if ours:
            policy.unlink(missing_ok=True)


_shared: dict[str, str | Missing] = {}


def url(kind: str) -> str:
    """Return the URL of the server of *kind* that the tests of this process share.

    For Redis this names a database that was empty and is this process's own: tests may flush it (FLUSHDB, never
    FLUSHALL).

    Raises:
        Missing: It could not be had.
    """
    if kind not in _shared:
        try:
            _shared[kind] = _empty_database(server_url(kind)) if kind == "redis" else server_url(kind)
        except Missing as error:
            _shared[kind] = error
    found = _shared[kind]
    if isinstance(found, Missing):
        raise found
    return found


def server_url(kind: str) -> str:
    """Return the URL of a server of *kind*: the one named, else the one on loopback, else a throw-away one's."""
    named = os.environ.get(variable(kind))
    candidate = named or LOOPBACK[kind]
    reason = silence(candidate, may_create=True)  # The tests make databases of their own.
    if reason is None:
        return candidate
    if named:
        say(f"{variable(kind)} cannot be used ({reason}). Starting a throw-away {NAMES[kind]} instead.")
    try:
        return _throw_away(kind).url
    except Missing as error:
        raise Missing(f"{candidate.rpartition('@')[2]} cannot be used ({reason}); {error}") from None


def _throw_away(kind: str) -> Server:
    # Nobody needs these data after the tests.
    quick = {"postgres": {"fsync": "off"}, "mysql": {"innodb-flush-log-at-trx-commit": "0"}}
    return own(kind, **quick.get(kind, {}))


def _empty_database(server: str) -> str:
    """Return the URL of an empty database of the Redis *server* that no other process of these tests uses."""
    parts = urlsplit(server)
    wanted = int(parts.path.lstrip("/") or 15)
    for number in [wanted, *(n for n in range(15, 0, -1) if n != wanted)]:
        candidate = parts._replace(path=f"/{number}").geturl()
        lock = open(Path(tempfile.gettempdir()) / f"otp-redis-{parts.hostname}-{parts.port}-{number}.lock", "a")  # noqa: SIM115 -- held open, and so locked, until this process ends
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with redis_client(candidate) as client:
                empty = client.dbsize() == 0
        except OSError:
            empty = False  # Somebody else's.
        except Exception as error:  # redis-py's, which must not be imported before it is needed.
            lock.close()
            if "DB index" in str(error):
                continue
            raise Missing(f"{server.rpartition('@')[2]}: {type(error).__name__}: {error}") from None
        if empty:
            atexit.register(_give_up, candidate, lock)
            return candidate
        lock.close()
    say("Every database of this Redis is in use. Starting a throw-away one instead.")
    return _throw_away("redis").url


def _give_up(candidate: str, lock: TextIO) -> None:
    with suppress(Exception), redis_client(candidate) as client:  # It may be gone by now, with all that was in it.
        client.flushdb()
    lock.close()
