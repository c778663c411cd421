"""Build the site, and look at what was built. ``make docs`` calls this.

Warnings are errors. The pages must load nothing from another host, so that the site can be read where there is no
network and nobody is told who reads it; and each link within the site must lead somewhere.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "build" / "docs" / "html"

#: What a browser fetches by itself, and the attribute that says from where.
LOADED = dict.fromkeys(("audio", "embed", "iframe", "img", "input", "script", "source", "track", "video"), "src")
LOADED |= {"image": "href", "link": "href", "object": "data", "use": "href"}
NOT_FETCHED = {"canonical", "index", "search", "next", "prev", "author", "license", "copyright"}  # Of <link rel="...">.


class Page(HTMLParser):
    """What one page loads, links to, and can be linked at."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(html)
        self.loads += urls_of_css(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what *tag* refers to."""
        found = {name: value for name, value in attrs if value}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag == "link" and found.get("rel") in NOT_FETCHED:
            return
        if tag in LOADED and LOADED[tag] in found:
            self.loads.append(found[LOADED[tag]])
        self.loads += [part.split()[0] for part in found.get("srcset", "").split(",") if part.strip()]


def urls_of_css(text: str) -> list[str]:
    """Return what style sheets in *text* load."""
    return re.findall(r"""url\(\s*["']?([^"')\s]+)""", text) + re.findall(r"""@import\s+["']([^"']+)""", text)


def is_elsewhere(url: str) -> bool:
    """Say whether *url* names another host."""
    return urlsplit(url).scheme not in ("", "data") or url.startswith("//")


def problems_of(site: Path) -> list[str]:
    """Return what is wrong with the pages and style sheets in *site*."""
    pages = {path.resolve(): Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    problems = []
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        problems += [f"{name} loads {url}" for url in page.loads if is_elsewhere(url)]
        for link in page.links:
            if is_elsewhere(link):
                continue
            url = urlsplit(link)
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            anchors = pages[target].anchors if target in pages else set()
            if not target.exists() or (target in pages and url.fragment and unquote(url.fragment) not in anchors):
                problems.append(f"{name} links to {link}, which is not there")
    for path in sorted([*site.rglob("*.css"), *site.rglob("*.svg")]):
        loads = Page(path.read_text()).loads
        problems += [f"{path.relative_to(site)} loads {url}" for url in loads if is_elsewhere(url)]
    return problems


def main() -> int:
    print("==> Building the site", flush=True)
    shutil.rmtree(SITE, ignore_errors=True)
    options = ["--fail-on-warning", "--nitpicky", "--fresh-env", "--quiet", "--doctree-dir", "build/docs/doctrees"]
    command = [sys.executable, "-m", "sphinx", *options, "--conf-dir", "docs", ".", str(SITE)]
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode:
        return done.returncode
    problems = problems_of(SITE)
    for problem in problems:
        print(problem)
    if problems:
        return 1
    pages = len(list(SITE.rglob("*.html")))
    print(f"{pages} pages, every link within the site leads somewhere, nothing is loaded from another host.")
    print(f"Read it: {(SITE / 'index.html').relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
