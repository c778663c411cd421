"""What the code has, the pages name; what the pages name, exists."""

import ast
import re

import pytest

import otp_actions
from docs.pages import PAGES, ROOT, blocks_of, name_of, rows_of, slugs_of
from otp_actions import _core, conf, exceptions, services
from otp_actions.http.errors import body_of, status_of

SETTINGS = ROOT / "docs/settings.md"
ERRORS = ROOT / "docs/error-handling.md"
INSTALLATION = ROOT / "docs/installation.md"
README = ROOT / "README.md"
TOKEN_FORMAT = ROOT / "docs/token-format.md"
PACKAGE = ROOT / "python/otp_actions"

ERROR_CLASSES = [getattr(exceptions, name) for name in exceptions.__all__]
CHECK_IDS = sorted(
    {found for file in PACKAGE.rglob("*.py") for found in re.findall(r"otp_actions\.[EW]\d{3}", file.read_text())}
)


@pytest.mark.parametrize("name", conf.DEFAULTS)
def test_setting_is_documented_with_its_default(name):
    (row,) = rows_of(SETTINGS, f"`{name}`")
    if row[1] == "required":
        assert conf.DEFAULTS[name] is None
    else:
        assert ast.literal_eval(row[1].strip("`")) == conf.DEFAULTS[name]


def test_no_unknown_setting_is_documented():
    rows = re.findall(r"^\| `(OTP_\w+)`", SETTINGS.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(conf.DEFAULTS)


@pytest.mark.parametrize("check_id", CHECK_IDS)
def test_check_is_documented(check_id):
    assert len(rows_of(SETTINGS, f"`{check_id}`")) == 1


def test_no_unknown_check_is_documented():
    rows = re.findall(r"^\| `(otp_actions\.\w+)`", SETTINGS.read_text(), re.MULTILINE)
    assert sorted(rows) == CHECK_IDS


@pytest.mark.parametrize("page", [README, ERRORS], ids=name_of)
@pytest.mark.parametrize("error", ERROR_CLASSES, ids=lambda error: error.code)
def test_error_is_documented_with_its_status(page, error):
    (row,) = rows_of(page, f"`{error.code}`")
    assert row[1] == str(status_of(error()))
    if page == ERRORS:
        assert row[2] == f"`{error.__name__}`"


@pytest.mark.parametrize("page", [README, ERRORS], ids=name_of)
def test_no_unknown_error_is_documented(page):
    rows = re.findall(r"^\| `([A-Z]+(?:_[A-Z]+)+)` \| \d", page.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(error.code for error in ERROR_CLASSES)


def test_body_of_errors_page_is_the_one_sent():
    (block,) = blocks_of(ERRORS, "json")
    error = exceptions.InvalidOTPException("gAAAAA...", attempts_remaining=2)
    assert ast.literal_eval(block.text) == body_of(error)


@pytest.mark.parametrize(
    ("what", "limit"),
    [
        ("a token", _core.MAX_TOKEN_SIZE),
        ("metadata", _core.MAX_METADATA_SIZE),
        ("metadata", _core.MAX_METADATA_DEPTH),
        ("identifier", _core.MAX_IDENTIFIER_SIZE),
        ("purpose", _core.MAX_PURPOSE_SIZE),
        ("attempts", _core.MAX_RETRIES),
        ("digits of a code", _core.MIN_CODE_LENGTH),
        ("digits of a code", _core.MAX_CODE_LENGTH),
        ("what a user types", services._MAX_TYPED),
        ("keys in the ring", _core.MAX_KEYS),
    ],
)
def test_limit_is_the_one_of_the_code(what, limit):
    (row,) = rows_of(TOKEN_FORMAT, what)
    assert re.search(rf"\b{limit}\b", row[1])


def test_payload_fields_are_the_ones_of_a_context():
    _, context = services.generate_otp()
    for field in services.decrypt_context(context):
        assert len(rows_of(TOKEN_FORMAT, f"`{field}`")) >= 1


def test_key_labels_are_the_ones_of_the_core():
    labels = set(re.findall(r'"(otp_actions/v[^"]+)"', (ROOT / "cpp/src/keyring.cc").read_text()))
    assert labels == set(re.findall(r"^\| `(otp_actions/[^`]+)` \|", TOKEN_FORMAT.read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_resolve(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert linked.is_relative_to(ROOT), target
        assert not anchor or anchor in slugs_of(linked), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_targets_exist(page):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:`|^\$ )make ([a-z]+)", page.read_text(), re.MULTILINE)
    assert set(named) <= targets


@pytest.mark.parametrize(
    ("package", "classifier"), [("Python", "Programming Language :: Python"), ("Django", "Framework :: Django")]
)
def test_supported_versions_are_those_of_the_classifiers(package, classifier):
    (row,) = rows_of(INSTALLATION, package)
    known = re.findall(rf'"{classifier} :: (\d+\.\d+)"', (ROOT / "pyproject.toml").read_text())
    assert row[1] == ", ".join(known)


def test_changelog_and_installation_name_the_openssl_of_the_wheels():
    version = re.search(r"^version=(\S+)$", (ROOT / "tools/build_openssl.sh").read_text(), re.MULTILINE)[1]
    assert f"OpenSSL {version};" in (ROOT / "CHANGELOG.md").read_text()
    assert f"OpenSSL {version} " in INSTALLATION.read_text()


def test_paths_of_the_tree_exist():
    (tree,) = blocks_of(ROOT / "CONTRIBUTING.md", "text")
    folder = ""
    for line in tree.text.splitlines():
        name = re.split(r"  +", line.strip())[0]
        if not line.startswith(" "):
            folder = name if name.endswith("/") else ""
        path = name if not line.startswith(" ") else folder + name
        assert (ROOT / path).exists(), path


def test_every_decision_is_listed():
    first, *others = sorted((ROOT / "docs/adr").glob("*.md"))
    assert re.findall(r"\(([\w-]+\.md)\)", first.read_text()) == [other.name for other in others]


def test_changelog_has_this_version():
    assert re.search(
        rf"^## \[{re.escape(otp_actions.__version__)}\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
