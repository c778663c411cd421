"""The lists of faults that ``make mutants`` makes on purpose: they follow the code, or say where they do not."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def mutants():
    spec = importlib.util.spec_from_file_location("mutants", ROOT / "tools" / "mutants.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_fault_of_the_core_can_be_made(mutants):
    faults = mutants.read_list("core.toml", "mutant")
    assert len({(fault["file"], fault["before"], fault["after"]) for fault in faults}) == len(faults) > 100
    assert all(fault["lets_in"] for fault in faults)


def test_every_line_that_is_excused_is_there(mutants):
    mutants.read_excused()


@pytest.mark.parametrize("before", ["no such code", "now >= challenge."])
def test_fault_that_is_not_there_exactly_once_is_an_error(mutants, monkeypatch, tmp_path, before):
    (tmp_path / "core.toml").write_text(f'[[mutant]]\nfile = "cpp/src/verdict.cc"\nbefore = "{before}"\nafter = ""\n')
    monkeypatch.setattr(mutants, "LISTS", tmp_path)
    with pytest.raises(SystemExit, match="not once"):
        mutants.read_list("core.toml", "mutant")


def test_excuse_for_a_line_that_is_gone_is_an_error(mutants, monkeypatch, tmp_path):
    entry = '[[equivalent]]\nfile = "python/otp_actions/signals.py"\nbefore = "gone"\nafter = ""\nbecause = ""\n'
    (tmp_path / "python.toml").write_text(entry)
    monkeypatch.setattr(mutants, "LISTS", tmp_path)
    with pytest.raises(SystemExit, match="no such line any more"):
        mutants.read_excused()
