"""Runs the blocks of a page: see ``test_snippets.py``."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.cache import cache
from django.db.models.signals import post_save

from docs.pages import ROOT, blocks_of, name_of
from otp_actions import signals, testing
from otp_actions.__main__ import generate_key

#: The one place for names that snippets use without defining them. None do so far.
SUPPLIED = {}

#: Commands in consoles that are not run here: `make` targets, files, and what curl sends are tried elsewhere.
NOT_RUN = re.compile(
    r"(make|pip install|python manage.py runserver|curl|cmake|\.venv/bin/(python -m pytest|nox|ctest)) ?"
)

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
            own = "INSTALLED_APPS, DATABASES = [*INSTALLED_APPS], {**DATABASES}\n"  # Pages change them in place.
            text = "from projects.minimal.settings import *\n" + own + self.settings
            text += '\nINSTALLED_APPS = list(dict.fromkeys(INSTALLED_APPS))\nROOT_URLCONF = "shop.urls"\n'
            text += 'SILENCED_SYSTEM_CHECKS = [*SILENCED_SYSTEM_CHECKS, "mail.E001"]\n'
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

    def start(self, *command):
        """Start *command* in the project; its output can be read."""
        env = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(self.root)]),
            "PYTHONUNBUFFERED": "1",
            "OTP_SIGNING_KEY": generate_key(),
            "BROKER_URL": "memory://",
        }
        return subprocess.Popen(
            command, cwd=self.root, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, *command):
        """Run *command* in the project and return its output."""
        with self.start(*command) as running:
            output, _ = running.communicate(timeout=600)
        assert running.returncode == 0, output
        return output


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
    told += (post_save,)
    receivers = [list(signal.receivers) for signal in told]
    with testing.fresh_ledger():
        yield run
    for signal, before in zip(told, receivers, strict=True):  # What a page connects, it need not disconnect.
        signal.receivers = before
        signal.sender_receivers_cache.clear()


@pytest.fixture
def run_python(play, project):
    """Run the Python of a page, the checks for its settings, and its tests."""

    def run(page):
        play(page)
        if project.settings:
            project.run(sys.executable, "manage.py", "check")
        for name in project.tests:
            output = project.run(
                *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio"),
                *("--rootdir", ".", "-c", os.devnull, "--ds", "shop.settings", name),
            )
            assert re.search(r"^\d+ passed", output, re.MULTILINE), output

    return run


@pytest.fixture
def run_console(project):
    """Run the commands of a page in a project that has its files."""

    def run(page):
        for block in blocks_of(page, "python"):
            if block.file is not None:
                project.add(block.file, block.text)
        for block in blocks_of(page, "console"):
            commands = re.findall(r"^\$ (.+?)(?:  +#.*)?$", block.text, re.MULTILINE)
            assert commands, f"line {block.line} of {name_of(page)}: a console block without a command"
            runnable = [command for command in commands if not NOT_RUN.match(command)]
            if runnable:
                project.run("sh", "-euc", "\n".join(runnable))

    return run
