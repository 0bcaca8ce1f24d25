"""Names of others in every medium: a hostile name goes through a whole report, and each file shows it as text."""

from __future__ import annotations

import csv
import re
import unicodedata
import warnings
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.text
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from matplotlib.figure import Figure

from cloakbench.bench.core import escape
from cloakbench.bench.processes.progress import track
from cloakbench.bench.protocols.identification.heat_map import transfer_heat_map
from cloakbench.bench.protocols.identification.ranks import Ranks
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.terminal import summary
from cloakbench.bench.report.writer import write_report, write_text

from .conftest import build_small

HOSTILE = {
    "html": "<script>alert(1)</script><img src=x onerror=y>&lt;",
    "pipes": "a|b`c`|d",
    "link": "[click](http://evil.example) ![i](http://evil.example/x.png) https://evil.example",
    "emphasis": "**b** _i_ ~~s~~ # h",
    "latex": r"\input{/etc/passwd}%$x^2$&_#{}~",
    "mathematics": "$\\frac{1}$ and $",
    "formula": '=HYPERLINK("http://evil.example")',
    "plus": "+1+cmd|' /C calc'!A0",
    "at": "@SUM(1)",
    "escape": "\x1b[31mred\x1b[0m\x07",
    "bidi": "a\u202etxt.exe\u2066",
    "lines": "first\nsecond\r\n\tthird\u2028",
    "markup": "[red]rich[/red] [link=http://evil.example]x[/link] :bomb:",
    "scripts": "写真 é 😀 שלום",
    "nul": "\x00name",
    "bracket": "[3em] *",
}


class Tags(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def rendered(markdown: str) -> Tags:
    """Markdown with tables, strikethrough, raw HTML and bare links, as GitHub has them."""
    page = Tags()
    page.feed(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown))
    page.close()
    return page


def renamed(results, name: str):
    """The results with a hostile data set, experiment, method, surrogate, target, status and note."""
    measurements = results.measurements.replace({"pgd": name, "arcface": f"{name} net", "senet": f"{name} other"})
    failed = measurements["epsilon_255"].isna() & measurements["metric"].eq("psr_p2_top5")
    measurements.loc[failed, ["status", "note"]] = [name, name]
    models = results.models.replace({"arcface": f"{name} net", "senet": f"{name} other"})
    methods = results.methods.replace({"pgd": name}).assign(paper=name, notes=name, needs=name)
    return replace(
        results,
        name=name,
        dataset=name,
        measurements=measurements,
        models=models.assign(family=name, stands_for=name),
        methods=methods,
        setup={**results.setup, name: name},
    )


@pytest.fixture(params=sorted(HOSTILE))
def name(request) -> str:
    return HOSTILE[request.param]


