"""The trail in the admin: everything to read, nothing to write."""

import re
from datetime import datetime, timedelta, timezone

import pytest
from django.contrib.admin import site
from django.contrib.auth.models import Permission, User
from django.db import connections, router
from django.db.models import Q
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from otp_actions.__main__ import generate_key
from otp_actions.audit.identifiers import columns_of
from otp_actions.audit.models import OTPEvent
from otp_actions.services import generate_decoy, generate_otp, verify_otp

pytestmark = pytest.mark.django_db(databases="__all__")

ADA, EVE = "ada@example.com", "eve@example.com"
LIST = "/admin/otp_actions_audit/otpevent/"
YEAR = 2027
START = datetime(YEAR, 1, 15, 8, tzinfo=timezone.utc)


@pytest.fixture(autouse=True)
def _trail(otp_settings, settings):
    settings.TIME_ZONE = "UTC"  # Without it MariaDB needs its tables of time zones: see docs/audit.md.


@pytest.fixture
def staff(client):
    """A client of somebody who may see the trail, and nothing else."""
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_otpevent"))
    client.force_login(user)
    return client


@pytest.fixture
def root(client):
    """A client of somebody who may do anything that can be done."""
    client.force_login(User.objects.create_superuser("root"))
    return client


def write(identifier=ADA, *, time=START, **fields):
    whom, digest = columns_of(identifier)
    fields = {"event": "generated", "outcome": "success", "purpose": "login", "jti": "0" * 32, **fields}
    return OTPEvent.objects.create(time=time, identifier=whom, identifier_digest=digest, **fields)


def shown(client, **query):
    """The ids of the events on the page."""
    answer = client.get(LIST, query)
    assert answer.status_code == 200, (answer.status_code, answer.get("Location"))
    return {event.pk for event in answer.context["cl"].result_list}


# --- To read ---------------------------------------------------------------------------------------------------------


def test_list_shows_each_event(staff):
    write(event="failed", outcome="refused", reason="INVALID_OTP", ip="192.0.2.1", jti="ab" * 16)
    page = staff.get(LIST).content.decode()
    for text in ("Failed", "Refused", "INVALID_OTP", columns_of(ADA)[0], "login", "192.0.2.1", "ab" * 16):
        assert text in page


def test_events_of_real_doors_are_shown(staff):
    code, context = generate_otp(ADA, purpose="login")
    verify_otp(code, context, purpose="login")
    generate_decoy(EVE, purpose="login")
    assert len(shown(staff)) == 3
    for event in OTPEvent.objects.all():
        assert staff.get(f"{LIST}{event.pk}/change/").status_code == 200


def test_newest_come_first(staff):
    for minutes in (1, 3, 2):
        write(time=START + timedelta(minutes=minutes))
    times = [event.time for event in staff.get(LIST).context["cl"].result_list]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize(
    ("field", "value", "other"),
    [
        ("event", "failed", "generated"),
        ("outcome", "refused", "success"),
        ("reason", "OTP_USED", "INVALID_OTP"),
        ("purpose", "reset", "login"),
    ],
)
def test_list_is_filtered(staff, field, value, other):
    wanted = write(**{field: value})
    write(**{field: other})
    page = staff.get(LIST).content.decode()
    query = {field: value} if f"?{field}={value}" in page else {f"{field}__exact": value}
    assert "?{}={}".format(*next(iter(query.items()))) in page, "The filter is offered."
    assert shown(staff, **query) == {wanted.pk}


def test_dates_lead_down_to_a_day(staff):
    days = {day: write(time=START + timedelta(days=day)).pk for day in (0, 1, 40, 400)}
    assert f"?time__year={YEAR}" in staff.get(LIST).content.decode()
    assert shown(staff, time__year=YEAR) == {days[0], days[1], days[40]}
    assert shown(staff, time__year=YEAR, time__month=1) == {days[0], days[1]}
    assert shown(staff, time__year=YEAR, time__month=1, time__day=16) == {days[1]}


