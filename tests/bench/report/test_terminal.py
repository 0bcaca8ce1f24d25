"""The end of a run on one screen."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from dataclasses import replace

from rich.console import Console

from cloakbench.bench.core.screen import Screen
from cloakbench.bench.report.table import Column, Row, Table
from cloakbench.bench.report.terminal import summary, table_on_screen

PROTOCOLS = ("identification", "poisoning", "quality", "verification")


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


def at_80_columns(renderable: object) -> list[str]:
    screen = Screen(file=io.StringIO(), width=80, color_system=None)
    screen.print(renderable)
    return screen.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_a_summary_fits_80_columns_and_says_where_the_rest_is(results):
    titles = [f"{title}, bounded and with a long remark" for title in results.methods["title"]]
    lines = at_80_columns(summary(replace(results, methods=results.methods.assign(title=titles))))
    assert max(map(len, lines)) <= 80
    text = " ".join(lines)
    assert "Black-box Top-1" in text
    assert "3 more columns in report.md" in text
    assert not any("…" in line for line in lines)
    assert sum("8/255" in line for line in lines) == 10
    wide = printed(results)
    assert "SSIM" in wide
    assert "more column" not in wide


def test_a_wide_table_on_a_narrow_screen_keeps_its_first_columns(results):
    columns = tuple(Column(f"c{number}", f"Column {number}") for number in range(12))
    row = Row("pgd", tuple(f"value {number}" for number in range(12)))
    lines = at_80_columns(table_on_screen(Table("sweep", "Sweep", "All.", "Method", columns, (row,))))
    assert max(map(len, lines)) <= 80
    assert "Column 0" in lines[2]
    assert re.search(r"All\.\s+\d more columns in report\.md and tables/sweep\.md", "\n".join(lines))


def test_showing_a_finished_run_needs_no_matplotlib() -> None:
    protocols = ", ".join(f"cloakbench.bench.protocols.{name}.report" for name in PROTOCOLS)
    code = f"import sys, cloakbench.bench.experiment.run, cloakbench.bench.report.terminal, {protocols}"
    found = subprocess.run(
        [sys.executable, "-c", f"{code}; print({{'matplotlib', 'timm'}} & set(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "set()\n"
