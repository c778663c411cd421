"""``manage.py otp_purge``."""

import io
import time
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import OperationalError, connections, router

from contract.ledger import key
from full.database import ALIAS, KEY, fresh, put, rows, somebody_else
from otp_actions.management.commands import otp_purge

# Deletes for good, and somebody else looks at it.
pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

PAST, FUTURE = int(time.time()) - 10, int(time.time()) + 1000


@pytest.fixture(autouse=True)
def _fresh():
    fresh()
    yield
    fresh()


def fill(expired, live=0):
    with somebody_else() as cursor:
        for whom in range(expired):
            put(cursor, key("c", whom), 1, PAST - whom % 7)
        for whom in range(live):
            put(cursor, key("i", whom), 1, FUTURE)


def purge(*args, **options):
    out = io.StringIO()
    call_command("otp_purge", *args, stdout=out, **options)
    return out.getvalue()


@contextmanager
def deletes(before=lambda count: None):
    """Count the DELETE statements of the block; *before* is called ahead of each."""
    seen = []

    def look(execute, sql, params, many, context):
        if sql.startswith("DELETE"):
            seen.append(sql)
            before(len(seen))
        return execute(sql, params, many, context)

    with connections[ALIAS].execute_wrapper(look):
        yield seen


def test_expired_entries_go_and_live_ones_stay():
    fill(5, live=3)
    assert "Expired ledger entries: 5 deleted." in purge()
    assert set(rows()) == {key("i", whom) for whom in range(3)}
    assert "Expired ledger entries: 0 deleted." in purge()


def test_entry_expires_when_now_reaches_its_expiry(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: PAST + 0.9)
    with somebody_else() as cursor:
        put(cursor, key("c", 1), 1, PAST)
        put(cursor, key("c", 2), 1, PAST + 1)
    purge()
    assert set(rows()) == {key("c", 2)}


@pytest.mark.parametrize(("batch", "statements"), [(1, 10), (3, 4), (5, 2), (10, 1), (10_000, 1)])
def test_batches_are_no_larger_than_asked_for(batch, statements):
    fill(10)
    with deletes() as seen:
        assert "10 deleted." in purge("--batch", str(batch))
    assert len(seen) == statements
    assert rows() == {}


@pytest.mark.parametrize("batch", ["0", "-1", "10001", "many", "1.5"])
def test_batch_that_makes_no_sense_is_refused_with_what_does(batch):
    with pytest.raises(CommandError, match="must be a whole number from 1 to 10000"):
        purge("--batch", batch)


def test_dry_run_counts_and_deletes_nothing():
    fill(5, live=3)
    with deletes() as seen:
        assert "Expired ledger entries: 5 would be deleted." in purge("--dry-run")
    assert len(rows()) == 8
    assert seen == []


def test_progress_is_told_batch_by_batch():
    fill(6)
    said = purge("--batch", "2", verbosity=2).splitlines()
    assert [line for line in said if "ledger" in line] == [
        "Expired ledger entries: 2 deleted so far ...",
        "Expired ledger entries: 4 deleted so far ...",
        "Expired ledger entries: 6 deleted so far ...",
        "Expired ledger entries: 6 deleted.",
    ]


def test_progress_on_a_terminal_stays_on_one_line(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    fill(6)
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr(otp_purge.time, "monotonic", lambda: next(clock))
    out = Terminal()
    call_command("otp_purge", "--batch", "2", stdout=out, no_color=True)
    assert out.getvalue().count("so far ...\r") == 3


def test_interrupted_run_says_how_far_it_came_and_the_next_one_goes_on():
    fill(10)

    def interrupt(count):
        if count == 3:
            raise KeyboardInterrupt

    with deletes(interrupt), pytest.raises(CommandError, match="4 deleted so far") as caught:
        purge("--batch", "2")
    assert caught.value.returncode == 130
    assert len(rows()) == 6
    assert "6 deleted." in purge("--batch", "2")
    assert rows() == {}


def test_entry_that_is_taken_afresh_meanwhile_is_not_deleted():
    fill(4)

    def revive(count):
        with somebody_else() as cursor:
            cursor.execute(f"UPDATE otp_actions_ledger SET expiry = %s WHERE {KEY} = %s", [FUTURE, key("c", 1)])

    with deletes(revive):
        assert "3 deleted." in purge()
    assert rows() == {key("c", 1): (1, FUTURE)}


def test_deadlock_with_a_verification_is_tried_again():
    fill(4)

    def meet(count):
        if count < 3:
            raise OperationalError(1213)

    with deletes(meet) as seen:
        assert "4 deleted." in purge()
    assert len(seen) == 3


def test_deadlock_that_does_not_end_ends_the_command():
    fill(4)

    def meet(count):
        raise OperationalError(1213)

    with deletes(meet) as seen, pytest.raises(CommandError, match="OperationalError 1213 after 0 were deleted"):
        purge()
    assert len(seen) == 10


def test_missing_table_is_said_with_what_to_type():
    with somebody_else() as cursor:
        cursor.execute("ALTER TABLE otp_actions_ledger RENAME TO otp_actions_away")
        try:
            with pytest.raises(CommandError, match=f"python manage.py migrate --database={ALIAS}") as caught:
                purge()
        finally:
            cursor.execute("ALTER TABLE otp_actions_away RENAME TO otp_actions_ledger")
    assert caught.value.returncode == 1


# --- The audit trail


@pytest.fixture
def events():
    if not apps.is_installed("otp_actions.audit"):
        pytest.skip("the audit trail is not installed")
    model = apps.get_app_config("otp_actions_audit").get_model("OTPEvent")
    return model._default_manager.using(router.db_for_write(model))


def days_ago(days):
    return datetime.now(timezone.utc) - timedelta(days=days)


def test_events_go_after_their_retention(events, settings):
    for days in (0, 89, 91, 400):
        events.create(time=days_ago(days), event="verified", outcome="success")
    assert "Old audit events: 2 would be deleted." in purge("--dry-run")
    assert "Old audit events: 2 deleted." in purge()
    assert events.count() == 2
    settings.OTP_AUDIT_RETENTION = timedelta(days=30)
    assert "Old audit events: 1 deleted." in purge("--batch", "1")
    assert events.count() == 1


def test_events_are_kept_for_ever_if_that_is_set(events, settings):
    events.create(time=days_ago(4000), event="verified", outcome="success")
    settings.OTP_AUDIT_RETENTION = None
    assert "audit" not in purge()
    assert events.count() == 1


def test_retention_is_right_in_a_project_without_time_zones(events, settings):
    settings.USE_TZ, settings.TIME_ZONE = False, "Asia/Tokyo"
    for hours in (-1, 1):
        events.create(time=datetime.now() - timedelta(days=90, hours=hours), event="verified", outcome="success")
    assert purge().endswith("Old audit events: 1 deleted.\n")
    [left] = events.all()
    assert left.time > datetime.now() - timedelta(days=90)


def test_without_either_app_there_is_nothing_to_do(settings):
    settings.INSTALLED_APPS = [
        app for app in settings.INSTALLED_APPS if app not in ("otp_actions.ledgers.database", "otp_actions.audit")
    ]
    assert purge().startswith("Nothing to do: ")


def test_without_the_ledgers_app_events_are_still_purged(events, settings):
    events.create(time=days_ago(91), event="verified", outcome="success")
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "otp_actions.ledgers.database"]
    assert purge() == "Old audit events: 1 deleted.\n"
