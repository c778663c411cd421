"""What ``make mutants`` does: its lists of faults follow the code, and it knows what a test has noticed."""

import importlib.util
import json
import subprocess
import sys
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


# --- What counts as noticed, and for how long -------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path):
    """A tree as mutmut leaves it, with a test of the group, one of another, a helper and an excuse."""
    files = ["unit/test_it.py", "full/test_more.py", "full/helper.py", "vectors/one.txt", "mutants/python.toml"]
    for name in (f"tests/{file}" for file in files):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("before")
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    (tmp_path / "setup.cfg").write_text("")
    (tmp_path / "mutants").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        (None, True),
        ("tests/unit/test_it.py", False),
        ("tests/full/helper.py", False),
        ("tests/vectors/one.txt", False),
        ("setup.cfg", False),
        ("tests/full/test_more.py", True),
        ("tests/mutants/python.toml", True),
    ],
)
def test_outcomes_are_forgotten_when_the_tests_changed(mutants, tree, changed, kept):
    mutants.forget_if_tests_changed(tree, ["tests/unit"])
    assert not (tree / "mutants").exists()  # Nobody knows with which tests they were found.
    (tree / "mutants").mkdir()
    if changed:
        (tree / changed).write_text("weaker")
    mutants.forget_if_tests_changed(tree, ["tests/unit"])
    assert (tree / "mutants").exists() == kept


def test_outcomes_are_forgotten_when_a_test_is_gone(mutants, tree):
    mutants.forget_if_tests_changed(tree, ["tests/unit"])
    (tree / "mutants").mkdir()
    (tree / "tests/unit/test_it.py").unlink()
    mutants.forget_if_tests_changed(tree, ["tests/unit"])
    assert not (tree / "mutants").exists()


def test_only_a_failed_run_is_not_tried_again(mutants, tmp_path):
    meta = tmp_path / "meta"
    codes = {code: code for code in (0, 1, 2, 3, 5, 33, 34, 35, 36, 37, 24, -24, 152, 255, -9, -11, -1)}
    meta.write_text(json.dumps({"exit_code_by_key": codes}))
    mutants.retry(meta)
    left = json.loads(meta.read_text())["exit_code_by_key"]
    assert {int(name) for name, code in left.items() if code is not None} == {1, 3}


class Runs:
    """Stands for ``subprocess.run``: each call ends as the next of *outcomes* says, a status or "time-out"."""

    def __init__(self, *outcomes, stdout=b""):
        self.outcomes = list(outcomes)
        self.stdout = stdout

    def __call__(self, command, **options):
        outcome = self.outcomes.pop(0)
        if outcome == "time-out":
            raise subprocess.TimeoutExpired(command, 1)
        return subprocess.CompletedProcess(command, outcome, self.stdout, b"")


@pytest.mark.parametrize(
    ("outcome", "stdout", "survives"),
    [
        (0, b"", True),
        (1, b"", False),
        (2, b"! Interrupted: 1 error during collection !", False),
        (2, b"! KeyboardInterrupt !", True),
        (3, b"", True),
        (4, b"", True),
        (4, b"ImportError while loading conftest", False),
        (5, b"", True),
        (-9, b"", True),
        ("time-out", b"", False),
    ],
)
def test_fault_is_noticed_by_all_tests_only_if_one_fails(mutants, monkeypatch, tree, outcome, stdout, survives):
    monkeypatch.setattr(mutants.subprocess, "run", Runs(outcome, stdout=stdout))
    change = ("name", "before", "after")
    assert mutants.survives_all(tree, ["tests/unit"], change) == survives
    assert mutants.survives_all(tree, ["tests/unit"], change) == survives  # Known by now.


def test_failure_with_nothing_broken_is_not_remembered(mutants, monkeypatch, tree):
    monkeypatch.setattr(mutants.subprocess, "run", Runs(1, 0))
    assert not mutants.survives_all(tree, ["tests/unit"], ("", "", ""))
    assert mutants.survives_all(tree, ["tests/unit"], ("", "", ""))


@pytest.mark.parametrize(
    ("outcomes", "passes"),
    [
        ([0, 0], True),
        ([0, 1], False),
        (["time-out", 0, 0], True),
        (["time-out", "time-out"], False),
        ([0, "time-out", 0], True),
        ([-11], False),
    ],
)
def test_core_that_is_late_once_is_not_broken(mutants, monkeypatch, outcomes, passes):
    runs = Runs(*outcomes)
    monkeypatch.setattr(mutants.subprocess, "run", runs)
    assert mutants.core_tests_pass() == passes
    assert not runs.outcomes


