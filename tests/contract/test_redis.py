"""``OTP_LEDGER = "redis"`` on a real server."""

import os
import signal
import traceback

import pytest

import backends
from contract.ledger import NOW, TTL, LedgerContract, claim, key
from otp_actions import conf, ledgers
from otp_actions.conf import SettingError
from otp_actions.exceptions import OTPUnavailableException
from otp_actions.ledgers.base import Denied, Taken
from otp_actions.ledgers.redis import RedisLedger

PREFIX = b"{otp}:"
HOUR = 3600


@pytest.fixture(scope="module")
def url():
    try:
        return backends.url("redis")
    except backends.Missing as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"Redis could not be had: {error}")


@pytest.fixture
def make_ledger(url, client):
    def make():
        client.flushdb()
        return RedisLedger(url, timeout=5)

    return make


@pytest.fixture
def ledger(make_ledger):
    return make_ledger()


@pytest.fixture
def client(url):
    with backends.redis_client(url) as client:
        client.flushdb()
        yield client
        client.flushdb()


class TestRedisLedger(LedgerContract):
    @pytest.fixture
    def make_ledger(self, make_ledger):
        return make_ledger

    @pytest.fixture
    def ledger(self, make_ledger):
        return make_ledger()

    def test_blocks(self, ledger):
        assert ledger.blocking is True


def test_setting_makes_it(settings, url):
    settings.OTP_LEDGER = "redis"
    settings.OTP_REDIS_URL = url
    assert isinstance(ledgers.ledger_for(conf.current()), RedisLedger)
    ledgers.reset()


# --- What is stored -------------------------------------------------------------------------------------------------


def test_entry_is_one_short_string_under_one_hash_tag(ledger, client):
    ledger.take((claim(key("c"), 3), claim(key("i"), 30, HOUR)), unless=((key("e"), 7),), now=NOW)
    ledger.advance(key("c"), 2**40, ttl=TTL, now=NOW + 1, release=((claim(key("i"), 30, HOUR), 30),))
    assert {name: client.get(name) for name in client.scan_iter()} == {
        PREFIX + key("c"): b"1099511627776 %d" % (NOW + 1 + TTL),
        PREFIX + key("i"): b"0 %d" % (NOW + HOUR),
    }


def test_what_is_denied_or_refused_writes_nothing(ledger, client):
    ledger.take((claim(key("a"), 1),), now=NOW)
    client.expire(PREFIX + key("a"), 100)  # A write would make it longer.
    assert isinstance(ledger.take((claim(key("b")), claim(key("a"), 1)), now=NOW - HOUR), Denied)
    assert not ledger.advance(key("a"), 1, ttl=9 * TTL, now=NOW - HOUR, release=((claim(key("a"), 1), 1),))
    assert {name: client.get(name) for name in client.scan_iter()} == {PREFIX + key("a"): b"1 %d" % (NOW + TTL)}
    assert client.ttl(PREFIX + key("a")) == pytest.approx(100, abs=2)


def test_what_is_released_from_nothing_writes_nothing(ledger, client):
    ledger.take((claim(key("a"), 3, 60),), now=NOW)
    release = ((claim(key("a"), 3, 60), 1), (claim(key("b")), 1))
    assert ledger.advance(key("m"), 1, ttl=TTL, now=NOW + 60, release=release)
    assert client.get(PREFIX + key("a")) == b"1 %d" % (NOW + 60)
    assert client.dbsize() == 2


