"""Check a built site: every link leads somewhere, and nothing on a page needs a network.

usage: python scripts/check_links.py SITE            (`make docs`)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("link", "href")}
"""What a browser fetches by itself."""
_NOT_FETCHED = ("canonical", "prev", "next", "alternate")


class Links(HTMLParser):
    """Names of places on a page, and what it links and loads."""

    def __init__(self) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.linked: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.places |= {value for name, value in attrs if name in ("id", "name") and value}
        for name in ("href", "src"):
            target = values.get(name)
            if not target or values.get("rel") in _NOT_FETCHED:
                continue
            (self.loaded if (tag, name) in _LOADED else self.linked).append(target)


def read(path: Path) -> Links:
    """The links of a page."""
    found = Links()
    found.feed(path.read_text(encoding="utf-8"))
    return found


def problems(site: Path) -> Iterator[str]:
    """A line for each link that leads nowhere, and each thing that would be fetched from elsewhere.

    A server shows the page of what is not there at any address, so its links begin at the root: it is left out.
    """
    pages = {path.resolve(): read(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}
    for path, links in pages.items():
        name = path.relative_to(site.resolve())
        for target in (*links.linked, *links.loaded):
            address = urlsplit(target)
            if address.scheme or address.netloc:
                if target in links.loaded and address.scheme != "data":
                    yield f"{name} loads {target}"
                continue
            wanted = (path.parent / unquote(address.path)).resolve() if address.path else path
            if wanted.is_dir():
                wanted /= "index.html"
            if not wanted.is_file():
                yield f"{name} links {target}, which is not there"
            elif address.fragment and wanted in pages and unquote(address.fragment) not in pages[wanted].places:
                yield f"{name} links {target}: there is no such place on that page"


def main(words: list[str]) -> int:
    site = Path(words[0]) if words else Path("site")
    if not (site / "index.html").is_file():
        sys.stderr.write(f"error: {site} holds no built site: make docs\n")
        return 2
    found = list(dict.fromkeys(problems(site)))
    for line in found[:50]:
        sys.stderr.write(f"error: {line}\n")
    if len(found) > 50:
        sys.stderr.write(f"and {len(found) - 50} more\n")
    sys.stdout.write(f"{len(list(site.rglob('*.html')))} pages, {len(found)} problems\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
