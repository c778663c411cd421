"""What ``make`` calls is red when its promise is broken."""

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("coverage_report")


# --- make coverage ----------------------------------------------------------------------------------------------------


@pytest.fixture
def coverage(module, monkeypatch, tmp_path):
    """``coverage(*arguments, statuses=...)`` is its exit status, if the three runs of tests end with *statuses*."""
    monkeypatch.setattr(module, "BUILD", tmp_path)
    monkeypatch.setattr(module, "PASSED", tmp_path / "passed")
    monkeypatch.setattr(module, "build", lambda: None)
    monkeypatch.setattr(module.another_core, "python_path", str)
    monkeypatch.setattr(module, "report_python", list)
    monkeypatch.setattr(module, "report_cpp", list)
    monkeypatch.setattr(module, "show", lambda files: True)

    def coverage(*arguments, statuses=()):
        left = list(statuses)

        def call(*command, **variables):
            status = left.pop(0)
            if status == "interrupted":
                raise KeyboardInterrupt
            return status

        monkeypatch.setattr(module, "call", call)
        monkeypatch.setattr(sys, "argv", ["coverage_report.py", *arguments])
        try:
            return module.main()
        except KeyboardInterrupt:
            return 130

    return coverage


@pytest.mark.parametrize("statuses", [(1, 0, 0), (0, 1, 0), (0, 0, 2), (-11, 0, 0), (0, "interrupted")])
def test_report_of_a_run_that_failed_fails(coverage, statuses):
    assert coverage(statuses=(0, 0, 0)) == 0
    assert coverage("--report") == 0
    assert coverage(statuses=statuses) != 0
    assert coverage("--report") == 1


def test_report_of_no_run_fails(coverage):
    assert coverage("--report") == 1


def test_every_file_that_must_be_run_whole_is_there(module):
    whole = module.WHOLE
    assert [name for name in whole if not (ROOT / name).is_file()] == []
    assert whole == sorted(set(whole))
