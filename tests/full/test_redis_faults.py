"""``OTP_LEDGER = "redis"`` when the server is away, slow, full, wrong or lying: nothing is accepted, or told."""

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import socket
import socketserver
import threading
import time
import traceback
from types import ModuleType

import pytest
from django.http import JsonResponse
from django.test import AsyncClient, Client
from django.urls import path
from rest_framework.decorators import api_view
from rest_framework.response import Response

import backends
from contract.ledger import NOW, TTL, claim, key
from otp_actions.decorators import otp_verified
from otp_actions.exceptions import OTPUnavailableException, OTPUsedException
from otp_actions.ledgers.base import Denied, Taken
from otp_actions.ledgers.redis import RedisLedger
from otp_actions.services import averify_otp, generate_otp, revoke_otp, verify_otp
from otp_actions.testing import fresh_ledger, wrong_code

#: For the audit trail, which is written whatever the ledger is.
audited = pytest.mark.django_db(transaction=True, databases="__all__")

PASSWORD = "canary-password"
TIMEOUT = 0.3


@pytest.fixture(scope="module")
def server(own_server):
    return own_server("redis", unixsocket="socket")


@pytest.fixture
def admin(server):
    """A client of *server*, which is as new before and after."""

    def reset():
        with backends.redis_client(server.url) as client:
            client.flushall()
            client.config_set("maxmemory", 0)
            client.config_set("maxmemory-policy", "noeviction")
            client.execute_command("REPLICAOF", "NO", "ONE")

    reset()
    with backends.redis_client(server.url) as client:
        yield client
    reset()


@pytest.fixture
def ledger(server, admin):
    return RedisLedger(server.url, timeout=TIMEOUT)


def take(ledger, whom=1, limit=3):
    return ledger.take((claim(key("c", whom), limit),), unless=((key("e", whom), 0),), now=NOW)


def advance(ledger, whom=1):
    return ledger.advance(key("c", whom), 2**40, ttl=TTL, now=NOW, release=((claim(key("i", whom)), 1),))


def give_back(ledger, whom=1):
    one = claim(key("c", whom))
    ledger.give_back(Taken((one,), (1,)), one, now=NOW)


CALLS = {"take": take, "advance": advance, "give_back": give_back}


@pytest.fixture
def refused(caplog):
    """``refused(call, hint)``: it raises, logs one line with the hint, and tells nobody how it talks to whom."""

    def refused(call, hint):
        caplog.clear()
        with caplog.at_level(logging.DEBUG, "otp_actions"), pytest.raises(OTPUnavailableException) as caught:
            call()
        error = caught.value
        (record,) = caplog.records
        assert (record.name, record.levelname, record.exc_info) == ("otp_actions", "ERROR", None)
        assert hint in record.getMessage()
        assert (error.__cause__, error.__context__) == (None, None)
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
        for secret in (PASSWORD, "redis://", "127.0.0.1"):
            assert secret not in record.getMessage()
            assert secret not in shown
        return error

    return refused


