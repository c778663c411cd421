"""A moment of chaos: see ``serving/chaos.py``. ``make chaos`` has it for longer."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

from projects.full.settings import ENGINE
from serving import chaos

ROOT = Path(__file__).resolve().parents[2]
LONG_AGO = chaos.EVERYSEC_SECONDS + 0.1
A_MOMENT_AGO = 0.1


@pytest.fixture
def survive(if_it_can_be_had):
    """``survive(name, rounds)``, and say how it went."""

    def survive(name, rounds):
        report = if_it_can_be_had(lambda: chaos.run(name, rounds))
        print(report)
        return report

    return survive


@pytest.mark.parametrize("name", ["redis-always"] if ENGINE == "sqlite" else [ENGINE])
def test_killed_workers_and_backends_cost_no_mark_and_accept_nothing_twice(survive, name):
    report = survive(name, rounds=2)
    assert report.faults == []
    assert report.lost == {}
    assert report.twice == {}


if ENGINE == "sqlite":

    def test_redis_that_keeps_nothing_accepts_codes_again_after_a_kill(survive):
        # As the docs say; and so it would be noticed in the test above.
        report = survive("redis-memory", rounds=1)
        assert report.faults == []
        assert len(report.lost) == len(report.acknowledged)
        assert report.twice


# --- What counts as a fault -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lost", "twice"])
@pytest.mark.parametrize(
    ("name", "seconds", "faults"),
    [
        ("postgres", 0.0, 1),
        ("mysql", A_MOMENT_AGO, 1),
        ("redis-always", A_MOMENT_AGO, 1),
        ("redis-everysec", 0.0, 0),
        ("redis-everysec", 2.4, 0),
        ("redis-everysec", LONG_AGO, 1),
        ("redis-everysec", math.inf, 1),
        ("redis-memory", LONG_AGO, 0),
        ("redis-memory", math.inf, 1),  # No kill came between.
    ],
)
def test_what_may_be_lost_is_bounded(name, kind, seconds, faults):
    report = chaos.Report(name, acknowledged={"a": 1.0, "b": 1.0}, **{kind: {"a": seconds}})
    assert len(report.faults) == faults


@pytest.mark.parametrize(
    ("first", "second", "seconds"),
    [
        (1.0, 13.0, 9.0),
        (1.0, 10.2, math.inf),  # It was down still.
        (1.0, 9.0, math.inf),
        (10.1, 13.0, 0.0),  # The answer was on its way when the server was killed.
        (11.0, 13.0, math.inf),
        (11.0, 33.0, 19.0),
    ],
)
def test_second_acceptance_is_explained_only_by_a_kill_between(first, second, seconds):
    outages = [chaos.Outage(9.9, 10.0, 10.5, 10.7), chaos.Outage(29.9, 30.0, 30.5, 30.7)]
    report = chaos.Report("redis-everysec")
    chaos._accept(report, "a", first, outages)
    assert report.twice == {}
    chaos._accept(report, "a", second, outages)
    assert report.twice == {"a": seconds}


def test_second_acceptance_after_the_last_kill_is_not_explained():
    outages = [chaos.Outage(9.9, 10.0, 10.5, 10.7)]
    report = chaos.Report("redis-memory")
    for moment in (9.0, 11.0, 11.1):
        chaos._accept(report, "a", moment, outages)
    assert report.twice == {"a": math.inf}


def test_kill_that_did_not_happen_is_a_fault():
    class Gone:
        workers = ()

        def kill(self):
            return False

        def start(self):
            pass

    report = chaos.Report("postgres", acknowledged={"a": 1.0})
    chaos._one_round(report, Gone(), Gone())
    assert report.faults == ["the worker to be killed was gone", "the backend to be killed was gone"]


def test_no_rounds_are_refused():
    with pytest.raises(ValueError, match="at least one round"):
        chaos.run("postgres", rounds=0)
    command = [sys.executable, str(ROOT / "tools" / "chaos.py"), "--rounds", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "at least one round" in done.stderr
