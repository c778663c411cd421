"""What makes the site: ``docs/cpp_headers.py``, and the look that ``tools/build_docs.py`` takes at what was built."""

import importlib.util
import re
from xml.etree import ElementTree

import pytest

from docs.pages import ROOT, name_of

HEADERS = sorted((ROOT / "cpp/include/otp_actions").glob("*.h"))


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


cpp_headers = load(ROOT / "docs/cpp_headers.py")
build_docs = load(ROOT / "tools/build_docs.py")


# --- Contracts from headers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", HEADERS, ids=name_of)
def test_every_line_of_a_header_is_shown_except_what_is_private(path):
    header = path.read_text()
    shown = "\n".join(one.contract + "\n" + one.code for one in cpp_headers.declarations(header))
    shown = re.sub(r"\\(?=[\\*<>\[\]_])|\*\*", "", shown + cpp_headers.introduction(header)).replace(
        "Warning:", "WARNING:"
    )
    body = re.sub(r"^ private:$.*?(?=^\};)", "", header, flags=re.MULTILINE | re.DOTALL)
    for line in body.splitlines():
        text = re.sub(r"^// ?", "", line)
        if text and not text.startswith(("#", "namespace ", "}  // namespace")):
            assert text in shown


def test_private_members_are_not_shown():
    markdown = cpp_headers.markdown(ROOT / "cpp/include/otp_actions")
    assert "private:" not in markdown
    assert not re.findall(r"^  .* \w+_(?: = .*)?;$", markdown, re.MULTILINE)  # A member, by the style's name.


def test_contract_stands_beside_its_declaration():
    inside = "// F is *it*.\nvoid F();\n\nstruct S {\n\n  int a;\n};\n"
    found = cpp_headers.declarations(
        f"// Intro.\n\nnamespace otp_actions {{\n\n{inside}\n}}  // namespace otp_actions\n"
    )
    assert found == [("F", r"F is \*it\*.", "void F();"), ("S", "", "struct S {\n\n  int a;\n};")]


def test_declaration_without_a_name_is_refused():
    with pytest.raises(ValueError, match="No name"):
        cpp_headers.declarations("// I.\n\nnamespace otp_actions {\n\n;\n\n}  // namespace otp_actions\n")


# --- Drawings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((ROOT / "docs/images").glob("*.svg")), ids=name_of)
def test_drawing_can_be_read_aloud_and_in_the_dark(path):
    image = ElementTree.parse(path).getroot()
    assert image.get("role") == "img"
    for name in image.get("aria-labelledby").split():
        (text,) = [each.text for each in image.iter() if each.get("id") == name]
        assert text.strip()
    assert "prefers-color-scheme: dark" in path.read_text()


# --- The built site ---------------------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path):
    """Call it with the body of a page beside which there are another page and a style sheet."""

    def site(body, css=""):
        (tmp_path / "index.html").write_text(body)
        (tmp_path / "other.html").write_text('<h1 id="here">Other</h1>')
        (tmp_path / "site.css").write_text(css)
        return build_docs.problems_of(tmp_path)

    return site


@pytest.mark.parametrize(
    "body",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//cdn.example/x.css">',
        '<link rel="preconnect" href="https://fonts.example">',
        '<img src="http://cdn.example/x.png" alt="">',
        '<img srcset="x.png 1x, https://cdn.example/x.png 2x" alt="">',
        '<iframe src="https://cdn.example/"></iframe>',
        "<style>@font-face { src: url('https://fonts.example/x.woff2') }</style>",
        '<p style="background: url(//cdn.example/x.png)">',
    ],
)
def test_page_that_loads_from_another_host_is_found(site, body):
    assert len(site(body)) == 1


@pytest.mark.parametrize(
    "css", ["@import 'https://cdn.example/x.css';", "a { background: url(https://cdn.example/x) }"]
)
def test_style_sheet_that_loads_from_another_host_is_found(site, css):
    assert len(site("", css)) == 1


@pytest.mark.parametrize("link", ["nowhere.html", "other.html#nowhere", "#nowhere"])
def test_dead_link_is_found(site, link):
    assert site(f'<a href="{link}">x</a>') == [f"index.html links to {link}, which is not there"]


def test_what_a_page_may_do_is_no_problem(site):
    body = """<h1 id="top">Top</h1><link rel="stylesheet" href="site.css">
    <link rel="canonical" href="https://docs.example/">
    <a href="#top">x</a><a href="other.html#here">x</a><a href="https://www.example/">x</a>
    <a href="mailto:ada@example.com">x</a>
    <img src="data:image/png;base64,AA" alt="">"""
    assert site(body, "a { background: url(data:image/svg+xml,x) }") == []