@pytest.mark.parametrize("how", ["digest", "plain"])
@pytest.mark.parametrize(
    "typed", [ADA, f"  {ADA} ", "ada\N{FULLWIDTH COMMERCIAL AT}example.com", "{digest}", "{upper digest}"]
)
def test_search_finds_an_identifier(staff, settings, how, typed):
    settings.OTP_AUDIT_IDENTIFIERS = how
    wanted = write(ADA)
    write(EVE)
    write(None)
    digest = columns_of(ADA)[1]
    assert shown(staff, q=typed.replace("{digest}", digest).replace("{upper digest}", digest.upper())) == {wanted.pk}


@pytest.mark.parametrize("how", ["digest", "plain"])
@pytest.mark.parametrize("number", [42, -7, 2**63 - 1])
def test_search_finds_a_number(staff, settings, how, number):
    settings.OTP_AUDIT_IDENTIFIERS = how
    wanted = {write(number).pk, write(str(number)).pk}
    write(number - 1)
    assert shown(staff, q=str(number)) == wanted


def test_search_finds_rows_of_before_the_change_of_the_key_and_of_the_setting(staff, settings):
    wanted = {write(ADA).pk}
    settings.OTP_SIGNING_KEY_FALLBACKS = [settings.OTP_SIGNING_KEY]
    settings.OTP_SIGNING_KEY = generate_key()
    wanted.add(write(ADA).pk)
    settings.OTP_AUDIT_IDENTIFIERS = "plain"
    wanted.add(write(ADA).pk)
    write(EVE)
    assert shown(staff, q=ADA) == wanted
    settings.OTP_AUDIT_IDENTIFIERS = "digest"
    assert shown(staff, q=ADA) == wanted


@pytest.mark.parametrize(
    ("field", "stored", "typed"),
    [
        ("jti", "0123456789abcdef" * 2, "0123456789ABCDEF" * 2),
        ("ip", "192.0.2.1", " 192.0.2.1"),
        ("ip", "2001:db8::1", "2001:0DB8:0::0001"),
    ],
)
def test_search_finds_a_challenge_and_an_address(staff, field, stored, typed):
    wanted = write(**{field: stored})
    write()
    assert shown(staff, q=typed) == {wanted.pk}


def test_search_for_an_identifier_that_looks_like_an_address_finds_both(staff):
    wanted = {write("192.0.2.1").pk, write(ip="192.0.2.1").pk}
    write()
    assert shown(staff, q="192.0.2.1") == wanted


def upper(text):
    raise ValueError(text)


@pytest.mark.parametrize(
    "term", ["", " ", "a'b\"c", "%", "_", "x" * 3000, "9" * 19, "9" * 300, "\N{PILE OF POO}", "(", "-"]
)
def test_search_for_anything_else_finds_nothing_and_fails_at_nothing(staff, term):
    event = write()
    assert shown(staff, q=term) == (set() if term.strip() else {event.pk})


def test_search_survives_what_the_project_refuses_as_an_identifier(staff, settings):
    wanted = write(jti="ab" * 16)
    settings.OTP_CANONICAL_IDENTIFIER = f"{__name__}.upper"
    assert shown(staff, q="ab" * 16) == {wanted.pk}
    assert shown(staff, q=ADA) == set()


def test_detail_shows_every_field_and_offers_no_form(staff):
    event = write(ip="2001:db8::1", user_agent="<script>alert(1)</script>")
    page = staff.get(f"{LIST}{event.pk}/change/").content.decode()
    for text in ("2001:db8::1", "&lt;script&gt;", columns_of(ADA)[0], "0" * 32):
        assert text in page
    assert "<script>alert" not in page
    assert not re.search(r'<(?:input|textarea|select)[^>]* name="(?!csrf|next)', page), "no field to fill in"


# --- Not to write ----------------------------------------------------------------------------------------------------


def test_nobody_is_offered_to_add_change_or_delete(root):
    event = write()
    for url in (LIST, f"{LIST}{event.pk}/change/", f"{LIST}{event.pk}/history/"):
        answer = root.get(url)
        page = answer.content.decode()
        assert answer.status_code == 200
        for offer in ("/otpevent/add/", f"{event.pk}/delete/", "_save", "_selected_action"):
            assert offer not in page
    assert "/otpevent/add/" not in root.get("/admin/").content.decode()


