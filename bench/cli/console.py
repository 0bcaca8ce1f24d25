"""The console that every command prints to."""

from __future__ import annotations

from cloakbench.bench.core.screen import Screen


def wide_console() -> Screen:
    """As wide as the terminal, and wide enough for a table where there is none."""
    console = Screen()
    return console if console.is_terminal else Screen(width=120)