@contextlib.contextmanager
def stopped(server):
    """*server*, as one that is up and never answers."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


# --- Away -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_unreachable_server(refused, call):
    ledger = RedisLedger(f"redis://:{PASSWORD}@127.0.0.1:{backends.free_port()}/0", timeout=TIMEOUT)
    error = refused(lambda: call(ledger), "ConnectionError. The server cannot be reached")
    assert error.retry_after > 0


def test_server_behind_a_socket_file(server, admin, refused):
    ledger = RedisLedger(f"unix://{server.directory}/socket", timeout=TIMEOUT)
    assert isinstance(take(ledger), Taken)
    with stopped(server):
        refused(lambda: take(ledger), "TimeoutError")
    assert ledger.problems() == []


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("connected", [True, False], ids=["connected", "new"])
def test_silent_server_is_waited_for_as_long_as_the_timeout(server, ledger, refused, call, connected):
    if connected:
        call(ledger)
    with stopped(server):
        begun = time.monotonic()
        refused(lambda: call(ledger), "TimeoutError. No answer within OTP_LEDGER_TIMEOUT")
        assert TIMEOUT <= time.monotonic() - begun < TIMEOUT + 1
    call(ledger)


def test_server_that_does_not_let_anybody_in_is_waited_for_as_long_as_the_timeout(refused):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as busy, contextlib.ExitStack() as waiting:
        for _ in range(4):  # More than its queue holds, so that the next one is left standing.
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(busy.getsockname())
        ledger = RedisLedger(f"redis://127.0.0.1:{busy.getsockname()[1]}/0?socket_connect_timeout=60", timeout=TIMEOUT)
        begun = time.monotonic()
        refused(lambda: take(ledger), "TimeoutError. No answer within OTP_LEDGER_TIMEOUT")
        assert TIMEOUT <= time.monotonic() - begun < TIMEOUT + 1


def test_each_thread_has_a_connection_however_many_there_are(server, ledger, at_once, caplog):
    with stopped(server):  # So that they all wait at the same time.
        results = at_once(120, lambda: take(ledger))
    assert {type(result) for result in results} == {OTPUnavailableException}
    assert {record.args[0] for record in caplog.records} == {"TimeoutError"}
    assert len(caplog.records) == 120


def test_server_that_was_restarted_is_asked_again_without_an_error(server, ledger, at_once, caplog):
    for _ in range(2):
        at_once(8, lambda: take(ledger))  # As many connections, which the server then closes.
        server.restart()
        assert isinstance(take(ledger), Taken)
        results = at_once(8, lambda: take(ledger, limit=8))
        assert sum(isinstance(result, Taken) for result in results) == 7
    assert not caplog.records


def test_scripts_that_the_server_forgot_are_sent_again(ledger, admin, caplog):
    for call in [*CALLS.values()] * 2:
        admin.script_flush()
        call(ledger)
    assert not caplog.records


def test_scripts_are_sent_and_the_server_is_looked_at_once(ledger, admin):
    for call in CALLS.values():
        call(ledger)
    admin.config_resetstat()
    for call in CALLS.values():
        call(ledger)
    asked = {name: found["calls"] for name, found in admin.info("commandstats").items()}
    assert asked["cmdstat_evalsha"] == len(CALLS)
    assert not asked.keys() & {"cmdstat_eval", "cmdstat_info", "cmdstat_select", "cmdstat_ping"}


def test_server_that_was_killed_and_comes_back_needs_nobody(server, ledger, refused):
    take(ledger)
    server.kill()
    for _ in range(2):
        refused(lambda: take(ledger), "ConnectionError. The server cannot be reached")
    server.start()
    assert isinstance(take(ledger), Taken)


def test_server_that_is_still_loading(server, admin, refused):
    ledger = RedisLedger(server.url, timeout=10)
    take(ledger)
    # While it loads, a server looks after its clients every 2 MB.
    for batch in range(20):
        admin.mset({f"{batch} {n}": os.urandom(2000) for n in range(1000)})
    admin.save()
    server.options["key-load-delay"] = "50"  # Microseconds.
    server.kill()
    restart = threading.Thread(target=server.start)
    restart.start()
    try:
        while restart.is_alive():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port)):
                break
        refused(lambda: take(ledger), "BusyLoadingError. The server is still loading its data")
    finally:
        del server.options["key-load-delay"]
        restart.join()
    assert isinstance(take(ledger), Taken)


# --- Full, or forgetful ---------------------------------------------------------------------------------------------


def test_full_server_counts_nothing_and_still_says_what_it_knows(ledger, admin, refused):
    take(ledger, 1, limit=1)
    admin.config_set("maxmemory", 1)
    hint = "The server is full: raise maxmemory"
    refused(lambda: take(ledger, 2), hint)
    refused(lambda: advance(ledger, 1), hint)
    both = (claim(key("c", 1), 2), claim(key("c", 3)))
    refused(lambda: ledger.take(both, now=NOW), hint)
    assert isinstance(take(ledger, 1, limit=1), Denied)
    admin.config_set("maxmemory", 0)
    assert ledger.take(both, now=NOW).counts == (2, 1)
    assert advance(ledger, 1)


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "volatile-ttl", "volatile-lfu"])
def test_server_that_may_evict_is_not_used_until_it_is_told_not_to(server, ledger, admin, refused, policy):
    admin.config_set("maxmemory", "100mb")
    admin.config_set("maxmemory-policy", policy)
    for call in (take, advance, take):
        refused(lambda call=call: call(ledger), "drops live counts when it is full: set maxmemory-policy noeviction")
    assert admin.dbsize() == 0
    (problem,) = ledger.problems()
    assert problem.wrong
    assert "maxmemory-policy noeviction" in problem.hint
    admin.config_set("maxmemory-policy", "noeviction")
    assert isinstance(take(ledger), Taken)
    assert ledger.problems() == []


def test_database_number_that_the_server_has_not_is_said(server, refused):
    ledger = RedisLedger(server.url.removesuffix("0") + "4711", timeout=TIMEOUT)
    refused(lambda: take(ledger), "no database of that number")
    (problem,) = ledger.problems()
    assert "no database of that number" in problem.hint


def test_check_sees_a_policy_that_was_changed_while_it_ran(ledger, admin):
    take(ledger)
    admin.config_set("maxmemory", "100mb")
    admin.config_set("maxmemory-policy", "allkeys-lru")
    assert [problem.wrong for problem in ledger.problems()] == [True]


def test_policy_does_not_matter_where_memory_has_no_limit(ledger, admin):
    admin.config_set("maxmemory-policy", "allkeys-lru")
    assert isinstance(take(ledger), Taken)
    assert ledger.problems() == []


def test_policy_is_looked_at_again_after_a_restart(server, ledger, refused):
    take(ledger)
    server.options.update({"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"})
    try:
        server.restart()
        refused(lambda: take(ledger), "set maxmemory-policy noeviction")
    finally:
        del server.options["maxmemory"], server.options["maxmemory-policy"]
        server.restart()
    assert isinstance(take(ledger), Taken)


# --- Not the one, or not for us -------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [take, advance])
def test_primary_that_becomes_a_replica_is_left_until_there_is_a_primary(ledger, admin, refused, call):
    take(ledger)
    admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    for _ in range(2):  # Over the connection that is there, then over a new one.
        refused(lambda: call(ledger, 2), "The server is a replica: let OTP_REDIS_URL lead to the primary")
    (problem,) = ledger.problems()
    assert problem.wrong
    admin.execute_command("REPLICAOF", "NO", "ONE")
    assert call(ledger, 2)


@pytest.fixture
def user(admin):
    """Make a user with the permissions given; return the ledger that logs in as it."""

    def user(server, *rules):
        admin.acl_setuser("ada", reset=True)
        admin.execute_command("ACL", "SETUSER", "ada", "on", f">{PASSWORD}", *rules)
        return RedisLedger(server.url.replace("//", f"//ada:{PASSWORD}@"), timeout=TIMEOUT)

    yield user
    admin.execute_command("ACL", "DELUSER", "ada")


@pytest.mark.parametrize("credentials", ["ada:canary-password", ":canary-password", "eve:canary-password"])
def test_wrong_user_or_password(server, user, refused, credentials):
    user(server, "resetpass", ">other", "+@all", "~*")
    ledger = RedisLedger(server.url.replace("//", f"//{credentials}@"), timeout=TIMEOUT)
    refused(lambda: take(ledger), "The server refuses the user or password in OTP_REDIS_URL")
    (problem,) = ledger.problems()
    assert "user or password" in problem.hint


def test_missing_password(server, admin, refused):
    admin.config_set("requirepass", PASSWORD)
    try:
        ledger = RedisLedger(server.url, timeout=TIMEOUT)
        refused(lambda: take(ledger), "or wants one")
    finally:
        admin.config_set("requirepass", "")
    assert isinstance(take(ledger), Taken)


# As in docs/redis.md.
RULES = ["~{otp}:*", "+evalsha", "+eval", "+get", "+set", "+ttl", "+info", "+select", "+randomkey"]


def test_documented_permissions_are_enough(server, user, caplog):
    ledger = user(server, *RULES)
    for call in CALLS.values():
        call(ledger)
    assert ledger.problems() == []
    assert not caplog.records


@pytest.mark.parametrize("missing", ["~{otp}:*", "+evalsha", "+eval", "+get", "+set", "+info"])
def test_permission_that_is_missing(server, admin, user, refused, missing):
    ledger = user(server, *(rule for rule in RULES if rule != missing))
    admin.script_flush()
    refused(lambda: take(ledger), "lacks a permission: docs/redis.md lists them")


def test_documented_permissions_are_those_of_these_tests():
    page = backends.__file__.replace("tests/backends.py", "docs/redis.md")
    with open(page) as text:
        assert " ".join(RULES) in text.read()


# --- Nonsense -------------------------------------------------------------------------------------------------------

INFO = {"redis_version": "7.0.15", "role": "master", "maxmemory": "0", "maxmemory_policy": "noeviction"}


def bulk(text):
    return b"$%d\r\n%b\r\n" % (len(text), text.encode())


def info(**fields):
    return bulk("# Server\r\n" + "".join(f"{name}:{value}\r\n" for name, value in {**INFO, **fields}.items() if value))


class Impostor(socketserver.ThreadingTCPServer):
    """Answers each command as it was told: with bytes, never (``None``), or by hanging up (``b""``).

    Attributes:
        answers: By command; a list is used up one by one.
        commands: What it was asked.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, **answers):
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.answers = {"CLIENT": b"+OK\r\n", "INFO": info(), **answers}
        self.commands = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.server_address[1]}/0"

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class _Conversation(socketserver.StreamRequestHandler):
    def handle(self):
        with contextlib.suppress(OSError):
            while count := self.rfile.readline():
                command = [self.rfile.read(int(self.rfile.readline()[1:]) + 2) for _ in range(int(count[1:]))]
                name = command[0].strip().decode()
                self.server.commands.append(name)
                answer = self.server.answers.get(name, self.server.answers.get("*", b"-ERR what?\r\n"))
                if isinstance(answer, list):
                    answer = answer.pop(0)
                if answer == b"":
                    return
                if answer is not None:
                    self.wfile.write(answer)


