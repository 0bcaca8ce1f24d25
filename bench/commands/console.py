"""Where the commands print."""

from __future__ import annotations

from rich.console import Console


def wide_console() -> Console:
    """As wide as the terminal, and wide enough for a table where there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=120)