class TestWhenRedisForgets:
    """Redis goes by a clock of its own, callers by theirs: what any of them may still ask for is there."""

    @pytest.fixture
    def left(self, client):
        return lambda bucket: client.ttl(PREFIX + bucket)

    def test_nothing_stays_for_ever(self, ledger, client):
        ledger.take((claim(key("a")), claim(key("b"), 1, 2**31)), now=NOW)
        ledger.advance(key("m"), 1, ttl=2**40, now=NOW, release=((claim(key("a")), 1),))
        ledger.give_back(ledger.take((claim(key("c")),), now=NOW), claim(key("c")), now=NOW)
        assert all(client.ttl(name) > 0 for name in client.scan_iter())
        assert client.dbsize() == 4

    def test_an_hour_after_the_callers_clock_would(self, ledger, left):
        ledger.take((claim(key("a"), 3, 60),), now=NOW)
        ledger.advance(key("m"), 1, ttl=60, now=NOW)
        assert [left(key(kind)) for kind in "am"] == pytest.approx([60 + HOUR] * 2, abs=2)

    def test_not_earlier_because_a_clock_that_is_ahead_wrote(self, ledger, left):
        ahead = NOW + TTL - 10
        ledger.take((claim(key("a")),), now=NOW)
        ledger.take((claim(key("a")),), now=ahead)
        ledger.advance(key("m"), 1, ttl=TTL, now=NOW)
        ledger.advance(key("m"), 2, ttl=5, now=ahead, release=((claim(key("a")), 1),))
        assert [left(key(kind)) for kind in "am"] == pytest.approx([TTL + HOUR] * 2, abs=2)

    def test_later_if_a_clock_that_is_behind_wrote(self, ledger, left):
        behind = NOW - 10 * HOUR
        ledger.take((claim(key("a")),), now=NOW)
        ledger.take((claim(key("a")),), now=behind)
        ledger.advance(key("m"), 1, ttl=TTL, now=NOW)
        ledger.advance(key("m"), 2, ttl=TTL, now=behind)
        assert [left(key(kind)) for kind in "am"] == pytest.approx([10 * HOUR + TTL + HOUR] * 2, abs=2)

    def test_an_expired_entry_that_is_used_again_lives_as_long_as_a_new_one(self, ledger, left):
        ledger.take((claim(key("a"), 1, 60),), now=NOW)
        ledger.take((claim(key("a"), 1, 9 * HOUR),), now=NOW + 60)
        assert left(key("a")) == pytest.approx(10 * HOUR, abs=2)


# --- Poisoned entries -----------------------------------------------------------------------------------------------

GOOD = b"1 %d" % (NOW + TTL)
POISON = {
    "empty": b"",
    "pickle": b"\x80\x05K\x00.",
    "text": b"none",
    "one number": b"0",
    "three numbers": GOOD + b" 0",
    "negative value": b"-1 %d" % (NOW + TTL),
    "negative expiry": b"1 -1",
    "signed": b"+1 %d" % (NOW + TTL),
    "fraction": b"0.5 %d" % (NOW + TTL),
    "exponent": b"1e0 %d" % (NOW + TTL),
    "hexadecimal": b"0x1 %d" % (NOW + TTL),
    "infinite": b"inf inf",
    "not a number": b"nan nan",
    "beyond 2^53": b"9007199254740994 %d" % (NOW + TTL),
    "expiry beyond 2^53": b"1 9007199254740994",
    "huge": b"9" * 400 + b" " + b"9" * 400,
    "endless zeros": b"0" * 40 + GOOD,
    "space before": b" " + GOOD,
    "space after": GOOD + b" ",
    "line end": GOOD + b"\n",
    "two spaces": b"1  %d" % (NOW + TTL),
    "NUL": GOOD + b"\0",
    "other digits": "\N{FULLWIDTH DIGIT ONE} \N{FULLWIDTH DIGIT TWO}".encode(),
}


def as_string(text):
    return lambda client, name: client.set(name, text, ex=HOUR)


WAYS = {
    **{label: as_string(text) for label, text in POISON.items()},
    "without an end": lambda client, name: client.set(name, GOOD),
    "list": lambda client, name: client.rpush(name, GOOD) and client.expire(name, HOUR),
    "hash": lambda client, name: client.hset(name, "value", 0) and client.expire(name, HOUR),
    "set": lambda client, name: client.sadd(name, GOOD) and client.expire(name, HOUR),
    "stream": lambda client, name: client.xadd(name, {"value": 0}) and client.expire(name, HOUR),
}