TAKEN = b"*2\r\n:0\r\n:1\r\n"
NONSENSE = {
    "nothing": b"",
    "status": b"+OK\r\n",
    "error": b"-ERR no\r\n",
    "error that is not text": b"-\xff\xfe\r\n",
    "empty line": b"\r\n",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "NULs": bytes(100),
    "null": b"$-1\r\n",
    "null array": b"*-1\r\n",
    "empty array": b"*0\r\n",
    "number beyond": b":2\r\n",
    "number below": b":-1\r\n",
    "number that is none": b":one\r\n",
    "numbers as text": b"*2\r\n$1\r\n0\r\n$1\r\n1\r\n",
    "text": bulk("1"),
    "count of none": b"*2\r\n:0\r\n:0\r\n",
    "count below": b"*2\r\n:0\r\n:-1\r\n",
    "count above the limit": b"*2\r\n:0\r\n:4\r\n",
    "counts too many": b"*3\r\n:0\r\n:1\r\n:1\r\n",
    "count missing": b"*1\r\n:0\r\n",
    "denied by nobody": b"*2\r\n:3\r\n:5\r\n",
    "denied by less than nobody": b"*2\r\n:-1\r\n:5\r\n",
    "denied into the past": b"*2\r\n:1\r\n:-5\r\n",
    "arrays": b"*2\r\n*0\r\n*0\r\n",
    "deep arrays": b"*1\r\n" * 5000 + b":1\r\n",
    "half": b"*2\r\n:0\r\n",
    "long": b"$999999999999\r\nx",
    "negative size": b"$-7\r\n",
    "two answers, the first wrong": b"+OK\r\n" + TAKEN,
    "RESP3 true": b"#t\r\n",
}


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE)
@pytest.mark.parametrize("call", [take, advance])
def test_nonsense_is_no_answer(refused, nonsense, call):
    with Impostor(EVALSHA=nonsense) as impostor:
        ledger = RedisLedger(impostor.url, timeout=TIMEOUT)
        refused(lambda: call(ledger), "")
        assert impostor.commands.count("EVALSHA") == 1


