"""What a run leaves on disk: current only while all of it is there, checked when read, reported from where it lies."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from cloakbench.bench.cli import report as command
from cloakbench.bench.report import archive, contents
from cloakbench.bench.report.archive import is_current, is_finished, load_results, publish, save_results
from cloakbench.bench.report.drawing.plotting import Skipped
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.results import PhotoRecords, Results
from cloakbench.bench.report.section import FigureSpec, Reporter, Section
from cloakbench.bench.store.errors import StoreError


@pytest.fixture(scope="module", autouse=True)
def _one_figure() -> Iterator[None]:
    """Drawing all of them takes seconds and shows nothing here."""
    whole = contents.contents

    def with_one(figure: FigureSpec) -> FigureSpec:
        shown = figure.name == "psr_dots"
        return figure if shown else replace(figure, draw=lambda: Skipped("not tested here"))

    def fewer(measured: Measured, reporters: Sequence[Reporter]) -> list[Section]:
        found = whole(measured, reporters)
        return [replace(one, figures=tuple(with_one(figure) for figure in one.figures)) for one in found]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contents, "contents", fewer)
        yield


@pytest.fixture(scope="module")
def small(make_results) -> Results:
    """Few rows: what is held here is about files."""
    return make_results(budgets=(8.0,), transforms=("jpeg_90",), methods=("fgsm", "pgd"))


@pytest.fixture(scope="module")
def finished(small: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    save_results(replace(small, records=PhotoRecords(["toy"], lambda _: pd.DataFrame({"x": [1]}))), folder)
    publish(small, folder)
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "runs" / "small-1"))


def test_a_report_without_figures_is_current_until_they_are_wanted(small: Results, tmp_path: Path) -> None:
    save_results(small, tmp_path)
    publish(small, tmp_path, figures=False)
    assert not (tmp_path / "figures").exists()
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "figures/" not in text and "left out: report.figures is false; cloakbench report" in text
    assert is_current(small, tmp_path, figures=False)
    assert not is_current(small, tmp_path)
    publish(small, tmp_path)
    assert is_current(small, tmp_path) and is_current(small, tmp_path, figures=False)
    assert list((tmp_path / "figures").iterdir())


def test_a_report_is_current_only_while_every_file_is_as_it_was_written(small: Results, folder: Path) -> None:
    assert is_current(small, folder)
    assert not is_current(replace(small, name="another"), folder)
    for path in [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "digest.txt"]:
        content = path.read_bytes()
        path.write_bytes(content[:-1])
        assert not is_finished(folder), f"{path.name} is cut"
        path.write_bytes(content[:-1] + b"?")
        assert not is_finished(folder), f"{path.name} is changed"
        path.unlink()
        assert not is_finished(folder), f"{path.name} is gone"
        path.write_bytes(content)
        assert is_finished(folder)
    (folder / "report.md").unlink()
    assert not is_current(small, folder)


@pytest.mark.parametrize("name", ["report.md", "data/digest.txt", "data/about.json", "data/costs.parquet"])
def test_what_is_no_plain_file_is_never_opened(small: Results, folder: Path, name: str) -> None:
    path = folder / name
    path.unlink()
    os.mkfifo(path)
    assert not is_current(small, folder)
    if name.endswith(("json", "parquet")):
        with pytest.raises(OSError, match="it is a named pipe and not a plain file"):
            load_results(folder)
    publish(small, folder)
    assert path.is_fifo() == (path.parent.name == "data" and name != "data/digest.txt")


def test_a_report_that_cannot_be_read_is_not_current(
    small: Results, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = archive.read_regular

    def refuse(path: Path) -> bytes:
        if path.name == "report.md":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return read(path)

    monkeypatch.setattr(archive, "read_regular", refuse)
    assert not is_current(small, folder)


def test_the_mark_itself_may_be_anything(small: Results, folder: Path) -> None:
    mark = folder / "data" / "digest.txt"
    whole = mark.read_bytes()
    for content in (b"", whole.splitlines()[0], whole[: len(whole) // 2], whole[:70] + b"\xff" + whole[71:]):
        mark.write_bytes(content)
        assert not is_finished(folder)


def test_a_report_that_is_interrupted_is_not_current(
    small: Results, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        assert not is_finished(folder)
        raise KeyboardInterrupt

    monkeypatch.setattr("cloakbench.bench.report.writer.write_report", interrupted)
    with pytest.raises(KeyboardInterrupt):
        publish(small, folder)
    assert not is_finished(folder)
    with pytest.raises(KeyboardInterrupt):
        command.main([str(folder)])
    assert not is_finished(folder)


@pytest.mark.parametrize("name", ["about.json", "measurements.parquet", "costs.parquet", "examples.zip"])
@pytest.mark.parametrize("damage", ["flip", "gone"])
def test_results_are_never_read_from_damaged_files(folder: Path, name: str, damage: str) -> None:
    path = folder / "data" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content) if damage == "flip" else path.unlink()
    kinds = (ValueError, FileNotFoundError)
    with pytest.raises(kinds, match=r"run the experiment again|holds no finished run") as caught:
        load_results(folder)
    assert "\n" not in str(caught.value)


def test_results_of_a_version_without_digests_can_be_read(small: Results, folder: Path) -> None:
    path = folder / "data" / "about.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({k: about[k] for k in ("name", "dataset", "manifest_sha256", "setup")}))
    assert load_results(folder).name == small.name


def read_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing and deleting below ``folder`` fails as on a file system that is mounted read-only."""
    write, unlink = archive.whole_file, Path.unlink

    def refuse(path: Path) -> None:
        if path.is_relative_to(folder):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def whole_file(path: Path, **options: bool):
        refuse(path)
        return write(path, **options)

    def checked(path: Path, missing_ok: bool = False) -> None:
        refuse(path)
        unlink(path, missing_ok)

    monkeypatch.setattr(archive, "whole_file", whole_file)
    monkeypatch.setattr("cloakbench.bench.report.writer.whole_file", whole_file)
    monkeypatch.setattr(Path, "unlink", checked)


def test_a_read_only_run_can_be_reported(
    small: Results, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    read_only(folder, monkeypatch)
    assert command.main([str(folder)]) == 0
    said = capsys.readouterr().out
    assert said.rstrip().endswith(f"Report unchanged: {folder}/report.md ({folder} cannot be written to)")
    monkeypatch.undo()
    (folder / "report.md").unlink()
    del before[folder / "report.md"]
    monkeypatch.chdir(tmp_path)
    read_only(folder, monkeypatch)
    assert command.main([str(folder)]) == 0
    elsewhere = Path("results/runs/small-1/report.md")
    assert f"Report written: {elsewhere} ({folder} cannot be written to)" in capsys.readouterr().out
    assert elsewhere.exists()
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("file", ["psr_dots.pdf", "report.md", "models.parquet"])
def test_a_full_disk_is_one_line_and_the_report_is_not_current(
    small: Results, folder: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_file = Path.replace

    def full(path: Path, target: Path) -> Path:
        if target.name == file:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace_file(path, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StoreError, match=f"cannot write to {folder}.*: the disk is full: free some space") as caught:
        save_results(small, folder)
        publish(small, folder)
    assert "\n" not in str(caught.value)
    assert not is_finished(folder)
