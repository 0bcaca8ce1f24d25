"""The commands and files that the project's documents show, as a reader would copy them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "CONTRIBUTING.md")

_FILE_NAME = re.compile(r"^# ([\w/.-]+\.\w+)$", re.MULTILINE)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Command:
    """A line of a ``sh`` block, comment cut off and continuation lines joined."""

    document: str
    block: int
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}: {self.text}"


def commands(document: str) -> list[Command]:
    """Every command of a document in its order."""
    text = (ROOT / document).read_text(encoding="utf-8")
    found = []
    for fence in _FENCE.finditer(text):
        if fence[1] != "sh":
            continue
        first = text.count("\n", 0, fence.start(2)) + 1
        lines = fence[2].splitlines()
        for number in range(len(lines)):
            if number and lines[number - 1].endswith("\\"):
                continue
            rest = "\n".join(lines[number:])
            whole = re.match(r"(?:[^\n]*\\\n)*[^\n]*", rest)
            assert whole is not None
            command = re.sub(r"(^|\s)#.*", "", whole[0].replace("\\\n", " "))
            if command.strip():
                found.append(Command(document, fence.start(), first + number, " ".join(command.split())))
    return found


def files(document: str, *languages: str) -> dict[str, str]:
    """Files that a document shows: name, from a comment in one of their first two lines, to content."""
    text = (ROOT / document).read_text(encoding="utf-8")
    found = {}
    for fence in _FENCE.finditer(text):
        name = _FILE_NAME.search("\n".join(fence[2].splitlines()[:2]))
        if fence[1] in languages and name is not None:
            found[name[1]] = fence[2]
    return found
