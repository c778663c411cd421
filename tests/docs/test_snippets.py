"""What the pages show is run: Python, consoles, JSON.

A page is one story. Its Python blocks share a namespace, in order. A block whose first line is ``# shop/x.py`` is that
file of a small project around ``projects.minimal``; blocks of the same file are put together. Settings hold from there
to the end of the page; ``shop/test*.py`` run under pytest in a process of their own, as a reader would run them.
"""

import itertools
import json
import re
import struct
import sys
from urllib.request import urlopen

import django
import pytest
from django.core import mail
from django.test import Client
from django.utils import translation

from docs.pages import ROOT, blocks_of, name_of, pages_with
from otp_actions import testing

#: Needs the packages that it is about: ``test_integrations.py`` runs it.
INTEGRATIONS = ROOT / "docs/integrations.md"


def exchange(request_path, verify_path):
    """Ask for a code, send a wrong one, the right one, and that one again; return each status with its reason."""
    client = Client()
    context = client.post(request_path, {"email": "ada@example.com"}).json()["context"]
    code = re.search(r"\d{6}", mail.outbox[-1].body)[0]
    answers = []
    for otp in (testing.wrong_code(code), code, code):
        response = client.post(verify_path, {"otp": otp, "context": context})
        body = response.json()
        context = body.get("context", context)
        answers.append((response.status_code, body.get("error_code", body)))
    return answers


EXCHANGE = [(400, "INVALID_OTP"), (200, {"confirmed": "ada@example.com"}), (410, "OTP_USED")]


# --- Every page -----------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("page", [page for page in pages_with("python") if page != INTEGRATIONS], ids=name_of)
def test_python_runs(page, run_python):
    run_python(page)


@pytest.mark.parametrize("page", [page for page in pages_with("console") if page != INTEGRATIONS], ids=name_of)
def test_console_runs(page, run_console):
    run_console(page)


@pytest.mark.parametrize("page", pages_with("json"), ids=name_of)
def test_json_parses(page):
    for block in blocks_of(page, "json"):
        json.loads(block.text)


# --- What single pages claim ----------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_functions_of_readme_serve_the_whole_exchange(play):
    play(ROOT / "README.md")
    assert exchange("/request-code/", "/confirm-email/") == EXCHANGE


def test_curl_of_readme_is_answered_as_shown(project):
    """By the server that the page starts; the code is read where a reader reads it."""
    page = ROOT / "README.md"
    for block in blocks_of(page, "python"):
        if block.file is not None:
            project.add(block.file, block.text)
    console = "django.core.mail.backends.console.EmailBackend"
    mail_is = {"MAILERS": {"default": {"BACKEND": console}}} if django.VERSION >= (6, 1) else {"EMAIL_BACKEND": console}
    project.add("shop/settings.py", "".join(f"{name} = {value!r}\n" for name, value in mail_is.items()))
    (block,) = [block for block in blocks_of(page, "console") if "curl" in block.text]
    serve, *exchanges = re.findall(r"^\$ (.+)(?:\n([^$].*))?", block.text, re.MULTILINE)
    with project.start(*serve[0].replace("python", sys.executable, 1).split(), "--noreload", "0") as server:
        try:
            printed = ""

            def read_until(pattern):
                nonlocal printed
                for line in server.stdout:
                    printed += line
                    if found := re.search(pattern, line):
                        return found
                raise AssertionError(printed)

            real = {"localhost:8000": read_until(r"http://(127\.0\.0\.1:\d+)/")[1]}
            for command, shown in exchanges:
                for name, value in real.items():
                    command = command.replace(name, value)
                *_, address = words = command.split()
                fields = [after for word, after in itertools.pairwise(words) if word == "-d"]
                with urlopen(f"http://{address}", "&".join(fields).encode()) as answer:
                    body = answer.read().decode()
                assert re.fullmatch(re.escape(shown).replace("…", "[-_=A-Za-z0-9]+"), body)
                if "context" in body:
                    real["123456"] = read_until(r"Your code is (\d{6})\.")[1]
                    real["gAAAAA…"] = json.loads(body)["context"]
        finally:
            server.terminate()


@pytest.mark.django_db
def test_classes_of_readme_serve_the_whole_exchange(play, project, settings):
    names = play(ROOT / "README.md")
    urls = type(sys)("shop_class_urls")
    path = names["path"]
    urls.urlpatterns = [
        path("request-code/", names["RequestCode"].as_view()),
        path("confirm-email/", names["ConfirmEmail"].as_view()),
    ]
    settings.ROOT_URLCONF = urls
    assert exchange("/request-code/", "/confirm-email/") == EXCHANGE