@pytest.mark.parametrize(
    "nonsense", [*NONSENSE.values(), TAKEN, b":1\r\n", None], ids=[*NONSENSE, "taken", "1", "none"]
)
def test_nonsense_of_a_new_connection_is_not_followed_by_a_question(refused, nonsense):
    with Impostor(**{"*": TAKEN, "INFO": nonsense}) as impostor:
        ledger = RedisLedger(impostor.url, timeout=TIMEOUT)
        for _ in range(2):
            refused(lambda: take(ledger), "")
        assert "EVALSHA" not in impostor.commands


def test_connection_is_looked_at_again_if_something_came_between(monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    with Impostor(EVALSHA=TAKEN) as impostor:
        ledger = RedisLedger(impostor.url, timeout=TIMEOUT)
        monkeypatch.setattr("otp_actions.ledgers.redis._judge", interrupted)
        with pytest.raises(KeyboardInterrupt):
            take(ledger)
        monkeypatch.undo()
        assert take(ledger).counts == (1,)
        assert impostor.commands.count("INFO") == 2


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        ("MOVED 3999 127.0.0.1:6381", "The server is a node of a cluster"),
        ("MISCONF Redis is configured to save RDB snapshots", "The server cannot write to its disk"),
        ("BUSY Redis is busy running a script", "not one of a Redis that works"),
        # As Redis 6.2 wraps what a script meets, and as Redis 7.2 does.
        ("ERR Error running script (call to f_1): @user_script:9: -OOM command not allowed", "The server is full"),
        ("ERR Error running script (call to f_1): @user_script:9: -READONLY You can't", "The server is a replica"),
        ("ERR Error running script (call to f_1): @user_script:9: -NOPERM this user", "lacks a permission"),
        ("NOPERM ACL failure in script: User ada has no permissions", "lacks a permission"),
    ],
)
def test_error_of_the_server_is_explained(refused, error, hint):
    with Impostor(EVALSHA=b"-%b\r\n" % error.encode()) as impostor:
        refused(lambda: take(RedisLedger(impostor.url, timeout=TIMEOUT)), hint)


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        ({"redis_version": "6.0.16"}, "older than Redis 6.2: upgrade it"),
        ({"redis_version": "5.0"}, "older than Redis 6.2: upgrade it"),
        ({"redis_version": "six"}, "INFO does not say what a Redis says"),
        ({"redis_version": None}, "INFO does not say what a Redis says"),
        ({"maxmemory": None}, "INFO does not say what a Redis says"),
        ({"maxmemory_policy": None}, "INFO does not say what a Redis says"),
        ({"role": None}, "INFO does not say what a Redis says"),
        ({"role": "slave"}, "The server is a replica"),
        ({"maxmemory": "1", "maxmemory_policy": "volatile-lru"}, "set maxmemory-policy noeviction"),
    ],
)
def test_server_that_is_unfit_is_not_used_and_is_a_problem(refused, fields, hint):
    with Impostor(INFO=info(**fields), EVALSHA=TAKEN) as impostor:
        ledger = RedisLedger(impostor.url, timeout=TIMEOUT)
        refused(lambda: take(ledger), hint)
        (problem,) = ledger.problems()
        assert problem.wrong
        assert hint in problem.hint
        assert not {"EVALSHA", "RANDOMKEY"} & set(impostor.commands)


