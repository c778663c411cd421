"""Forgetting whom an identifier names."""

from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command
from django.db import connections, router
from django.test.utils import CaptureQueriesContext

from otp_actions.__main__ import generate_key
from otp_actions.audit import identifiers
from otp_actions.audit.identifiers import erase, events_of
from otp_actions.audit.models import OTPEvent
from otp_actions.services import generate_otp

pytestmark = pytest.mark.django_db(databases="__all__")

ADA, EVE = "ada@example.com", "eve@example.com"


@pytest.fixture(autouse=True)
def _trail(otp_settings):
    pass


def left():
    return OTPEvent.objects.count()


def lower(text):
    return text.lower()


@pytest.mark.parametrize("how", ["digest", "plain"])
@pytest.mark.parametrize("spelling", [ADA, f" {ADA}", "ada\N{FULLWIDTH COMMERCIAL AT}example.com"])
def test_events_of_one_identifier_are_deleted_in_any_spelling(settings, how, spelling):
    settings.OTP_AUDIT_IDENTIFIERS = how
    for identifier in (
        ADA,
        f"{ADA} ",
        "ada\N{SMALL COMMERCIAL AT}example.com",
        EVE,
        None,
        "Ada@example.com",
        "ada",
        "",
    ):
        generate_otp(identifier)
    assert events_of(spelling).count() == 4
    assert erase(spelling) == 4
    assert left() == 4
    assert erase(spelling) == 0


@pytest.mark.parametrize("how", ["digest", "plain"])
def test_spelling_is_the_projects_own_matter(settings, how):
    settings.OTP_AUDIT_IDENTIFIERS = how
    settings.OTP_CANONICAL_IDENTIFIER = f"{__name__}.lower"
    generate_otp("ADA@example.com")
    generate_otp("\N{LATIN SMALL LETTER A WITH DIAERESIS}da@example.com")
    assert erase("Ada@Example.com") == 1
    assert left() == 1


@pytest.mark.parametrize("how", ["digest", "plain"])
def test_number_is_not_its_text(settings, how):
    settings.OTP_AUDIT_IDENTIFIERS = how
    generate_otp(42)
    generate_otp("42")
    assert erase(42) == 1
    assert left() == 1
    assert erase("42") == 1


def test_events_under_a_fallback_key_are_deleted(settings):
    first = settings.OTP_SIGNING_KEY
    generate_otp(ADA)
    settings.OTP_SIGNING_KEY, settings.OTP_SIGNING_KEY_FALLBACKS = generate_key(), [first]
    generate_otp(ADA)
    generate_otp(EVE)
    assert erase(ADA) == 2


def test_digest_under_a_retired_key_is_nobodys_any_more(settings):
    generate_otp(ADA)
    settings.OTP_SIGNING_KEY = generate_key()
    assert erase(ADA) == 0
    assert left() == 1


def test_plain_identifier_is_deleted_whatever_key_has_been_retired(settings):
    settings.OTP_AUDIT_IDENTIFIERS = "plain"
    generate_otp(ADA)
    settings.OTP_SIGNING_KEY = generate_key()
    settings.OTP_AUDIT_IDENTIFIERS = "digest"
    generate_otp(ADA)
    assert erase(ADA) == 2
    assert left() == 0


@pytest.mark.parametrize("identifier", ["\ud800", 2**64])
def test_what_cannot_be_an_identifier_is_an_error(identifier):
    with pytest.raises(ValueError):  # noqa: PT011 -- the core's, and Python's own
        erase(identifier)


def test_batches_are_bounded(monkeypatch):
    monkeypatch.setattr(identifiers, "_BATCH", 10)
    for _ in range(25):
        generate_otp(ADA)
    done = []
    with CaptureQueriesContext(connections[router.db_for_write(OTPEvent)]) as captured:
        assert erase(ADA, progress=done.append) == 25
    assert done == [10, 20, 25]
    assert sum(query["sql"].startswith("DELETE") for query in captured) == 3


# --- The command -----------------------------------------------------------------------------------------------------


def run(capsys, *args):
    call_command("otp_erase", *args)
    return capsys.readouterr().out


def test_command_says_how_many_and_not_whose(capsys):
    for identifier in (ADA, ADA, EVE):
        generate_otp(identifier)
    assert run(capsys, ADA, "--dry-run") == "Audit events of this identifier: 2 would be deleted.\n"
    assert left() == 3
    assert run(capsys, ADA) == "Audit events of this identifier: 2 deleted.\n"
    assert left() == 1


def test_command_takes_a_number(capsys):
    generate_otp(42)
    generate_otp("42")
    assert "1 would" in run(capsys, "42", "--int", "--dry-run")
    assert "1 deleted" in run(capsys, "42", "--int")
    assert "1 deleted" in run(capsys, "42")


def test_command_shows_that_it_goes_on(capsys, monkeypatch):
    monkeypatch.setattr(identifiers, "_BATCH", 1)
    clock = SimpleNamespace(monotonic=iter(range(0, 100, 2)).__next__)
    monkeypatch.setattr("otp_actions.audit.management.commands.otp_erase.time", clock)
    generate_otp(ADA)
    generate_otp(ADA)
    assert run(capsys, ADA).splitlines() == [
        "1 deleted so far ...",
        "2 deleted so far ...",
        "Audit events of this identifier: 2 deleted.",
    ]


@pytest.mark.parametrize("args", [("ada", "--int"), ("9" * 30, "--int"), ("\udcff",)])
def test_command_refuses_what_is_no_identifier(args):
    with pytest.raises(CommandError, match="cannot be an identifier"):
        call_command("otp_erase", *args)


def test_command_can_be_stopped(monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("otp_actions.audit.management.commands.otp_erase.erase", stop)
    with pytest.raises(CommandError, match="Run it again") as stopped:
        call_command("otp_erase", ADA)
    assert stopped.value.returncode == 130


def test_command_says_what_to_do_about_the_database(monkeypatch):
    monkeypatch.setattr(OTPEvent._meta.get_field("identifier_digest"), "column", "no_such_column")
    with pytest.raises(CommandError, match="Then run it again") as failed:
        call_command("otp_erase", ADA, "--dry-run")
    assert "ada" not in str(failed.value)


def test_command_says_what_to_type_where_the_table_is_missing(monkeypatch):
    monkeypatch.setattr(OTPEvent._meta, "db_table", "no_such_table")
    with pytest.raises(CommandError, match=r"python manage\.py migrate"):
        call_command("otp_erase", ADA, "--dry-run")
