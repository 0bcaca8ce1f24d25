"""Text on a terminal: names of people, methods and files are text there, never markup and never escape codes.

A terminal that takes fewer signs than Unicode gets the nearest ones, so that it never ends a run.
"""

from __future__ import annotations

import codecs
import io
import logging
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.table import Table
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

    def note(self, line: str, style: str = "dim") -> None:
        """Print a sentence, broken between words only: a path or an address in it stays whole, however long it is."""
        folded = textwrap.fill(line, self.width, break_long_words=False, break_on_hyphens=False, subsequent_indent="  ")
        self.print(folded, style=style, soft_wrap=True)


class Fitted:
    """A table for any screen: where there is no room for all of it, columns are left out and the caption says so.

    Args:
        make: number of columns beside the first to the table.
        columns: how many there are.
        least: so many are always shown; where even they are too wide, rich wraps them.
        rest: where the other columns are.
    """

    def __init__(self, make: Callable[[int], Table], columns: int, least: int, rest: str) -> None:
        self._make, self._columns, self._least, self._rest = make, columns, min(least, columns), rest

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        endless = options.update(width=10_000)
        shown, table = self._columns, self._make(self._columns)
        while shown > self._least and Measurement.get(console, endless, table).maximum > options.max_width:
            shown -= 1
            table = self._make(shown)
        if shown < self._columns:
            left_out = self._columns - shown
            told = f"{left_out} more column{'s' * (left_out > 1)} in {self._rest}"
            table.caption = Text("\n").join(part for part in (table.caption, plain(told)) if isinstance(part, Text))
        yield table


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
