"""The page of a report: the numbers of the tables, one file without a network, and no name becomes markup."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import Browser, browser, chromium

from cloakbench.bench.core.axes import BudgetSize
from cloakbench.bench.report.contents import WholeReport
from cloakbench.bench.report.drawing.plotting import figure_bytes
from cloakbench.bench.report.html.explorer import HARDEST, MEAN, explored
from cloakbench.bench.report.html.gallery import full_size, gallery, run_of
from cloakbench.bench.report.html.page import json_in_html, linked, page
from cloakbench.bench.report.html.tables import TableView
from cloakbench.bench.report.index import Run
from cloakbench.bench.report.labels import CLEAN
from cloakbench.bench.report.table import Column, Number, Row, Table

PLANTED = "<script>window.hacked=1</script><img src=x onerror=window.hacked=1>"


class Elements(HTMLParser):
    """The tags and attributes of a page, and the text of its last script."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


@pytest.fixture(scope="module")
def report(make_results) -> WholeReport:
    results = make_results(budgets=(8.0,), methods=("fgsm", "pgd", "opom_convex_hull"), transforms=())
    examples = tuple(replace(one, image_id=PLANTED) for one in results.examples[:2])
    methods = results.methods.assign(paper=PLANTED)
    return WholeReport.of(
        replace(results, examples=examples, methods=methods, setup={**results.setup, PLANTED: PLANTED})
    )


@pytest.fixture(scope="module")
def text(report: WholeReport) -> str:
    return page(report, {}, {figure.name: "not drawn" for one in report.sections for figure in one.figures})


def test_a_page_is_one_file_that_loads_nothing_and_reads_no_name_as_markup(text: str) -> None:
    found = Elements()
    found.feed(text)
    assert found.tags.count("script") == 2 and "iframe" not in found.tags and "link" not in found.tags
    assert not {name for name in found.attributes if name.startswith("on")}
    assert all(
        re.match(r"(#|data:image/|tables/|figures/|report\.md|config\.yaml|environment)", one) for one in found.links
    )
    assert "&lt;script&gt;window.hacked" in text and "\\u003cscript\\u003ewindow.hacked" in text
    assert (
        "<script>window" not in text
        and "onerror=window.hacked=1>" not in text.replace("\\u003e", ">").split("<script type")[0]
    )
    policy = html.unescape(text)
    assert "default-src 'none'" in policy and "script-src 'sha256-" in policy


def test_numbers_of_the_page_are_those_of_the_index(report: WholeReport) -> None:
    found, measured = explored(report.measured, report.leads), report.measured
    place = next(i for i, one in enumerate(found.metrics) if one["leads"] and one["protocol"] == "identification")
    name = found.metrics[place]["name"]
    rows = found.series[f"{place}|none|{MEAN}"]
    assert len(rows) > 6
    for number, surrogate, value, low, high, n, *_ in rows:
        run = measured.ordered(cell.run for cell in measured.cells)[number]
        mean = measured.black_box(name, run, surrogate)
        assert [value, low, high, n] == [*(round(100 * end, 1) for end in (mean.value, mean.low, mean.high)), mean.n]
    worst = {row[0]: (row[2], row[8]) for row in found.series[f"{place}|none|{HARDEST}"] if row[1] == "all"}
    fgsm = Run("fgsm", BudgetSize(8.0))
    black = [
        (round(100 * measured.cell(name, fgsm, surrogate, judge).value, 1), judge)
        for surrogate in measured.surrogates_of(fgsm)
        for judge in measured.judges_of(name, surrogate, white_box=False)
    ]
    assert worst[found.runs.index(next(r for r in found.runs if r["method"] == "fgsm" and r["budget"] == "8"))] == min(
        black
    )


def test_faces_are_shown_under_every_method_but_the_clean_photo(report: WholeReport) -> None:
    faces = gallery(report)
    shown = [label for label in report.measured.results.examples[0].protected if label != CLEAN]
    assert len(faces) == 2 and len(faces[0]["cards"]) == len(shown)
    assert all(card["photo"].startswith("data:image/jpeg;base64,") for card in faces[0]["cards"])
    assert full_size(0, 3, "../pgd 8/255") == "gallery/face1/03_pgd_8_255.png"
    assert run_of(report.measured, "pgd 8/255") == (Run("pgd", BudgetSize(8.0)), report.measured.surrogates[0])
    named = f"pgd 8/255 on {report.measured.surrogates[-1]}"
    assert run_of(report.measured, named) == (Run("pgd", BudgetSize(8.0)), report.measured.surrogates[-1])


