"""A table's text, letter by letter, and what must never be printed."""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import replace

import pytest

from cloakbench.bench.core.escape import latex
from cloakbench.bench.protocols.identification.ranks import Ranks
from cloakbench.bench.protocols.identification.tables import identification_tables
from cloakbench.bench.protocols.verification.report import thresholds_table
from cloakbench.bench.report.contents import contents
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.reporters import reporters
from cloakbench.bench.report.results import Results
from cloakbench.bench.report.table import Column, Number, Row, Table
from cloakbench.bench.report.table_text import to_csv, to_latex, to_markdown

GOLDEN_MARKDOWN = """\
**Protection success rate (PSR, P2), 8/255.** Per cent, higher protects more. P2: gallery of the person's other clean \
photos and the distractors; every protected photo is a trial. Each cell: Top-1 / Top-5.

| Method                 | n   |        arcface |       senet |          Black-box mean |
| ---------------------- | --- | -------------: | ----------: | ----------------------: |
| **Surrogate: arcface** |     |                |             |                         |
| Clean photo            | 100 |      2.0 / 0.4 |   4.0 / 0.8 |     4.0 [3.6, 4.4] / 0.8 [0.7, 0.9] |
| Random sign (control)  | 100 |      3.0 / 0.6 |   5.0 / 1.0 |     5.0 [4.5, 5.5] / 1.0 [0.9, 1.1] |
| PGD                    | 100 | 100.0 / 20.0†  | 50.0 / 10.0 |   50.0 [45.0, 55.0] / 10.0 [9.0, 11.0] |
"""

GOLDEN_CSV_LINES = [
    "surrogate,method,n,arcface_psr_p2_top1_percent,arcface_psr_p2_top1_percent_low,arcface_psr_p2_top1_percent_high,"
    "arcface_psr_p2_top1_percent_mark,",
    "Surrogate: arcface,Clean photo,100,2.000,1.800,2.200,,",
    "Surrogate: arcface,Random sign (control),100,3.000,2.700,3.300,,",
    "Surrogate: arcface,PGD,100,100.000,90.000,100.000,white_box,",
]

GOLDEN_LATEX_BODY = r"""\multicolumn{2}{c}{arcface} & \multicolumn{2}{c}{senet} & \multicolumn{2}{c}{Black-box mean} \\
\cmidrule(lr){3-4} \cmidrule(lr){5-6} \cmidrule(lr){7-8}
Method & n & Top-1 & Top-5 & Top-1 & Top-5 & Top-1 & Top-5 \\
\midrule
\multicolumn{8}{l}{\textit{Surrogate: arcface}} \\
"""


RANKS = Ranks("p2", (1, 5, 10))


@pytest.fixture(scope="module")
def tables(results: Results) -> list[Table]:
    """Every table of a report."""
    sections = contents(Measured(results), reporters(results))
    return [table for section in sections for table in (*section.tables, *section.linked)]


def squeeze(text: str) -> str:
    """Padding is for the eye; compare without it."""
    return re.sub(r" +", " ", re.sub(r"-{2,}", "--", text))


def test_markdown_of_a_small_run_is_exactly_this(small):
    table = identification_tables(Measured(small), RANKS, given_clean=False)[0]
    assert squeeze(to_markdown(table)).startswith(squeeze(GOLDEN_MARKDOWN))


def test_csv_of_a_small_run_is_exactly_this(small):
    lines = to_csv(identification_tables(Measured(small), RANKS, given_clean=False)[0]).splitlines()
    assert len(lines) == len(GOLDEN_CSV_LINES)
    assert all(line.startswith(golden) for line, golden in zip(lines, GOLDEN_CSV_LINES, strict=True))


def test_latex_of_a_small_run_is_exactly_this(small):
    text = to_latex(identification_tables(Measured(small), RANKS, given_clean=False)[0])
    assert GOLDEN_LATEX_BODY in text
    assert r"\begin{tabular}{llrrrrrr}" in text
    assert r"PGD & 100 & 100.0$^{\dagger}$ & 20.0$^{\dagger}$ & 50.0 & 10.0 & 50.0\,{\tiny {}[45.0, 55.0]} & " in text


def test_rows_of_markdown_align(tables):
    for table in tables:
        widths = {len(line) for line in to_markdown(table).splitlines() if line.startswith("|")}
        assert len(widths) == 1, table.name


def test_csv_rows_have_as_many_fields_as_the_header(tables):
    for table in tables:
        header, *lines = csv.reader(io.StringIO(to_csv(table)))
        assert len(set(header)) == len(header), table.name
        assert {len(line) for line in lines} == {len(header)}, table.name


def test_latex_is_well_formed(tables):
    """No TeX here: environments close, every row has the columns it declares, nothing special is left unescaped."""
    for table in tables:
        text = to_latex(table)
        opened = re.findall(r"\\begin\{(\w+\*?)\}", text)
        assert sorted(opened) == sorted(re.findall(r"\\end\{(\w+\*?)\}", text))
        assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
        body = text.split(r"\toprule")[1].split(r"\bottomrule")[0]
        spans = {
            len(re.findall(r"(?<!\\)&", line))
            + 1
            + sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", line))
            for line in body.splitlines()
            if line.endswith(r"\\")
        }
        assert spans == {len(table.columns) + 1}, table.name
        assert not re.search(r"(?<!\\)[_#]", re.sub(r"\\label\{.*\}", "", text)), table.name
        assert not set(text) & set("†‡§¶–−×±↑↓∞"), table.name


def test_nan_is_a_gap_in_every_format():
    table = Table("t", "T", "C.", "Row", (Column("x", "X", interval="always"),), (Row("a", (Number(math.nan),)),))
    texts = [to_markdown(table), to_csv(table), to_latex(table)]
    assert not any("nan" in text.lower() for text in texts)
    assert "| – |" in squeeze(texts[0])
    assert texts[1].splitlines()[1] == "a,,,"


def test_intervals_are_printed_as_their_ends_and_none_where_there_is_none():
    assert Number(0.0, 0.0, 27.8).interval == "[0.0, 27.8]"
    assert Number(1.0).interval == ""
    assert Number(-0.04).text == "0.0"
    assert Number(math.inf).text == "∞"


def test_row_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="2 cells for 1 columns"):
        Table("t", "T", "C.", "Row", (Column("x", "X"),), (Row("a", ("1", "2")),))


def test_latex_specials_are_escaped():
    assert latex("a_b & 5 % † §") == r"a\_b \& 5 \% $^{\dagger}$ \S{}"


def test_legacy_thresholds_stand_beside_the_calibrated_ones(results):
    plain = thresholds_table(results)
    assert plain is not None
    assert "legacy" not in to_csv(plain)
    frame = results.thresholds.assign(legacy=math.nan, legacy_far=math.nan, used="legacy")
    frame = frame.assign(legacy_far_low=math.nan, legacy_far_high=math.nan)
    columns = ["legacy", "legacy_far", "legacy_far_low", "legacy_far_high"]
    frame.loc[0, columns] = [0.144840, 0.0321, 0.0299, 0.0350]
    table = thresholds_table(replace(results, thresholds=frame))
    assert table is not None
    assert "The verification tables use the legacy ones." in table.caption
    first, second = to_csv(table).splitlines()[1:3]
    assert first.endswith(",0.14484,0.032100,0.029900,0.035000")
    assert second.endswith(",,,,"), "a network without constants has none, not a gap that needs a reason"
    assert "0.145" in to_markdown(table)
    assert "measured once on LFW" in to_markdown(table)