@pytest.mark.parametrize("version", ["6.2.0", "7.4.1", "10.0.0", "7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1"])
def test_server_that_is_fit_is_used(version):
    with Impostor(INFO=info(redis_version=version), EVALSHA=TAKEN) as impostor:
        assert take(RedisLedger(impostor.url, timeout=TIMEOUT)).counts == (1,)


@pytest.mark.parametrize("answer", [None, b"", b":1"], ids=["none", "nothing", "half"])
@pytest.mark.parametrize("options", ["", "?retry_on_timeout=yes&socket_timeout=60&health_check_interval=1"])
def test_nothing_is_asked_twice(refused, answer, options):
    """A mark that was set, answered too late and set again would say "already used" to whom it belongs."""
    with Impostor(EVALSHA=answer, PING=b"+PONG\r\n") as impostor:
        ledger = RedisLedger(impostor.url + options, timeout=TIMEOUT)
        begun = time.monotonic()
        refused(lambda: advance(ledger), "")
        assert time.monotonic() - begun < TIMEOUT + 1
        assert impostor.commands.count("EVALSHA") == 1


def test_late_answer_is_not_taken_for_the_next_ones():
    with Impostor(EVALSHA=[b":1\r\n:1\r\n", b":0\r\n"]) as impostor:
        ledger = RedisLedger(impostor.url, timeout=TIMEOUT)
        assert advance(ledger) is True
        time.sleep(0.05)  # For the second answer to arrive.
        assert advance(ledger) is False


