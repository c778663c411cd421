"""The site: ``make docs`` builds it from the pages as they lie in the repository, README.md first.

The source directory is the root of the repository, so a relative link between two pages means the same here and on a
code host. Where a page stands in the navigation is said in ``navigation.txt``.
"""

import re
import shutil
import sys
from pathlib import Path

import django
from django.conf import settings

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

# The modules that autodoc imports want a configured Django, and models an app.
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "rest_framework", "otp_actions", "otp_actions.audit"],
    USE_I18N=False,
)
django.setup()

import cpp_headers  # noqa: E402 -- is found by the path above

from otp_actions import __version__  # noqa: E402 -- needs the settings above

project = "django-otp-actions"
author = "The django-otp-actions authors"
project_copyright = author
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
root_doc = "README"
include_patterns = ["*.md", "docs/**"]
exclude_patterns = [".*", "build"]

# A link that leads nowhere is an error. What other projects document cannot be looked up without a network.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!otp_actions\b).*"), ("py:.*", r"otp_actions\..*\._\w+")]

myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
copybutton_prompt_text = "$ "

html_theme = "furo"  # It uses the fonts that the reader has, and loads nothing from elsewhere.
html_title = f"{project} {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
_LIGHT, _DARK = "#0b5345", "#76d7c4"
_BRAND = ("color-brand-primary", "color-brand-content", "color-api-name", "color-api-pre-name")
html_theme_options = {
    "light_css_variables": dict.fromkeys(_BRAND, _LIGHT),
    "dark_css_variables": dict.fromkeys(_BRAND, _DARK),
}


def navigation():
    """Return ``navigation.txt`` without the entries that may be absent (``page?``) and are."""
    text = (HERE / "navigation.txt").read_text()

    def kept(entry):
        return f"{entry[1]}\n" if (HERE.parent / f"{entry[1]}.md").exists() else ""

    return re.sub(r"^(\S+)\?\n", kept, text, flags=re.MULTILINE)


def add_what_only_the_site_shows(app, docname, source):
    """Put the navigation below the pages that lead to others, and the contracts of the headers on theirs."""
    if docname == root_doc:
        source[0] += "\n" + navigation()
    elif docname == "docs/adr/0001-record-decisions":
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n\n000[2-9]*\n00[1-9]*\n```\n"
    elif docname == "docs/reference/cpp":
        source[0] += "\n" + cpp_headers.markdown(HERE.parent / "cpp/include/otp_actions")


def make_entry(app, error):
    """Let README also be the page that a web server shows first."""
    if error is None and app.builder.format == "html":
        out = Path(app.outdir)
        shutil.copyfile(out / f"{root_doc}.html", out / "index.html")


def setup(app):
    """Connect what is above."""
    app.connect("source-read", add_what_only_the_site_shows)
    app.connect("build-finished", make_entry)
