"""A moment of chaos: see ``serving/chaos.py``. ``make chaos`` has it for longer."""

import pytest

from projects.full.settings import ENGINE
from serving import chaos


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
    assert report.twice == set()


if ENGINE == "sqlite":

    def test_redis_that_keeps_nothing_accepts_codes_again_after_a_kill(survive):
        # As the docs say; and so it would be noticed in the test above.
        report = survive("redis-memory", rounds=1)
        assert report.faults == []
        assert len(report.lost) == len(report.acknowledged)
        assert report.twice
