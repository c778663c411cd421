"""The tests of the whole installation, on a real database. They need its settings:

    OTP_TEST_ENGINE=postgres pytest tests/full --ds projects.full.settings

Without those nothing here is collected. ``OTP_TEST_ENGINE`` is sqlite (the default), postgres or mysql.
"""

import os
from contextlib import ExitStack

import pytest

import backends

ENGINE = os.environ.get("OTP_TEST_ENGINE", "sqlite")


def pytest_ignore_collect(collection_path):
    if os.environ.get("DJANGO_SETTINGS_MODULE") != "projects.full.settings":
        return True
    # Redis is the same beside any database: once is enough.
    if collection_path.name.startswith("test_redis") and ENGINE != "sqlite":
        return True
    return None


def pytest_report_header():
    return f"engine: {ENGINE}"


@pytest.fixture(scope="session")
def engine():
    """The database that the tests run on: "sqlite", "postgres" or "mysql"."""
    return ENGINE


@pytest.fixture(scope="session")
def if_it_can_be_had():
    """Call it with what needs a backend: what that returns, or the test is skipped; with ``CI`` set, it fails."""

    def if_it_can_be_had(call):
        try:
            return call()
        except backends.Missing as error:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(f"No backend: {error}")

    return if_it_can_be_had


@pytest.fixture(scope="session")
def redis_url(if_it_can_be_had):
    """A Redis database that was empty and is ours: flush it (FLUSHDB) as you like."""
    return if_it_can_be_had(lambda: backends.url("redis"))


@pytest.fixture(scope="module")
def own_server(if_it_can_be_had):
    """Call it for a throw-away server (see ``backends.own``) to break, to kill, or to set up otherwise."""
    with ExitStack() as servers:

        def own_server(kind, **options):
            server = if_it_can_be_had(lambda: backends.own(kind, **options))
            servers.callback(server.stop)
            return server

        yield own_server