def test_neighbouring_columns_share_a_cell_and_intervals_stand_beside_or_under_the_pointer() -> None:
    columns = (
        Column("a", "Top-1", "net", "csv"),
        Column("b", "Top-5", "net", "csv"),
        Column("c", "Mean", "", "always"),
    )
    cells = (Number(63.2, 58, 68.3, 1, "†"), Number(), Number(5.0, 4.0, 6.0))
    view = TableView.of(Table("t", "T", "C.", "Method", columns, (Row("pgd", cells, "eps 8"),)))
    assert view.heads == ("Method", "net", "Mean") and view.shared == "Top-1 / Top-5"
    first, second = view.rows[0].cells
    assert (first.text, first.beside, first.hover) == ("63.2† / –", "", "95 % interval [58.0, 68.3]")
    assert (second.text, second.beside) == ("5.0", "[4.0, 6.0]")


def test_data_cannot_end_its_script_and_links_of_a_line_are_taken_apart() -> None:
    told = json_in_html({"x": "</script>\u2028\u202e&"})
    assert "<" not in told and "\u2028" not in told and json.loads(told)["x"].startswith("</script>")
    assert linked("See [a](b.md), c.") == [("See ", ""), ("a", "b.md"), (", c.", "")]


needs_browser = pytest.mark.skipif(chromium() is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def shown(text: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "report.html").write_text(text, encoding="utf-8")
    with browser(folder / "profile") as one:
        one.open(folder / "report.html")
        yield one


def column(shown: Browser, key: str) -> list[str]:
    return shown.run(
        f"[...document.querySelectorAll('.ranking tbody tr')].map((r) => r.querySelector('{key}').textContent)"
    )


@needs_browser
def test_a_browser_sorts_filters_and_opens_what_is_behind_a_number(shown: Browser) -> None:
    values = [float(one) for one in column(shown, "td.value b")]
    assert len(values) > 3 and values == sorted(values, reverse=True)
    sort = "const t = performance.now(); document.querySelector('[data-key=method]').click();"
    took = shown.run(f"(() => {{ {sort} return performance.now() - t; }})()")
    assert took < 1000  # of a busy machine
    names = column(shown, "th[scope=row]")
    assert names == sorted(names, key=str.lower) and names != names[::-1]
    field = "const f = document.querySelector('#explorer input[type=search]');"
    shown.run(f"(() => {{ {field} f.value = 'hull'; f.dispatchEvent(new Event('input')); }})()")
    assert len(column(shown, "th[scope=row]")) == 1
    shown.run("document.querySelector('.ranking td.value button').focus()")
    shown.press("Enter")
    assert (
        shown.run("document.getElementById('dialog').open && document.querySelectorAll('dialog tbody tr').length") > 3
    )
    shown.press("Escape")
    assert shown.run("document.getElementById('dialog').open") is False
    assert shown.complaints == []


@needs_browser
def test_a_browser_opens_the_gallery_and_steps_with_arrows(shown: Browser) -> None:
    shown.run("document.querySelector('button.card').click()")
    first = shown.run("document.getElementById('dialog-title').textContent")
    assert shown.run("document.querySelectorAll('dialog .pictures img').length") == 3
    shown.press("ArrowRight")
    assert shown.run("document.getElementById('dialog-title').textContent") != first
    shown.press("Escape")
    assert shown.run("typeof window.hacked") == "undefined" and shown.complaints == []


@needs_browser
def test_a_page_fits_a_phone_and_follows_the_dark_scheme(shown: Browser, tmp_path: Path) -> None:
    there = Path(shown.run("location.pathname"))
    light = shown.run("getComputedStyle(document.body).backgroundColor")
    shown.open(there, width=400, dark=True)
    assert shown.run("document.documentElement.scrollWidth <= innerWidth && innerWidth === 400")
    assert shown.run("getComputedStyle(document.body).backgroundColor") != light
    shown.run("document.getElementById('theme').click()")
    assert shown.run("getComputedStyle(document.body).backgroundColor") == light
    assert shown.complaints == []


def test_figures_as_svg_have_equal_bytes_and_no_date(report: WholeReport) -> None:
    figure = next(f for one in report.sections for f in one.figures if f.name == "psr_dots")
    one, other = (figure_bytes(figure.draw(), ".svg") for _ in range(2))
    assert one == other and b"<dc:date>" not in one