@pytest.mark.parametrize("who", ["staff", "root"])
def test_what_nobody_is_offered_is_refused(who, request):
    client, event = request.getfixturevalue(who), write(purpose="login")
    fields = {"event": "verified", "outcome": "success", "purpose": "forged", "time_0": "2027-01-01", "time_1": "0:0"}
    for url in (f"{LIST}add/", f"{LIST}{event.pk}/change/", f"{LIST}{event.pk}/delete/"):
        assert client.post(url, {**fields, "post": "yes"}).status_code == 403
    for url in (f"{LIST}add/", f"{LIST}{event.pk}/delete/"):
        assert client.get(url).status_code == 403
    client.post(LIST, {"action": "delete_selected", "_selected_action": event.pk, "post": "yes"})
    client.post(LIST, {"form-0-id": event.pk, "form-0-purpose": "forged", "_save": "Save", "form-TOTAL_FORMS": 1})
    (left,) = OTPEvent.objects.all()
    assert left.purpose == "login"


def test_permissions_to_write_do_not_exist():
    codenames = Permission.objects.filter(content_type__app_label="otp_actions_audit").values_list(
        "codename", flat=True
    )
    assert list(codenames) == ["view_otpevent"]


def test_trail_is_for_those_who_may_see_it():
    assert Client().get(LIST).status_code == 302
    client = Client()
    client.force_login(User.objects.create_user("other", is_staff=True))
    event = write()
    for url in (LIST, f"{LIST}{event.pk}/change/"):
        assert client.get(url).status_code == 403


def test_admin_is_where_it_is_registered():
    assert reverse("admin:otp_actions_audit_otpevent_changelist") == LIST


# --- Many ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def many():
    """Ten thousand events of a hundred identifiers."""
    whom = [columns_of(f"user{i}@example.com") for i in range(100)]
    OTPEvent.objects.bulk_create(
        [
            OTPEvent(
                time=START + timedelta(minutes=i),
                event="generated",
                outcome="success",
                identifier=whom[i % 100][0],
                identifier_digest=whom[i % 100][1],
                purpose=("login", "reset")[i % 2],
                jti=f"{i:032x}",
                ip=f"192.0.2.{i % 250}",
            )
            for i in range(10_000)
        ],
        batch_size=2000,
    )


def queries(client, **query):
    alias = router.db_for_read(OTPEvent)
    with CaptureQueriesContext(connections[alias]) as captured:
        assert client.get(LIST, query).status_code == 200
    return [q["sql"] for q in captured if "otp_actions_event" in q["sql"]]


def test_number_of_queries_does_not_grow_with_the_events(staff, many):
    many_rows = queries(staff)
    OTPEvent.objects.all()[:1].get()
    OTPEvent.objects.filter(pk__gt=OTPEvent.objects.order_by("pk")[2].pk).delete()
    assert len(queries(staff)) == len(many_rows) <= 8


def test_search_does_not_count_what_it_did_not_find(staff, many):
    counts = [sql for sql in queries(staff, q="user7@example.com") if "COUNT" in sql]
    assert counts
    assert all("WHERE" in sql for sql in counts)


def test_page_has_a_hundred_events_and_leads_to_the_others(staff, many):
    assert len(shown(staff)) == 100
    assert len(shown(staff, p=100)) == 100
    assert len(shown(staff, q="user7@example.com")) == 100


@pytest.mark.django_db(transaction=True, databases="__all__")  # MariaDB commits before it analyses.
def test_indexes_are_used(staff, many):
    alias = router.db_for_read(OTPEvent)
    with connections[alias].cursor() as cursor:
        cursor.execute({"mysql": "ANALYZE TABLE otp_actions_event"}.get(cursor.db.vendor, "ANALYZE otp_actions_event"))

    def plan(query):
        return OTPEvent.objects.filter(query).order_by().explain()

    digest = columns_of("user7@example.com")[1]
    assert "otp_actions_event_identifier" in plan(Q(identifier_digest__in=[digest, "0" * 64]))
    assert "otp_actions_event_jti" in plan(Q(jti=f"{7:032x}"))
    assert "otp_actions_event_time" in plan(Q(time__lt=START + timedelta(minutes=10)))
    # The whole search of the admin, which asks for either.
    found, _ = site.get_model_admin(OTPEvent).get_search_results(None, OTPEvent.objects.all(), "user7@example.com")
    assert found.count() == 100
    search = found.order_by().explain()
    assert "otp_actions_event_identifier" in search
    assert "otp_actions_event_jti" in search
