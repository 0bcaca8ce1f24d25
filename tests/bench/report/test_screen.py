"""Names on the screen are text, whatever they hold and whatever the terminal can show."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from cloakbench.bench.core.escape import terminal
from cloakbench.bench.core.screen import Screen, ScreenFormatter, accept_every_sign, plain
from cloakbench.bench.report.results import Results
from cloakbench.bench.report.terminal import summary

NAMES = ["a[/b]", "[red]x", "old [2]/[bold]r", ":smile:", "été 写真", "a\u3000b", "\u200cنام", "x\\[y]"]


@pytest.fixture(scope="module")
def results(make_results: Callable[..., Results]) -> Results:
    return make_results(budgets=(8.0,), transforms=(), methods=("pgd",))


def printed(thing: object) -> str:
    screen = Screen(file=io.StringIO(), width=200, color_system=None)
    screen.print(thing)
    return screen.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_a_name_is_markup(name: str) -> None:
    table = Table(title=f"of {name}", caption=name)
    table.add_column(name)
    table.add_row(name)
    table.add_row(plain(name, "green"))
    assert printed(table).count(name) == 5
    assert name in printed(name)
    screen = Screen(file=io.StringIO(), width=20)
    screen.path(f"written: {name * 9}")
    assert name * 9 in screen.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "sign", ["\x1b[31m", "\x07", "\x00", "\r", "\x9b2J", "\u202e", "\u2066", "\u2028", "\udcff", "\x7f"]
)
def test_what_steers_a_terminal_is_shown_as_an_escape(sign: str) -> None:
    assert terminal(f"a{sign}b").isprintable()
    assert sign not in printed(f"a{sign}b")
    assert sign not in printed(plain(f"a{sign}b"))
    record = logging.LogRecord("x", logging.INFO, "", 0, "run %s", (f"a{sign}b",), None)
    assert sign not in ScreenFormatter("%(message)s").format(record)


@pytest.mark.parametrize("name", ["a[/b]", "[red]x", "a\x1b[31mb"])
@pytest.mark.parametrize("console", [Screen, Console])
def test_a_summary_shows_the_names_of_run_data_set_and_method_on_any_console(results, name, console) -> None:
    methods = results.methods.assign(name=name)
    file = io.StringIO()
    console(file=file, width=200, color_system=None).print(
        summary(replace(results, name=name, dataset=name, methods=methods))
    )
    text = file.getvalue()
    assert "\x1b" not in text
    assert f"{terminal(name)} on {terminal(name)}" in text


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_terminal_of_few_signs_ends_nothing(encoding: str, monkeypatch: pytest.MonkeyPatch, results) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    accept_every_sign()
    Screen(width=120).print(summary(replace(results, name="été 写真 😀")))
    out.write("±–\u2026\n")
    out.flush()
    text = out.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    assert text.splitlines()[-1].startswith("+-" if encoding == "ascii" else "±")
    assert "Black-box Top-1" in text


def test_every_console_of_the_engine_takes_strings_as_they_are() -> None:
    """A console of rich's own would read markup in names; the end of a sweep still has one, which prints Text."""
    bench = Path(__file__).parents[3] / "bench"
    own = {path.name for path in bench.rglob("*.py") if "import Console" in path.read_text(encoding="utf-8")}
    assert own - {"sweep.py"} == {"screen.py"}
