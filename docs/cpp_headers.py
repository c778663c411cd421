"""The reference of the C++ core, made of its headers: what stands above a declaration is its contract.

Every header of the core reads the same: a comment on what it is about, then declarations with a comment above each.
That is little enough to be read by a few lines here, and needs no tool that understands C++.
"""

import re
from pathlib import Path
from typing import NamedTuple

_COMMENT = re.compile(r"^// ?", re.MULTILINE)
_PRIVATE = re.compile(r"^\n? private:$.*?(?=^\};)", re.MULTILINE | re.DOTALL)
_NAMES = (
    re.compile(r"(?:class|struct|enum class) (\w+)"),
    re.compile(r"(?:using|inline constexpr [\w:]+) (\w+) ="),
    re.compile(r"(\w+)\("),
)


class Declaration(NamedTuple):
    """One declaration, or a few that share a comment."""

    name: str
    contract: str
    code: str


def introduction(header: str) -> str:
    """Return what *header* says of itself in its first lines."""
    return _prose(header.partition("\n\n")[0])


def declarations(header: str) -> list[Declaration]:
    """Return what *header* declares, in order, without what is private."""
    body = header.partition("namespace otp_actions {\n")[2].rpartition("\n}  // namespace otp_actions")[0]
    body = _PRIVATE.sub("", body)
    found = []
    for block in _blocks(body):
        code = re.sub(r"\A(?://.*\n)+", "", block)
        contract = _prose(block.removesuffix(code)) if code != block else ""
        found.append(Declaration(_name(code), contract, code))
    return found


def markdown(folder: Path) -> str:
    """Return a section for each header in *folder*."""
    parts = []
    for path in sorted(folder.glob("*.h")):
        header = path.read_text()
        parts.append(f"## {path.name}\n\n{introduction(header)}\n")
        for one in declarations(header):
            parts.append(f"### {one.name}\n\n{one.contract}\n\n```cpp\n{one.code}\n```\n")
    return "\n".join(parts)


def _blocks(body: str) -> list[str]:
    """Split at the blank lines that lie within no braces."""
    blocks, current, depth = [], [], 0
    for line in body.splitlines():
        if line or depth:
            current.append(line)
        elif current:
            blocks.append(current)
            current = []
        code = line.partition("//")[0]
        depth += code.count("{") - code.count("}")
    return ["\n".join(block).strip() for block in [*blocks, current] if block]


def _name(code: str) -> str:
    for pattern in _NAMES:
        if found := pattern.search(code):
            return found[1]
    raise ValueError(f"No name in this declaration:\n{code}")


def _prose(comment: str) -> str:
    """Return *comment* as Markdown; in what is not code, nothing is markup."""
    text = _COMMENT.sub("", comment).replace("WARNING:", "**Warning:**")
    parts = re.split(r"(`[^`]*`|\*\*Warning:\*\*)", text)
    parts[::2] = [re.sub(r"([\\*<>\[\]_])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts).strip()
