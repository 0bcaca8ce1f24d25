"""Tables as papers take them over: they fit, they compile, and bold is what a test did not tell apart."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from cloakbench.bench.core.ranges import SettingError
from cloakbench.bench.report.drawing.plotting import TWO_COLUMNS
from cloakbench.bench.report.drawing.styles import STYLES, figure_style, styled_bytes
from cloakbench.bench.report.papers.latex import PAGE_LINES, chosen, paper_latex
from cloakbench.bench.report.papers.page import RunPart, index_page
from cloakbench.bench.report.papers.store import document
from cloakbench.bench.report.results import Results
from cloakbench.bench.report.table import Column, Number, Row, Table


def table(columns: int = 1, label: str = "PGD") -> Table:
    """Three methods, of which two were not told apart, with ``columns`` rates."""
    heads = tuple(Column(f"rate{n}_percent", f"Target {n}: Top-1", interval="always") for n in range(columns))
    values = [(63.2, "a"), (63.0, "a"), (9.5, "b"), (75.5, "small")]
    rows = tuple(
        Row(f"{label} {value}", (*(Number(value, value - 5, value + 5) for _ in heads), letters), "8/255")
        for value, letters in values
    )
    return Table("rates", "Rates", "Per cent & more.", "Method", (*heads, Column("ties", "Ties")), rows)


def test_bold_is_what_was_not_told_apart_from_the_best() -> None:
    text = paper_latex(table())
    assert re.findall(r"\\bfseries ([\d.]+)", text.partition(r"\begin{table}")[2]) == ["63.2", "63.0"]
    assert "S[table-format=2.1]@{\\,}l" in text


@pytest.mark.parametrize(("columns", "float_", "panels"), [(1, "table", 1), (4, "table*", 1), (12, "table*", 2)])
def test_wide_tables_take_two_columns_and_wider_ones_panels(columns: int, float_: str, panels: int) -> None:
    text = paper_latex(table(columns))
    assert rf"\begin{{{float_}}}[t]" in text
    assert text.count(r"\begin{tabular}") == panels
    assert "adjustbox" not in text, "nothing is shrunk"
    assert len(re.findall(r"& *\{\\scriptsize", text)) == 4 * columns, "no number is lost"


def test_columns_are_chosen_by_their_keys_and_ties_come_with_their_numbers() -> None:
    kept = chosen(table(3), ["rate2*"])
    assert kept is not None
    assert [column.key for column in kept.columns] == ["rate2_percent", "ties"]
    assert chosen(table(3), ["nothing*"]) is None


def long_table(budgets: int, columns: int = 1) -> Table:
    """Many rows in sections of four."""
    one = table(columns)
    rows = [Row(f"{row.label} {n}", row.cells, f"{n}/255") for n in range(budgets) for row in one.rows]
    return Table("long", one.title, one.caption, one.stub, one.columns, tuple(rows))


def test_a_table_longer_than_a_page_goes_on_before_a_section_under_the_same_number() -> None:
    text = paper_latex(long_table(25))
    floats = text.split(r"\begin{table}")[1:]
    assert len(floats) == 3 and text.count(r"\label") == 1
    assert all("continued" in one and r"\addtocounter{table}{-1}" in one for one in floats[1:])
    lines = [len(re.findall(r"\\\\$", one, re.MULTILINE)) for one in floats]
    assert max(lines) <= PAGE_LINES and sum(len(re.findall(r"^PGD .*", one, re.MULTILINE)) for one in floats) == 100
    assert all(re.search(r"\\midrule\n\\multicolumn.*\nPGD 63.2", one) for one in floats), "each begins with a section"
    # Panels of a wide one that do not fit on one page have floats of their own.
    assert paper_latex(long_table(12, 12)).count(r"\begin{table*}") == 4


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no TeX here")
def test_tables_compile_and_fit(tmp_path: Path) -> None:
    tables = [table(1), table(4), table(12, r"Evil \input{x} & $name$ ε †"), long_table(25), long_table(12, 12)]
    for number, one in enumerate(tables):
        (tmp_path / f"rates{number}.tex").write_text(paper_latex(one), encoding="utf-8")
    text = "".join(document("run_1", tables).partition(r"\input{")[:1])
    text += "\n".join(f"\\input{{rates{n}}}" for n in range(len(tables))) + "\n\\end{document}\n"
    (tmp_path / "all.tex").write_text(text, encoding="utf-8")
    call = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, check=False)
    if b"siunitx.sty' not found" in done.stdout:
        pytest.skip("this TeX has no siunitx")
    assert done.returncode == 0, done.stdout.decode("latin-1")[-2000:]
    log = (tmp_path / "all.log").read_text("latin-1")
    assert "Overfull" not in log and "Float too large" not in log


def test_styles_scale_a_figure_as_a_whole(tmp_path: Path) -> None:
    figure = Figure(figsize=(TWO_COLUMNS, 2))
    figure.add_subplot().set_title("one size fits all")
    sizes = {}
    for name in ("slides", "screen"):
        path = tmp_path / f"{name}.png"
        path.write_bytes(styled_bytes(figure, ".png", STYLES[name]))
        sizes[name] = Image.open(path).width
    assert sizes["slides"] == pytest.approx(13.33 * 144, abs=2)
    assert sizes["screen"] == pytest.approx(960, abs=2)
    drawn = styled_bytes(figure, ".svg", STYLES["slides"])
    assert f'width="{13.33 * 72:.6g}pt"'.encode()[:11] in drawn and drawn == styled_bytes(
        figure, ".svg", STYLES["slides"]
    )
    assert STYLES["slides"].text_points > 14


def test_a_style_that_does_not_exist_is_one_line() -> None:
    with pytest.raises(SettingError, match="one of paper, slides, screen"):
        figure_style("poster")


def test_names_in_the_index_are_text(results: Results) -> None:
    evil = "<script>alert(1)</script>"
    page = index_page([RunPart(evil, results, (table(1, evil),), (("psr", evil),), ".pdf")])
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", ""), "nothing comes from elsewhere"
