"""The end of a run on one screen."""

from __future__ import annotations

import re
from dataclasses import replace

from rich.console import Console

from cloakbench.bench.report.terminal import summary


def printed(results) -> str:
    console = Console(width=120, record=True, file=None, quiet=False, color_system=None)
    with console.capture() as capture:
        console.print(summary(results))
    return capture.get()


def test_controls_first_then_methods_with_rule_interval_and_n(results):
    text = printed(results)
    assert "protection success rate (P2), %" in text
    rows = [line for line in text.splitlines() if "│" in line]
    assert rows[0].startswith("│ Clean photo")
    assert rows[1].startswith("│ Random sign")
    pgd = next(line for line in rows if "PGD" in line and "8/255" in line)
    assert re.search(r"\d \[\d+\.\d, \d+\.\d\]", pgd)
    assert "500" in pgd


def test_gap_and_failures_are_shown(results):
    text = printed(results)
    assert next(line for line in text.splitlines() if "FGSM" in line and "4/255" in line).count("–") == 3
    assert "7 entries under Failures and gaps" in text
    assert "nan" not in text.lower()


def test_flags_are_shown(small):
    frame = small.measurements
    weak = frame.assign(value=frame["value"].where(~frame["white_box"], 0.4))
    assert "white-box PSR Top-1 on arcface is only 40.0 %" in printed(replace(small, measurements=weak)).replace(
        "\n", ""
    )


def test_names_are_not_read_as_markup(small):
    assert "[bold]" in printed(replace(small, name="[bold]"))
