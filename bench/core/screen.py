"""Text on a terminal: names of people, methods and files are text there, never markup and never escape codes.

A terminal that takes fewer signs than Unicode gets the nearest ones, so that it never ends a run.
"""

from __future__ import annotations

import codecs
import io
import logging
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from cloakbench.bench.core.escape import code_point, terminal
from cloakbench.bench.core.redaction import without_secrets

_PLAIN = {"–": "-", "—": "-", "−": "-", "±": "+-", "×": "x", "†": "+", "¶": "o", "…": "..."}
_PLAIN |= {"’": "'", "‘": "'", "“": '"', "”": '"'}
_NEAREST = "cloakbench.nearest"


def plain(text: str, style: str = "") -> Text:
    """A text for a table, a title or a line, with nothing in it taken for markup."""
    return Text(terminal(text, keep="\n"), style)


class Screen(Console):
    """A console on which every string is plain text; colours come from `plain` and from styles."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(terminal(text, keep="\n\t"), **options)

    def path(self, line: str) -> None:
        """Print a line that holds a path, unbroken, so that it can be copied."""
        self.print(line, soft_wrap=True)


class ScreenFormatter(logging.Formatter):
    """Log lines for a terminal, without secrets."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name in logging
        return terminal(without_secrets(super().formatMessage(record)), keep="\n\t")


def accept_every_sign() -> None:
    """Let both output streams write what their encoding lacks as the nearest signs, or as escapes."""
    codecs.register_error(_NEAREST, _nearest)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_NEAREST)


def _nearest(problem: UnicodeError) -> tuple[str, int]:
    if not isinstance(problem, UnicodeEncodeError):
        raise problem
    signs = problem.object[problem.start : problem.end]
    return "".join(_PLAIN.get(sign) or code_point(sign) for sign in signs), problem.end
