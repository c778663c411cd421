"""Have Python import the core of another build than the installed one: to be measured, or with sanitizers."""

from pathlib import Path

# Imported by every interpreter that starts, so that children of the tests have it too.
FIND_CORE = """
import importlib.util
import sys

class AnotherCore:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return importlib.util.spec_from_file_location(name, {core!r}) if name == "otp_actions._core" else None

sys.meta_path.insert(0, AnotherCore)
"""


def python_path(build: Path) -> str:
    """Return the ``PYTHONPATH`` with which every interpreter imports the extension that lies in *build*."""
    core = next((build / "cpp" / "bindings").glob("_core*.so"))
    site = build / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(FIND_CORE.format(core=str(core)))
    return str(site)
