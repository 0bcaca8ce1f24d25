"""Text on a terminal: names of people, methods and files are text there, never markup and never escape codes.

A terminal that takes fewer signs than Unicode gets the nearest ones, so that it never ends a run.
"""

from __future__ import annotations

import codecs
import io
import logging
import sys
import unicodedata
from typing import Any

from rich.console import Console
from rich.text import Text

from cloakbench.datasets.redaction import without_secrets

_JOINERS = "\u200c\u200d"
"""Invisible, and part of how words of some languages and many pictograms are written."""
_PLAIN = {"–": "-", "—": "-", "±": "+-", "×": "x", "†": "+", "…": "...", "’": "'", "‘": "'", "“": '"', "”": '"'}
_NEAREST = "cloakbench.nearest"


def shown(text: str, keep: str = "") -> str:
    """A text as it may be printed: control signs, those that turn the direction of writing, and halves of pairs are
    written as escapes (``\\x1b``); those in ``keep`` stay."""
    return "".join(sign if sign in keep or _is_plain(sign) else _escape(sign) for sign in text)


def _is_plain(sign: str) -> bool:
    return sign.isprintable() or unicodedata.category(sign) == "Zs" or sign in _JOINERS


def _escape(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")


def plain(text: str, style: str = "") -> Text:
    """A text for a table, a title or a line, with nothing in it taken for markup."""
    return Text(shown(text, keep="\n"), style)


class Screen(Console):
    """A console on which every string is plain text; colours come from `plain` and from styles."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(shown(text, keep="\n\t"), **options)

    def path(self, line: str) -> None:
        """Print a line that holds a path, unbroken, so that it can be copied."""
        self.print(line, soft_wrap=True)


class ScreenFormatter(logging.Formatter):
    """Log lines for a terminal, without secrets."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name in logging
        return shown(without_secrets(super().formatMessage(record)), keep="\n\t")


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
    return "".join(_PLAIN.get(sign, _escape(sign)) for sign in signs), problem.end