# --- The system check -----------------------------------------------------------------------------------------------


def test_server_that_cannot_be_asked_is_a_problem_but_not_an_error():
    ledger = RedisLedger(f"redis://127.0.0.1:{backends.free_port()}/0", timeout=TIMEOUT)
    (problem,) = ledger.problems()
    assert not problem.wrong
    assert "could not be asked whether it is fit (ConnectionError)" in problem.text
    assert "cannot be reached" in problem.hint


# --- Through HTTP ---------------------------------------------------------------------------------------------------


def plain(request):
    return JsonResponse({"reached": True})


async def plain_async(request):
    return JsonResponse({"reached": True})


@api_view(["POST"])
def drf(request):
    return Response({"reached": True})


VIEWS = {"plain": plain, "async": plain_async, "drf": drf}


@pytest.fixture
def site(settings):
    """``site(url)``: the project's ledger is the server there."""
    urls = ModuleType("urls")
    urls.urlpatterns = [path(f"{name}/", otp_verified(view)) for name, view in VIEWS.items()]
    settings.ROOT_URLCONF = urls
    settings.OTP_LEDGER = "redis"
    settings.OTP_LEDGER_TIMEOUT = TIMEOUT

    def site(url):
        settings.OTP_REDIS_URL = url

    with fresh_ledger():
        yield site


def send(view, code, context):
    fields = json.dumps({"otp": code, "context": context})
    return Client().post(f"/{view}/", fields, content_type="application/json")


@pytest.fixture
def assert_503(caplog, comparisons):
    def assert_503(view, code, context, *, compared):
        caplog.clear()
        comparisons.reset()
        answer = send(view, code, context)
        assert answer.status_code == 503
        assert answer.json().keys() == {"error", "error_code"}
        assert answer.json()["error_code"] == "OTP_UNAVAILABLE"
        assert int(answer["Retry-After"]) > 0
        assert comparisons.count == compared
        ours = [record for record in caplog.records if record.name == "otp_actions" and record.levelname != "INFO"]
        assert [record.levelname for record in ours] == ["ERROR"]
        for text in [*(record.getMessage() for record in caplog.records), answer.content.decode()]:
            assert not {secret for secret in (code, context, PASSWORD, "redis://") if secret in text}

    return assert_503


@audited
@pytest.mark.parametrize("view", VIEWS)
def test_503_while_the_server_is_away_and_200_when_it_is_back(server, admin, site, assert_503, view):
    site(server.url)
    code, context = generate_otp("ada@example.com", length=12)
    with stopped(server):
        assert_503(view, code, context, compared=0)
    server.kill()
    assert_503(view, code, context, compared=0)
    server.start()
    assert send(view, code, context).json() == {"reached": True}
    assert send(view, code, context).json()["error_code"] == "OTP_USED"


