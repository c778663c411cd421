"""What the other tests stand on: servers are found or started, keep their data over a kill, and are gone in the end."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

import backends
from projects.full.settings import ENGINE

NOWHERE = {
    "redis": "redis://:hush@127.0.0.1:1/15",
    "postgres": "postgres://ada:hush@127.0.0.1:1/postgres",
    "mysql": "mysql://ada:hush@127.0.0.1:1/test",
}


def put_and_get(server, put):
    """Have *server* remember something if *put*, and return what it remembers."""
    if server.kind == "redis":
        with backends.redis_client(server.url) as client:
            if put:
                client.set("kept", "yes")
            return client.get("kept").decode()
    with backends.sql_connection(server.url) as connection, connection.cursor() as cursor:
        if put:
            cursor.execute("CREATE TABLE kept (answer varchar(3))")
            cursor.execute("INSERT INTO kept VALUES ('yes')")
        cursor.execute("SELECT answer FROM kept")
        return cursor.fetchone()[0]


def test_server_of_our_own_keeps_its_data_over_a_kill_and_nothing_after_a_stop(own_server):
    durable = {"appendonly": "yes", "appendfsync": "always"}
    server = own_server("redis", **durable) if ENGINE == "sqlite" else own_server(ENGINE)
    put_and_get(server, put=True)
    server.kill()
    assert backends.silence(server.url) is not None
    server.start()
    assert put_and_get(server, put=False) == "yes"
    server.stop()
    assert backends.silence(server.url) is not None
    assert not server.directory.exists()


def test_server_of_our_own_ends_when_the_process_that_made_it_is_killed(own_server):
    own_server("redis")  # Skips where there is none.
    program = (
        'import backends; server = backends.own("redis"); print(server.url, server.directory, flush=True); input()'
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=Path(backends.__file__).parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        url, directory = child.stdout.readline().split()
        assert backends.silence(url) is None
        child.kill()
    deadline = time.monotonic() + 20
    while backends.silence(url) is None or Path(directory).exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("kind", backends.KINDS)
def test_missing_backend_is_described_without_its_password(monkeypatch, kind):
    monkeypatch.setenv(backends.variable(kind), NOWHERE[kind])
    monkeypatch.setenv("NO_INSTALL", "1")
    monkeypatch.setattr(backends, "find_binary", lambda *_: None)
    with pytest.raises(backends.Missing) as caught:
        backends.server_url(kind)
    assert "127.0.0.1:1" in str(caught.value)
    assert f"apt-get install {backends.PACKAGES[kind]}" in str(caught.value)
    assert "hush" not in str(caught.value)
