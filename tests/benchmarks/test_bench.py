"""The command judges as it says: gates, exit status, what is missing, the plot. It measures nothing here."""

import json
import re
import sys
from xml.etree import ElementTree

import pytest

from benchmarks import bench, measuring
from benchmarks.measuring import GOALS, ROOT, row, times_faster, times_the_cost, verdict
from benchmarks.plot import LEDGERS, PAIRS, plot

FIGURES = {
    "services": {f"{whose} {what}": 3.0 for whose in ("process", "baseline") for what in PAIRS.values()},
    "ledgers": dict.fromkeys(LEDGERS, 5.0),
}


def found(*rows, missing=None, figures=None):
    """Return what a section reports."""
    return {
        "machine": "a <machine>",
        "date": "2026-01-01 00:00 UTC",
        "rows": rows,
        "figures": figures or {},
        "missing": missing or {},
    }


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Run the command with sections that report what they are given."""
    monkeypatch.setattr(bench, "REPORTS", tmp_path)

    def run(sections, *options):
        monkeypatch.setattr(bench, "measure", sections.get)
        monkeypatch.setattr(sys, "argv", ["bench", *options])
        return bench.main(), capsys.readouterr().out

    return run


@pytest.mark.parametrize(
    ("line", "judged"),
    [
        (lambda: times_faster("the more the better", 2, 20), "missed"),
        (lambda: times_faster("the more the better", 1, 11), "ok"),
        (lambda: times_faster("the more the better", 1, 20), "aim"),
        (lambda: times_the_cost("the less the better", 17, 10), "missed"),
        (lambda: times_the_cost("the less the better", 16, 10), "ok"),
        (lambda: times_the_cost("the less the better", 13, 10), "aim"),
        (lambda: row("  none at all", value=0), "aim"),
        (lambda: row("none at all", value=2), "missed"),
        (lambda: row("none at all", ours=2), ""),
        (lambda: times_faster("without a goal", 1, 2), ""),
    ],
)
def test_gate_and_aim_are_judged_in_the_direction_of_the_aim(line, judged, monkeypatch):
    goals = {"the more the better": (11, 20), "the less the better": (1.6, 1.3), "none at all": (1, 0)}
    monkeypatch.setattr(measuring, "GOALS", goals)
    assert verdict(line()) == judged


def test_a_missed_gate_is_exit_status_1(run):
    status, out = run({"drf": found({**row("a view", value=12), "gate": 10, "aim": 5})}, "--only", "drf")
    assert status == 1
    assert "missed: a view" in out


def test_what_is_missing_is_named_and_no_failure(run, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    status, out = run({"redis": found(missing={"Redis": "not installed"})}, "--only", "redis")
    assert status == 0
    assert "NOT MEASURED: Redis: not installed" in out


def test_what_is_missing_is_a_failure_where_nothing_may_be(run, monkeypatch):
    monkeypatch.setenv("CI", "true")
    assert run({"redis": found(missing={"Redis": "not installed"})}, "--only", "redis")[0] == 1


def test_a_section_that_fails_is_a_failure(run):
    status, out = run({"rings": found()}, "--only", "rings,redis")
    assert status == 1
    assert "the section redis failed" in out


def test_sections_that_were_not_asked_for_keep_their_figures(run, tmp_path):
    run({"drf": found(row("one", ours=1))}, "--only", "drf")
    run({"redis": found(row("two", ours=2))}, "--only", "redis")
    assert list(json.loads((tmp_path / "bench.json").read_text())) == ["drf", "redis"]
    assert {"one", "two"} <= set((tmp_path / "bench.txt").read_text().split())


def test_an_unknown_section_is_refused(run):
    with pytest.raises(SystemExit):
        run({}, "--only", "nonsense")


def test_plot_is_well_formed_and_says_what_it_shows(run, tmp_path):
    sections = {name: found(figures=figures) for name, figures in FIGURES.items()}
    run(sections, "--only", "services,ledgers", "--plot", str(tmp_path / "images/plot.svg"))
    svg = ElementTree.parse(tmp_path / "images/plot.svg").getroot()
    names = {element.tag.rpartition("}")[2]: element.text for element in svg}
    assert names["title"]
    assert "verify_otp: 3.0 against 3.0 µs" in names["desc"]
    assert len(svg.findall("{*}rect")) == 3 + 2 * len(PAIRS) + len(LEDGERS)


def test_there_is_no_plot_without_what_it_shows():
    assert plot({"services": found(figures=FIGURES["services"])}) is None


def test_the_page_shows_every_section():
    page = (ROOT / "docs/performance.md").read_text()
    assert [title for title in bench.SECTIONS.values() if title not in page] == []


def test_the_page_shows_every_goal_as_it_is_judged():
    page = (ROOT / "docs/performance.md").read_text()
    line = re.compile(r"^ *(.+?)  .* [<>]=([\d.]+)\S* +[<>]=([\d.]+)\S*  (aim|ok|missed)$", re.MULTILINE)
    assert {text: (float(gate), float(aim)) for text, gate, aim, _ in line.findall(page)} == GOALS


def test_the_decision_names_every_gate_that_was_lowered():
    decision = (ROOT / "docs/adr/0013-gates-guard-what-was-reached.md").read_text()
    rows = decision.partition("| Goal |")[2].partition("\n\n")[0].splitlines()[2:]
    gates = [float(gate) for line in rows for gate in re.findall(r"[\d.]+", line.split("|")[-2])]
    lowered = [text for text in GOALS if text.startswith(("verify_otp, to the best", "added"))]
    lowered[1:1] = [text for text in GOALS if re.search(r"ledger (None|process)|metadata$|p95", text)]
    assert gates == [GOALS[text][0] for text in lowered]
