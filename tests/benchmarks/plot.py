"""The plot of ``make bench``: two charts of bars in one SVG, drawn by hand since that needs no library.

The two colours are told apart by every kind of eye (they are from the palette of Okabe and Ito) and stand out on light
and dark; each bar has its figure beside it.
"""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

WIDTH, LEFT, BAR, ROOM = 760, 226, 16, 410  # ROOM is for the longest bar; to the right of it stands its figure.

PAIRS = {
    "generate_otp": "generate",
    "verify_otp": "verify",
    "verify_otp, 100 B of metadata": "verify 100 B",
    "verify_otp, 1 KB of metadata": "verify 1 KB",
    "verify_otp, a wrong code": "wrong code",
}
LEDGERS = ("None", "process", "Redis", "SQLite", "PostgreSQL", "MariaDB")

STYLE = """<style>
  .bg { fill: #ffffff; stroke: #c9d3d9; }
  text { fill: #16252d; font: 13px system-ui, sans-serif; }
  .title { font-size: 19px; font-weight: 600; }
  .head { font-size: 15px; font-weight: 600; }
  .end { text-anchor: end; }
  .small { font-size: 12px; fill: #475a66; }
  .ours { fill: #0072b2; }
  .other { fill: #e69f00; }
  @media (prefers-color-scheme: dark) {
    .bg { fill: #14191d; stroke: #39444c; }
    text { fill: #e4eaee; }
    .small { fill: #a9b6be; }
    .ours { fill: #56b4e9; }
  }
</style>"""

Bar = tuple[float, str]


def text(x: float, y: float, what: str, kind: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(what)}</text>'


def bar(x: int, y: int, width: float, kind: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{width:.1f}" height="{BAR - 2}" rx="2" class="{kind}"/>'


def chart(y: int, heading: str, groups: list[tuple[str, list[Bar]]]) -> tuple[list[str], int]:
    """Return the elements of one chart, and where it ends."""
    longest = max(value for _, bars in groups for value, _ in bars)
    parts = [text(24, y, heading, "head")]
    y += 16
    for label, bars in groups:
        parts.append(text(LEFT - 10, y + BAR * len(bars) / 2 + 4, label, "end"))
        for value, kind in bars:
            length = max(2, ROOM * value / longest)
            figure = f"{value:,.1f} µs" if value < 100 else f"{value:,.0f} µs"
            parts += [bar(LEFT, y, length, kind), text(LEFT + length + 8, y + 11.5, figure, "small")]
            y += BAR
        y += 10
    return parts, y


def plot(report: dict[str, Any]) -> str | None:
    """Return the SVG for *report*; None as long as a section that it shows was not measured."""
    if not {"services", "ledgers"} <= report.keys():
        return None
    found, ledgers = report["services"], report["ledgers"]["figures"]
    times = found["figures"]
    pairs = [
        (label, [(times[f"process {what}"], "ours"), (times[f"baseline {what}"], "other")])
        for label, what in PAIRS.items()
    ]
    key = [
        bar(LEFT, 55, 14, "ours"),
        text(LEFT + 22, 67, "django-otp-actions"),
        bar(LEFT + 170, 55, 14, "other"),
        text(LEFT + 192, 67, "the same in pure Python (release 0.1)"),
    ]
    upper, y = chart(96, 'Microseconds an operation, ledger "process": less is better', pairs)
    by_ledger = [(name, [(ledgers[name], "ours")]) for name in LEDGERS if name in ledgers]
    lower, y = chart(y + 28, "Microseconds a verification by ledger, one client, server on the same host", by_ledger)
    said = [f"{label}: {bars[0][0]:.1f} against {bars[1][0]:.1f} µs" for label, bars in pairs]
    said += [f"ledger {label}: {bars[0][0]:.0f} µs" for label, bars in by_ledger]
    height = y + 32
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img" aria-labelledby="title desc">'
    )
    return "\n".join(
        [
            head,
            '<title id="title">What one operation costs</title>',
            f'<desc id="desc">{escape("; ".join(said))}.</desc>',
            STYLE,
            f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="10" class="bg"/>',
            text(24, 36, "What one operation costs", "title"),
            *key,
            *upper,
            *lower,
            text(24, y + 16, f"{found['machine']}; {found['date'][:10]}", "small"),
            "</svg>\n",
        ]
    )
