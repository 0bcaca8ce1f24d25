"""The documentation's site: its pages, their links, and the notebook that it shows."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from check_links import problems
from pages import configs
from pages.documents import as_python_markdown, document_pages, place_of
from pages.methods import method_pages
from pages.notebook import as_markdown
from pages.reference import reference_pages
from pages.site import BEHIND

import cloakbench

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"


def cells() -> list[str]:
    told = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in told if cell["cell_type"] == "code"]


def test_links_of_documents_lead_to_pages_of_the_site() -> None:
    pages = document_pages()
    places = {page.place for page in pages}
    assert {"index.md", "python.md", "tutorial.md", "results/reference/bench/report.md", *BEHIND} <= places
    for page in pages:
        if isinstance(page.content, bytes):
            continue
        prose = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.content, flags=re.S | re.M)
        for target in re.findall(r"\]\((?!\w+:)([^)#\s]+)", prose):
            found = (Path("/") / page.place).parent / target
            assert str(found.resolve())[1:] in places, f"{page.place} links {target}"


def test_lists_are_written_as_the_generator_reads_them() -> None:
    assert as_python_markdown("text\n- one\n  - two\n") == "text\n\n- one\n    - two\n"
    assert as_python_markdown("```\na\n- one\n  - two\n```\n") == "```\na\n- one\n  - two\n```\n"
    assert place_of("README.md") == "index.md" and place_of("docs/tutorial.ipynb") == "tutorial.md"


@pytest.mark.slow
def test_every_method_has_a_page_that_says_what_a_reader_asks() -> None:
    pages = {page.place: page.content for page in method_pages()}
    assert set(pages) == {f"methods/{name}.md" for name in (*configs.names("method"), "index")}
    opom = str(pages["methods/opom_convex_hull.md"])
    for word in ("Zhong and Deng", "Official settings", "Licence", "warmup_steps: 5", "Backward passes", "identity"):
        assert word in opom, word


def test_the_reference_has_what_the_package_offers() -> None:
    first, *others = reference_pages()
    assert str(first.content).count("::: ") == len(cloakbench.__all__) - 1
    assert {"reference/methods.md", "reference/bench/engine.md"} <= {page.place for page in others}


def test_a_dead_link_and_a_script_from_elsewhere_are_found(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text('<a href="two.html#here">x</a><a href="gone.html">x</a><p id="a">')
    (tmp_path / "two.html").write_text('<script src="https://example.org/x.js"></script><a href="index.html#a">x</a>')
    assert [line.partition(" ")[2] for line in problems(tmp_path)] == [
        "links two.html#here: there is no such place on that page",
        "links gone.html, which is not there",
        "loads https://example.org/x.js",
    ]


def test_a_notebook_becomes_a_page_with_what_it_printed() -> None:
    text, files = as_markdown(NOTEBOOK.read_text("utf-8"), "tutorial.md")
    assert text.startswith("# Tutorial")
    assert "```python\n" in text and "```text\ncloakbench " in text, "it was executed: make notebook"
    assert [page.place for page in files] == ["tutorial.ipynb"]


def test_the_cells_of_the_notebook_fit_the_interface() -> None:
    called: dict[str, set[str]] = {}
    for cell in cells():
        for node in ast.walk(ast.parse(cell)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "cloakbench":
                assert hasattr(cloakbench, node.attr), node.attr
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                called.setdefault(node.func.attr, set()).update(str(word.arg) for word in node.keywords)
    for name in ("evaluate", "protect"):
        function: Any = getattr(cloakbench, name)
        assert called[name] <= set(function.__annotations__)


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    (tmp_path / "notebook.py").write_text("\n\n".join(cells()), encoding="utf-8")
    subprocess.run([sys.executable, "notebook.py"], cwd=tmp_path, check=True, timeout=1800)