@pytest.mark.django_db
def test_bad_address_is_refused_by_readme(play):
    play(ROOT / "README.md")
    assert Client().post("/request-code/", {"email": "nobody"}).status_code == 400


@pytest.mark.django_db
def test_deletion_of_quickstart_needs_the_users_own_code(play, rf, django_user_model):
    names = play(ROOT / "docs/quickstart.md")
    ada = django_user_model.objects.get(username="ada")
    eve = django_user_model.objects.create_user("eve", "eve@example.com")

    def send(view, user, method, **fields):
        from rest_framework.test import APIRequestFactory, force_authenticate

        request = getattr(APIRequestFactory(), method)("/", fields, format="json")
        force_authenticate(request, user)
        return view(request)

    def code_for(user):
        context = send(names["request_deletion"], user, "post").data["context"]
        return {"otp": re.search(r"\d{6}", mail.outbox[-1].body)[0], "context": context}

    assert send(names["delete_account"], ada, "delete").status_code == 400
    assert send(names["delete_account"], ada, "delete", **code_for(eve)).status_code == 403
    assert send(names["delete_account"], ada, "delete", **code_for(ada)).status_code == 204
    assert not django_user_model.objects.filter(username="ada").exists()


@pytest.mark.django_db
def test_viewset_of_quickstart_verifies_the_named_action(play, rf):
    names = play(ROOT / "docs/quickstart.md")
    view = names["DeviceViewSet"].as_view({"post": "create", "delete": "destroy"})
    assert view(rf.post("/")).data == {"verified": False}
    assert view(rf.delete("/"), pk=7).data["error_code"] == "MISSING_FIELDS"
    code, context = names["generate_otp"](identifier="ada", purpose="devices")
    request = rf.delete("/", json.dumps({"otp": code, "context": context}), content_type="application/json")
    assert view(request, pk=7).data == {"removed": 7, "by": "ada"}


@pytest.mark.django_db
def test_plain_views_of_quickstart_serve(play, rf):
    names = play(ROOT / "docs/quickstart.md")
    with testing.capture_otps() as issued:
        answer = names["IssueCode"].as_view()(rf.post("/", {"email": "ada@example.com"}))
    fields = {"otp": issued[-1].code, "context": json.loads(answer.content)["context"]}
    assert json.loads(names["subscribe"](rf.post("/", fields)).content) == {"subscribed": "ada@example.com"}
    assert names["subscribe"](rf.post("/", fields)).status_code == 410


@pytest.mark.django_db(transaction=True)
@pytest.mark.asyncio
async def test_async_views_of_quickstart_serve(play, async_rf):
    from asgiref.sync import sync_to_async

    names = await sync_to_async(play)(ROOT / "docs/quickstart.md")
    with testing.capture_otps() as issued:
        await names["issue_code"](async_rf.post("/"))
    fields = {"otp": issued[-1].code, "context": issued[-1].context}
    answer = await names["asubscribe"](async_rf.post("/", fields))
    assert json.loads(answer.content) == {"subscribed": "ada@example.com"}


def test_deploy_check_warns_of_the_default_ledger(project):
    assert "otp_actions.W002" in project.run(sys.executable, "manage.py", "check", "--deploy")


def test_translation_of_errors_page_is_used(tmp_path, settings):
    (block,) = blocks_of(ROOT / "docs/error-handling.md", "po")
    ids, texts = (re.findall(rf'^{kind} "(.*)"$', block.text, re.MULTILINE) for kind in ("msgid", "msgstr"))
    folder = tmp_path / "fr/LC_MESSAGES"
    folder.mkdir(parents=True)
    header = "Content-Type: text/plain; charset=UTF-8\nPlural-Forms: nplurals=2; plural=(n != 1);\n"
    (folder / "django.mo").write_bytes(compiled({"": header, **dict(zip(ids, texts, strict=True))}))
    settings.LOCALE_PATHS = [str(tmp_path)]
    code, context = testing.services.generate_otp()
    with translation.override("fr"), pytest.raises(testing.services.InvalidOTPException, match=r"Code erroné.*2"):
        testing.services.verify_otp(testing.wrong_code(code), context)


def compiled(messages):
    """The bytes of a .mo file (GNU gettext manual, "The Format of GNU MO Files")."""
    pairs = sorted((key.encode(), text.encode()) for key, text in messages.items())
    count, start = len(pairs), 28 + 16 * len(pairs)
    tables, strings = [b"", b""], b""
    for column in (0, 1):
        for pair in pairs:
            tables[column] += struct.pack("<II", len(pair[column]), start + len(strings))
            strings += pair[column] + b"\0"
    return struct.pack("<7I", 0x950412DE, 0, count, 28, 28 + 8 * count, 0, 0) + tables[0] + tables[1] + strings
