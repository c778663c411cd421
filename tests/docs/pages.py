"""The Markdown pages of the project, and the fenced blocks in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (shop/\w+\.py)\n")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line of the page that the text begins on."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The file that the block belongs to, if its first line names one: ``# shop/views.py``."""
        named = _FILE.match(self.text)
        return named[1] if named else None


def name_of(page: Path) -> str:
    """The page's path, as people write it."""
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path, language: str) -> list[Block]:
    """The blocks of *page* in *language*, in order."""
    text = page.read_text()
    return [
        Block(found[1], found[2], text.count("\n", 0, found.start(2)) + 1)
        for found in _BLOCK.finditer(text)
        if found[1] == language
    ]


def pages_with(language: str) -> list[Path]:
    """The pages that hold at least one block in *language*."""
    return [page for page in PAGES if blocks_of(page, language)]


def rows_of(page: Path, first_cell: str) -> list[list[str]]:
    """The cells of each table row of *page* whose first cell is *first_cell*."""
    lines = page.read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [row for row in rows if row[0] == first_cell]


def slugs_of(page: Path) -> set[str]:
    """The anchors of the headings of *page*, made as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(_BLOCK, "", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
