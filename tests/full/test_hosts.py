"""Four servers of 16 threads, 64 clients, and one ledger that the servers share: exact across hosts.

``OTP_TEST_CODES`` is how many codes are raced for; 1,000 if it is not set. ``pytest -s`` shows the figures.
"""

import os

import pytest

import backends
from projects.full.settings import ENGINE
from serving import WORKERS, Site

CODES = int(os.environ.get("OTP_TEST_CODES", "1000"))
COPIES = 4  # How many clients send the same code at the same moment.
IDENTIFIERS = 16
LIMITS = [1, 3, 10] * 10  # Of challenges that wrong codes are sent to.
# Exactness is what is looked at here. That 64 clients on a small, busy machine wait is not a fault.
PATIENCE = {"OTP_LEDGER_TIMEOUT": 60.0}
BUDGETS = {
    "no-budgets": {"OTP_IDENTIFIER_BUDGET": None, "OTP_IP_BUDGET": None},
    "budgets": {"OTP_IDENTIFIER_BUDGET": "30/h", "OTP_IP_BUDGET": "1000000/h"},
}


@pytest.fixture(scope="module", params=["redis", "sqlite"] if ENGINE == "sqlite" else [ENGINE])
def ledger(request, own_server, tmp_path_factory):
    """The settings of a ledger that processes share, and of a database for the views."""
    if request.param in ("postgres", "mysql"):
        # Of its own because 64 threads may hold two connections each, which is more than servers usually allow.
        # Nothing here is about what survives a power cut.
        quick = {"postgres": {"fsync": "off"}, "mysql": {"innodb-flush-log-at-trx-commit": "0"}}[request.param]
        database = backends.django_database(own_server(request.param, **quick).url)
        return {"DATABASES": {"default": {**database, "CONN_MAX_AGE": 60}}, "OTP_LEDGER": "database", **PATIENCE}
    directory = tmp_path_factory.mktemp("databases")
    default, otp = (
        {"ENGINE": "django.db.backends.sqlite3", "NAME": str(directory / name), "OPTIONS": {"timeout": 60}}
        for name in ("default.sqlite3", "otp.sqlite3")
    )
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        return {"DATABASES": {"default": default}, "OTP_LEDGER": "redis", "OTP_REDIS_URL": url, **PATIENCE}
    return {
        **PATIENCE,
        "DATABASES": {"default": default, "otp": otp},
        "DATABASE_ROUTERS": ["otp_actions.ledgers.database.router.LedgerRouter"],
        "OTP_LEDGER": "database",
        "OTP_LEDGER_DATABASE": "otp",
    }


@pytest.fixture(scope="module", params=BUDGETS)
def site(request, ledger):
    with Site(hosts=WORKERS, **ledger, **BUDGETS[request.param]) as site:
        yield site


@pytest.fixture(scope="module")
def atomic_site(ledger):
    """A site whose views run in a transaction that is rolled back when they raise."""
    databases = {alias: {**entry, "ATOMIC_REQUESTS": True} for alias, entry in ledger["DATABASES"].items()}
    with Site(hosts=WORKERS, **{**ledger, **BUDGETS["budgets"], "DATABASES": databases}) as site:
        yield site


@pytest.fixture
def race(request):
    """``race(site, path, codes)``, and say how it went."""

    def race(site, path, codes):
        found = site.race(path, codes)
        assert len(found.answers) == COPIES * len(codes)
        rate = f"{len(found.answers) / found.seconds:.0f} requests/s for {found.seconds:.1f} s"
        print(f"\n{request.node.name}: {rate}, {dict(found.outcomes)}, {found.comparisons} comparisons")
        if any(answer["status"] in (0, 500, 503) for answer in found.answers):
            print(site.log[-4000:])
        return found

    return race


def wrong(code):
    """Return *code* with another last digit."""
    return {**code, "otp": code["otp"][:-1] + str(9 - int(code["otp"][-1]))}


def whom(request, number):
    """Return an identifier of this test's own."""
    return f"{request.node.name}-{number}"


def test_each_code_succeeds_exactly_once(request, race, site):
    # Few identifiers, so that the budget would be used up if a success did not start it afresh.
    codes = site.issue([{"identifier": whom(request, n % IDENTIFIERS)} for n in range(CODES)])
    found = race(site, "/confirm/", codes)
    accepted = [answer["body"]["jti"] for answer in found.answers if answer["status"] == 200]
    assert sorted(accepted) == sorted(code["jti"] for code in codes)
    assert found.outcomes.keys() <= {"200", "410 OTP_USED", "429 MAX_RETRIES_EXCEEDED"}


def test_wrong_codes_are_compared_exactly_max_retries_times(request, race, site):
    codes = site.issue([{"identifier": whom(request, n), "max_retries": limit} for n, limit in enumerate(LIMITS)])
    # Four groups of four clients with the same code: 16 clients for each.
    found = race(site, "/confirm/", [wrong(code) for code in codes for _ in range(4)])
    assert found.comparisons == sum(LIMITS)
    assert found.outcomes == {
        "400 INVALID_OTP": sum(LIMITS),
        "429 MAX_RETRIES_EXCEEDED": 4 * COPIES * len(LIMITS) - sum(LIMITS),
    }


@pytest.mark.parametrize("site", ["budgets"], indirect=True)
def test_wrong_codes_of_many_challenges_are_compared_as_often_as_the_budget_allows(request, race, site):
    codes = site.issue([{"identifier": whom(request, 0), "max_retries": 3}] * 64)
    found = race(site, "/confirm/", [wrong(code) for code in codes])
    assert found.comparisons == 30
    assert found.outcomes["400 INVALID_OTP"] == 30
    # Whether one challenge met its own limit before the identifier met its budget is the race's to say.
    assert found.outcomes["429 OTP_THROTTLED"] > 0
    assert found.outcomes.keys() <= {"400 INVALID_OTP", "429 MAX_RETRIES_EXCEEDED", "429 OTP_THROTTLED"}


def test_view_that_raises_keeps_the_code_used(request, race, atomic_site):
    codes = atomic_site.issue([{"identifier": whom(request, n % IDENTIFIERS)} for n in range(CODES)])
    found = race(atomic_site, "/confirm-and-raise/", codes)
    accepted = [answer["body"]["accepted"] for answer in found.answers if answer["status"] == 500]
    assert sorted(accepted) == sorted(code["jti"] for code in codes)
    assert found.outcomes.keys() <= {"500", "410 OTP_USED", "429 MAX_RETRIES_EXCEEDED"}
    assert atomic_site.ask("/written/", {}) == {"rows": 0}  # It was rolled back.
    again = codes[:64]
    assert race(atomic_site, "/confirm/", again).outcomes == {"410 OTP_USED": COPIES * len(again)}


def test_view_that_raises_keeps_the_attempts_counted(request, race, atomic_site):
    wanted = [{"identifier": whom(request, n), "max_retries": limit} for n, limit in enumerate(LIMITS)]
    codes = atomic_site.issue(wanted)
    found = race(atomic_site, "/try-and-raise/", [wrong(code) for code in codes for _ in range(4)])
    assert found.comparisons == sum(LIMITS)
    assert [answer["body"]["refused"] for answer in found.answers].count("INVALID_OTP") == sum(LIMITS)
    assert found.outcomes == {"500": 4 * COPIES * len(LIMITS)}
    assert atomic_site.ask("/written/", {}) == {"rows": 0}
