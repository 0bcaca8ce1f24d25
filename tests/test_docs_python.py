"""``docs/python.md`` and the docstrings of ``import cloakbench``: every example runs as it is printed."""

from __future__ import annotations

import doctest
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cloakbench

pytestmark = pytest.mark.usefixtures("pdf_left_out")

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
FUNCTIONS = ("evaluate", "protect", "load_method", "load_recogniser", "load_generator")


@pytest.fixture
def empty_folder(tmp_path: Path, faces_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder as the current one, whose modules can be imported, with rendered faces at hand."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delenv("CLOAKBENCH_RESULTS", raising=False)
    (tmp_path / "results" / "store").mkdir(parents=True)
    (tmp_path / "results" / "store" / "datasets").symlink_to(faces_cache)
    yield tmp_path
    sys.modules.pop("my_rows", None)


@pytest.mark.slow
def test_the_blocks_of_the_page_run_one_after_the_other(empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    for block in blocks:
        if file := re.match(r"# (\w+\.py)\n", block):
            (empty_folder / file[1]).write_text(block, encoding="utf-8")
        else:
            exec(compile(block, "docs/python.md", "exec"), names)
            results = names["results"]
            assert results.problems == ()
            assert (results.measurements["status"] == "ok").any()
    assert set(results.measurements["judge"]) == {"mine"}
    assert (empty_folder / "my_report" / "report.md").is_file()
    assert len(list((empty_folder / "protected").glob("*.png"))) == 2
    assert "Results of evaluate on synthetic" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_of_a_docstring_runs(name: str, empty_folder: Path) -> None:
    found = doctest.DocTestFinder().find(getattr(cloakbench, name), name, globs={})
    [example] = [one for one in found if one.examples]
    assert doctest.DocTestRunner().run(example).failed == 0


def test_the_page_names_every_function() -> None:
    for name in FUNCTIONS:
        assert name in PAGE


def test_the_readme_shows_the_first_block_of_the_page() -> None:
    [first, *_] = re.findall(r"^```python\n.*?^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert first in (ROOT / "README.md").read_text(encoding="utf-8")