BAD, FINE = key("x"), key("a")
CALLS = {
    "barrier": lambda ledger: ledger.take((claim(FINE),), unless=((BAD, 5),), now=NOW),
    "last barrier": lambda ledger: ledger.take((claim(FINE),), unless=((FINE, 5), (BAD, 5)), now=NOW),
    "claim": lambda ledger: ledger.take((claim(BAD),), now=NOW),
    "last claim": lambda ledger: ledger.take((claim(FINE), claim(BAD)), now=NOW),
    "mark": lambda ledger: ledger.advance(BAD, 2**40, ttl=TTL, now=NOW),
    "release": lambda ledger: ledger.advance(FINE, 2**40, ttl=TTL, now=NOW, release=((claim(BAD), 1),)),
    "give back": lambda ledger: ledger.give_back(Taken((claim(BAD),), (1,)), claim(BAD), now=NOW),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("poison", WAYS.values(), ids=WAYS)
def test_poisoned_entry_is_an_error_and_changes_nothing(ledger, client, caplog, poison, call):
    client.set(PREFIX + FINE, GOOD, ex=HOUR)
    poison(client, PREFIX + BAD)
    before = {name: client.dump(name) for name in client.scan_iter()}
    with pytest.raises(OTPUnavailableException):
        call(ledger)
    assert {name: client.dump(name) for name in client.scan_iter()} == before
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "An entry is damaged or not ours" in caplog.text


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_good_entry_in_its_place_is_none(ledger, client, caplog, call):
    for name in (FINE, BAD):
        client.set(PREFIX + name, GOOD, ex=HOUR)
    call(ledger)
    assert not caplog.records


# --- The client -----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_children_of_a_fork_get_connections_of_their_own(ledger):
    assert ledger.take((claim(key(), 10**6),), now=NOW).counts == (1,)  # So that there is one to inherit.

    def child():
        signal.alarm(30)  # Rather dead than hanging.
        for _ in range(50):
            answers = [ledger.take((claim(key(), 10**6),), now=NOW), ledger.advance(key("m"), 1, ttl=TTL, now=NOW)]
            if not isinstance(answers[0], Taken) or answers[1] is not False:
                return 1
        return 0

    ledger.advance(key("m"), 1, ttl=TTL, now=NOW)
    children = []
    for _ in range(6):
        pid = os.fork()
        if not pid:
            status = 1
            try:
                status = child()
            finally:
                os._exit(status)
        children.append(pid)
    for _ in range(50):
        assert isinstance(ledger.take((claim(key(), 10**6),), now=NOW), Taken)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 6
    assert ledger.take((claim(key(), 10**6),), now=NOW).counts == (1 + 7 * 50 + 1,)


@pytest.mark.parametrize(
    "url",
    [
        "redis://ada:canary/with/slashes@127.0.0.1:6379/0",
        "redis://ada:canary@127.0.0.1:port/0",
        "redis://ada:canary@127.0.0.1:99999/0",
        "redis://ada:canary@[::1/0",
        "redis://ada:canary@127.0.0.1/0?socket_timeout=canary",
        "redis://ada:canary@127.0.0.1/0?no_such_option=1",
        "http://ada:canary@127.0.0.1/0",
    ],
)
def test_url_that_cannot_be_read_is_a_setting_error_that_does_not_quote_it(url):
    with pytest.raises(SettingError, match="OTP_REDIS_URL cannot be read") as caught:
        RedisLedger(url, timeout=1)
    assert caught.value.check_id == "otp_actions.E010"
    assert "canary" not in "".join(traceback.format_exception(caught.value.with_traceback(None)))
    assert caught.value.__context__ is None


def test_options_of_the_url_that_would_break_it_are_overruled(url, client, caplog):
    ledger = RedisLedger(f"{url}?decode_responses=yes&protocol=3&retry_on_timeout=yes", timeout=5)
    assert ledger.take((claim(key()),), now=NOW).counts == (1,)
    assert ledger.problems() == []
    assert not caplog.records


def test_database_of_the_url_is_used(url, client):
    ledger = RedisLedger(url, timeout=5)
    ledger.take((claim(key()),), now=NOW)
    assert client.dbsize() == 1


# --- The system check -----------------------------------------------------------------------------------------------


def test_good_server_has_no_problem(ledger):
    assert ledger.problems() == []
    ledger.take((claim(key()),), now=NOW)
    assert ledger.problems() == []


@pytest.mark.parametrize("name", [b"session:1", b"{otp}:short", b"{otp}:" + b"x" * 18, b"\xff"])
def test_keys_of_others_in_the_same_database_are_a_problem(ledger, client, name):
    client.set(name, 1)
    (problem,) = ledger.problems()
    assert not problem.wrong
    assert "keys that are not the ledger's" in problem.text
    assert "of its own" in problem.hint
