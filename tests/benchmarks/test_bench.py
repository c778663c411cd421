"""The command judges as it says: gates, exit status, what is missing, the plot. It measures nothing here."""

import json
import sys
from xml.etree import ElementTree

import pytest

from benchmarks import bench
from benchmarks.measuring import ROOT, row, times_faster, times_the_cost, verdict
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
        (times_faster("", 2, 20, 11, 20), "missed"),
        (times_faster("", 1, 11, 11, 20), "ok"),
        (times_faster("", 1, 20, 11, 20), "aim"),
        (times_the_cost("", 17, 10, 1.6, 1.3), "missed"),
        (times_the_cost("", 16, 10, 1.6, 1.3), "ok"),
        (times_the_cost("", 13, 10, 1.6, 1.3), "aim"),
        (row("", value=0, gate=1, aim=0), "aim"),
        (row("", value=2, gate=1, aim=0), "missed"),
        (times_faster("", 1, 2), ""),
    ],
)
def test_gate_and_aim_are_judged_in_the_direction_of_the_aim(line, judged):
    assert verdict(line) == judged


def test_a_missed_gate_is_exit_status_1(run):
    status, out = run({"drf": found(row("a view", value=12, gate=10, aim=5))}, "--only", "drf")
    assert status == 1
    assert "missed: a view" in out


def test_what_is_missing_is_named_and_no_failure(run):
    status, out = run({"redis": found(missing={"Redis": "not installed"})}, "--only", "redis")
    assert status == 0
    assert "NOT MEASURED: Redis: not installed" in out


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