def write_texts(results, folder: Path) -> Path:
    """A report without its figures, which take most of the time and are looked at apart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cloakbench.bench.report.writer._write_figures", lambda sections, folder, style: ([], {}, {}))
        write_report(results, folder)
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """The same report with harmless names."""
    return write_texts(build_small(), tmp_path_factory.mktemp("plain"))


def test_every_file_of_a_report_shows_a_hostile_name_as_text(small, plain, name, tmp_path):
    write_texts(renamed(small, name), tmp_path / "hostile")
    visible = escape.terminal(name)
    for path in sorted((tmp_path / "hostile").rglob("*.*")):
        if path.suffix in (".md", ".csv", ".tex"):
            content = path.read_bytes().decode("utf-8")
            odd = {sign for sign in content if not sign.isprintable() and unicodedata.category(sign) != "Zs"}
            assert odd <= {"\n"}, path
    for part in ("report.md", *(f"tables/{stem}.md" for stem in ("methods", "models"))):
        before, after = (rendered((folder / part).read_text("utf-8")) for folder in (plain, tmp_path / "hostile"))
        if part != "report.md":  # a report of other results has other sections
            assert after.tags == before.tags, part
        assert set(after.tags) <= set(before.tags) | {"p", "ul", "li"}, part
        if not name.startswith(("\t", " ")):
            assert " ".join(visible.split()) in " ".join(after.text.split()), part
    for path in (tmp_path / "hostile" / "tables").glob("*.md"):
        rows = [line for line in path.read_text("utf-8").splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) for row in rows}) == 1, path
    for path in (tmp_path / "hostile" / "tables").glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as stream:
            cells = {cell for row in csv.reader(stream) for cell in row}
        assert not any(cell.startswith(("=", "+", "@", "\t", "\r")) for cell in cells), path
        assert not any(cell.startswith("-") and not re.fullmatch(r"-?[\d.]+", cell) for cell in cells), path
    with (tmp_path / "hostile" / "tables" / "measurements.csv").open(newline="", encoding="utf-8") as stream:
        found = {row["method"].removeprefix("'") for row in csv.DictReader(stream)}
    assert found == {"identity", "random_sign", visible.removeprefix("'")}
    tex = (tmp_path / "hostile" / "tables" / "methods.tex").read_text("utf-8")
    line = next(line for line in tex.splitlines() if escape.latex(name) in line)
    bare = re.sub(r"\\(?:[&%$#_{}]|text[a-z]+\{\})|^\{\}", "", escape.latex(name))
    assert not set(bare) & set("\\&%$#_{}~^<>|")
    assert line.replace(escape.latex(name), "NAME").count("&") == 6, "as many cells as columns"
    assert not re.search(r"\\\\\s*[\[*]", tex), "nothing that the line break before it would take for its argument"


@pytest.mark.parametrize("kind", ["mathematics", "latex", "scripts", "escape", "lines", "bidi"])
def test_figures_show_the_literal_and_warn_of_no_glyph(small, kind, tmp_path):
    name = HOSTILE[kind]
    results = renamed(small, name)
    measured = Measured(results)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Glyph")
        drawing = transfer_heat_map(measured, Ranks("p2", (1, 5)))
        assert isinstance(drawing, Figure)
        drawing.savefig(tmp_path / "figure.png")
    texts = [text for text in drawing.findobj(matplotlib.text.Text) if isinstance(text, matplotlib.text.Text)]
    shown = {text._preprocess_math(text.get_text()) for text in texts}  # what matplotlib makes of it
    assert not any(mathematics for _, mathematics in shown)
    known, whole = escape._glyphs(), escape.terminal(f"{name} other")
    literal = "".join(sign if ord(sign) in known else escape.code_point(sign) for sign in whole)
    assert any(text == literal or (text.endswith("…") and literal.startswith(text[:-1])) for text, _ in shown)


def test_half_a_character_does_not_stop_a_file(tmp_path):
    """A name from a command line in another encoding; what is written is UTF-8 whatever the locale."""
    write_text(tmp_path / "x", "a\udcff é")
    assert (tmp_path / "x").read_bytes() == b"a\\udcff \xc3\xa9"


def test_a_label_has_an_end() -> None:
    assert escape.figure("x" * 5000) == "x" * 80 + "…"


def test_the_screen_shows_no_markup(small, name):
    from rich.console import Console

    console = Console(width=400, force_terminal=True, color_system="truecolor", record=True)
    with console.capture():
        console.print(summary(renamed(small, name)))
    text = console.export_text()
    assert "\x07" not in text
    assert "\u202e" not in text


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(codec=None), max_size=40))
def test_no_text_becomes_anything_else(text: str) -> None:
    visible = escape.terminal(text)
    page = rendered(f"- x {escape.markdown(text)} y\n")
    assert page.tags == ["ul", "li"]
    assert page.text.split() == f"x {visible} y".split()
    table = rendered(f"| a | b |\n|---|---|\n| {escape.markdown(text)} | 2 |\n")
    assert table.tags.count("td") == 2
    page = Tags()
    page.feed(f"<p title='{escape.html(text)}'>{escape.html(text)}</p>")
    page.close()
    assert (page.tags, page.text) == (["p"], visible)
    assert escape.csv(text).removeprefix("'") == visible.removeprefix("'")
    assert "$" not in escape.figure(text).replace(r"\$", "")


@pytest.mark.parametrize("text", ["140.4", "-0.577 → 0.1", "+3", "8)", "1.", "- a", "+", "--- x", "# h", "==="])
def test_numbers_stay_readable_in_markdown_and_lists_are_none(text: str) -> None:
    page = rendered(escape.markdown(text))
    assert (page.tags, page.text.strip()) == (["p"], text)
    if re.match(r"[+-]?\d+\.?\d", text):
        assert escape.markdown(text) == text


@pytest.mark.parametrize(
    ("text", "cell"),
    [("-3.5", "-3.5"), ("1e-5", "1e-5"), ("-", "-"), ("=", "="), (" =1", "' =1"), ("＝1", "'＝1"), ("-x", "'-x")],
)
def test_numbers_stay_numbers_and_formulas_become_text(text: str, cell: str) -> None:
    assert escape.csv(text) == cell


def test_a_name_with_a_line_break_is_one_line_of_progress(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "cloakbench")
    with track("protecting", 1) as tracker:
        tracker.advance("a\nerror: forged.png")
    assert caplog.messages[-1].endswith("a\\nerror: forged.png")