@audited
@pytest.mark.parametrize("view", VIEWS)
def test_503_if_the_attempt_was_counted_but_the_mark_could_not_be_set(site, assert_503, view):
    counted = [b"*3\r\n:0\r\n:1\r\n:1\r\n"]
    with Impostor(EVALSHA=[*counted, b"-OOM command not allowed\r\n", b":1\r\n"]) as impostor:
        site(f"redis://:{PASSWORD}@127.0.0.1:{impostor.server_address[1]}/0")
        impostor.answers["AUTH"] = b"+OK\r\n"
        assert_503(view, *generate_otp("ada@example.com", length=12), compared=1)
        assert impostor.commands.count("EVALSHA") == 2


@audited
@pytest.mark.parametrize("view", VIEWS)
def test_503_for_a_poisoned_challenge_and_200_for_another(server, admin, site, assert_503, view):
    site(server.url)
    code, context = generate_otp()
    assert send(view, wrong_code(code), context).status_code == 400
    for name in admin.scan_iter():
        admin.set(name, b"\x80\x05K\x00.", keepttl=True)
    assert_503(view, code, context, compared=0)
    assert send(view, *generate_otp()).json() == {"reached": True}


@audited
def test_revocation_is_not_claimed_while_the_server_is_away(site):
    site(f"redis://127.0.0.1:{backends.free_port()}/0")
    _, context = generate_otp()
    with pytest.raises(OTPUnavailableException):
        revoke_otp(context)


@audited
@pytest.mark.asyncio
async def test_async_verification_waits_in_a_thread(server, admin, site):
    site(server.url)
    code, context = generate_otp()
    with stopped(server):
        verification = asyncio.ensure_future(averify_otp(code, context))
        ticks = 0
        while not verification.done():
            await asyncio.sleep(0.01)
            ticks += 1
        with pytest.raises(OTPUnavailableException):
            verification.result()
    assert ticks > 5  # The loop went on meanwhile.
    assert await averify_otp(*generate_otp())
    code, context = generate_otp()
    fields = json.dumps({"otp": code, "context": context})
    answer = await AsyncClient().post("/async/", fields, content_type="application/json")
    assert answer.json() == {"reached": True}


# --- What Redis gets to see -----------------------------------------------------------------------------------------


def listened(server, work):
    """Return all bytes that MONITOR shows while *work* is done."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as line:
        line.sendall(b"MONITOR\r\n")
        seen = line.recv(5)
        assert seen == b"+OK\r\n"
        work()
        with backends.redis_client(server.url) as client:
            client.echo("the end")
        while b"the end" not in seen:
            seen += line.recv(65536)
    return seen


@audited
def test_neither_code_nor_context_nor_key_reaches_redis(server, admin, site, settings):
    site(server.url)
    codes = [generate_otp("ada@example.com", {"note": "canary"}, length=12, purpose="sign-in") for _ in range(3)]
    answers = []

    def work():
        (first, context), (second, other), (_, revoked) = codes
        for code in (wrong_code(first), first, first):
            try:
                answers.append(verify_otp(code, context, purpose="sign-in"))
            except Exception as error:
                answers.append(error)
        verify_otp(second, other, purpose="sign-in")
        revoke_otp(revoked)

    admin.script_flush()  # So that the scripts are seen too.
    seen = listened(server, work)
    assert isinstance(answers[1], dict)
    assert isinstance(answers[2], OTPUsedException)
    assert b"EVALSHA" in seen
    assert b'"EVAL"' in seen
    assert admin.dbsize() >= 3
    for name in admin.scan_iter():
        seen += name + admin.get(name) + admin.dump(name)
        # Nothing but two numbers.
        assert re.fullmatch(rb"\d+ \d+", admin.get(name))
    secrets = [settings.OTP_SIGNING_KEY, "ada@example.com", "canary", "sign-in"]
    for code, context in codes:
        secrets += [code, context, context[10:40]]
    for secret in secrets:
        assert secret.encode() not in seen