@pytest.fixture
def core_of_one_fault(mutants, monkeypatch, tmp_path):
    """Call it with what the tests of the core come to, for each time they run; it says whether all was noticed."""
    for name in ("cpp/src/a.cc", "cpp/include/a.h", "cpp/tests/test_a.cc", "cpp/fuzz/a", "tests/vectors/a.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("before")
    (tmp_path / "CMakeLists.txt").write_text("")
    fault = {"file": "cpp/src/a.cc", "before": "before", "after": "after", "lets_in": "anybody"}
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    monkeypatch.setattr(mutants, "WORK", tmp_path / "work")
    monkeypatch.setattr(mutants, "read_list", lambda name, table: [fault])
    monkeypatch.setattr(mutants, "build_core", lambda tree: "")

    def core_of_one_fault(*passes):
        runs = list(passes)
        monkeypatch.setattr(mutants, "core_tests_pass", lambda: runs.pop(0))
        noticed = mutants.core("", fresh=False)
        assert not runs
        return noticed

    return core_of_one_fault


@pytest.mark.parametrize("changed", ["cpp/tests/test_a.cc", "cpp/fuzz/a", "tests/vectors/a.txt", "cpp/src/a.cc"])
def test_fault_of_the_core_is_tried_again_when_the_tests_changed(core_of_one_fault, tmp_path, changed):
    assert core_of_one_fault(True, False)
    assert core_of_one_fault()
    (tmp_path / changed).write_text("before, but weaker")
    assert not core_of_one_fault(True, True)


@pytest.mark.parametrize("arguments", [["--only", "verdcit"], ["python", "--only", "verdict.cc"], ["verdict"]])
def test_nothing_to_break_is_an_error(mutants, monkeypatch, capsys, arguments):
    monkeypatch.setattr(sys, "argv", ["mutants.py", *arguments])
    with pytest.raises(SystemExit) as raised:
        mutants.main()
    assert raised.value.code == 2
    assert arguments[-1] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "tried"),
    [([], ["core", "python"]), (["python"], ["python"]), (["--only", "verdict.cc"], ["core"])],
)
def test_all_that_is_asked_for_is_tried(mutants, monkeypatch, arguments, tried):
    calls = []
    for what in ("core", "python"):
        monkeypatch.setattr(mutants, what, lambda only, fresh, what=what: calls.append(what) or what == "python")
    monkeypatch.setattr(sys, "argv", ["mutants.py", *arguments])
    assert mutants.main() == (1 if "core" in tried else 0)
    assert calls == tried


@pytest.fixture
def signals(mutants, monkeypatch, tree):
    """Call it with mutmut's outcomes for signals.py, where each changes x to y; it says whether enough was noticed."""
    meta = tree / "mutants" / f"{mutants.source_of('otp_actions.signals')}.meta"
    meta.parent.mkdir(parents=True)
    monkeypatch.setattr(mutants, "make_tree", lambda group: tree)
    monkeypatch.setattr(mutants, "retry", lambda meta: None)
    monkeypatch.setattr(mutants, "change_of", lambda tree, name: (name, "x", "y"))

    def signals(*statuses, **outcomes):
        meta.write_text(json.dumps({"exit_code_by_key": outcomes}))
        monkeypatch.setattr(mutants.subprocess, "run", Runs(0, *statuses))
        return mutants.python("signals", fresh=False)

    return signals


def test_mutant_that_was_not_tried_is_an_error(signals):
    assert signals(a=1)
    assert not signals(a=1, b=None)


@pytest.mark.parametrize(("statuses", "enough"), [([0, 1], True), ([0, 0], False)])
def test_mutant_that_timed_out_is_tried_with_all_tests(signals, statuses, enough):
    assert signals(*statuses, a=1, b=36) == enough


def test_nothing_is_noticed_by_tests_that_fail_anyway(signals):
    with pytest.raises(SystemExit, match="with nothing broken"):
        signals(1, a=1, b=0)


@pytest.mark.parametrize(("module", "enough"), [("signals", True), ("services", False)])
def test_excuse_is_for_one_file(mutants, monkeypatch, signals, module, enough):
    monkeypatch.setattr(mutants, "read_excused", lambda: {(f"python/otp_actions/{module}.py", "x", "y")})
    assert signals(0, 0, a=1, b=0) == enough
