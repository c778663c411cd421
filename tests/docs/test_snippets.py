"""What the pages show is run: Python, consoles, JSON.

A page is one story. Its Python blocks share a namespace, in order. A block whose first line is ``# shop/x.py`` is that
file of a small project around ``projects.minimal``; blocks of the same file are put together. Settings hold from there
to the end of the page; ``shop/test*.py`` run under pytest in a process of their own, as a reader would run them.
"""

import importlib
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from django.core import mail
from django.core.cache import cache
from django.test import Client
from django.utils import translation

from docs.pages import ROOT, blocks_of, name_of, pages_with
from otp_actions import signals, testing
from otp_actions.__main__ import generate_key

#: The one place for names that snippets use without defining them. None do so far.
SUPPLIED = {}

#: Commands in consoles that are not run here. `make` targets and files are checked elsewhere.
NOT_RUN = re.compile(r"(make|pip install|\.venv/bin/python -m pytest|cmake|ctest) ?")

MANAGE = """
import os, sys
from django.core.management import execute_from_command_line
os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
execute_from_command_line(sys.argv)
"""


class Project:
    """A directory that holds the files of one page."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tests = []
        (root / "shop").mkdir()
        (root / "manage.py").write_text(MANAGE)
        (root / "shop/__init__.py").touch()
        (root / "shop/urls.py").write_text("urlpatterns = []\n")
        self.settings = ""
        self.add("shop/settings.py", "")

    def add(self, name, text):
        """Add *text* to the file *name*; to settings, as if at the end of a project's own."""
        path = self.root / name
        if name == "shop/settings.py":
            self.settings += text
            text = "from projects.minimal.settings import *\n" + self.settings
            text += '\nINSTALLED_APPS = list(dict.fromkeys(INSTALLED_APPS))\nROOT_URLCONF = "shop.urls"\n'
        elif path.exists() and name != "shop/urls.py":
            text = path.read_text() + text
        path.write_text(text)
        if re.match(r"shop/test\w*\.py", name) and name not in self.tests:
            self.tests.append(name)

    def load(self, name):
        """Import the file *name* afresh and return the names in it."""
        importlib.invalidate_caches()
        module = name.removesuffix(".py").replace("/", ".")
        for known in [known for known in sys.modules if known == "shop" or known.startswith("shop.")]:
            del sys.modules[known]
        return vars(importlib.import_module(module))

    def run(self, *command):
        """Run *command* in the project and return its output."""
        env = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(self.root)]),
            "OTP_SIGNING_KEY": generate_key(),
        }
        done = subprocess.run(
            command, cwd=self.root, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield Project(tmp_path)
    for known in [known for known in sys.modules if known == "shop" or known.startswith("shop.")]:
        del sys.modules[known]


@pytest.fixture
def play(project, monkeypatch, settings):
    """Run the Python blocks of a page; return the namespace that they share."""
    monkeypatch.setenv("OTP_SIGNING_KEY", generate_key())
    cache.clear()

    def run(page):
        namespace = {"__name__": "snippets", **SUPPLIED}
        for block in blocks_of(page, "python"):
            if block.file is None:
                # Blank lines before it, so that a traceback names the line of the page.
                code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
                exec(code, namespace)
                continue
            project.add(block.file, block.text)
            if block.file in project.tests:
                continue
            names = project.load(block.file)
            if block.file == "shop/settings.py":
                for name, value in names.items():
                    if name.startswith("OTP_") or name == "REST_FRAMEWORK":
                        setattr(settings, name, value)
            elif block.file == "shop/urls.py":
                settings.ROOT_URLCONF = "shop.urls"
            namespace.update({name: value for name, value in names.items() if not name.startswith("__")})
        return namespace

    told = (signals.otp_generated, signals.otp_verified, signals.otp_failed, signals.otp_exhausted, signals.otp_revoked)
    receivers = [list(signal.receivers) for signal in told]
    with testing.fresh_ledger():
        yield run
    for signal, before in zip(told, receivers, strict=True):  # What a page connects, it need not disconnect.
        signal.receivers = before
        signal.sender_receivers_cache.clear()


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
@pytest.mark.parametrize("page", pages_with("python"), ids=name_of)
def test_python_runs(page, play, project):
    play(page)
    if project.settings:
        project.run(sys.executable, "manage.py", "check")
    for name in project.tests:
        output = project.run(
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio"),
            *("--rootdir", ".", "-c", os.devnull, "--ds", "shop.settings", name),
        )
        assert re.search(r"^\d+ passed", output, re.MULTILINE), output


@pytest.mark.parametrize("page", pages_with("console"), ids=name_of)
def test_console_runs(page, project):
    for block in blocks_of(page, "python"):
        if block.file is not None:
            project.add(block.file, block.text)
    for block in blocks_of(page, "console"):
        commands = re.findall(r"^\$ (.+?)(?:  +#.*)?$", block.text, re.MULTILINE)
        assert commands, f"line {block.line} of {name_of(page)}: a console block without a command"
        runnable = [command for command in commands if not NOT_RUN.match(command)]
        if runnable:
            project.run("sh", "-euc", "\n".join(runnable))


@pytest.mark.parametrize("page", pages_with("json"), ids=name_of)
def test_json_parses(page):
    for block in blocks_of(page, "json"):
        json.loads(block.text)


# --- What single pages claim ----------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_functions_of_readme_serve_the_whole_exchange(play):
    play(ROOT / "README.md")
    assert exchange("/request-code/", "/confirm-email/") == EXCHANGE


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
    (block,) = blocks_of(ROOT / "docs/errors.md", "po")
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
