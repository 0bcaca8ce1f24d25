"""A run packed, checked, and put on a board: what was tampered with is found, other photos never share a column."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from cloakbench.bench.cli.main import main
from cloakbench.bench.report.archive import load_results
from cloakbench.bench.report.reporters import reporters
from cloakbench.bench.report.results import Results
from cloakbench.bench.sharing.checks import checked
from cloakbench.bench.sharing.divisions import KeptRun, entries
from cloakbench.bench.sharing.package import ABOUT
from cloakbench.bench.sharing.recomputed import recomputed
from cloakbench.bench.sharing.site import write_site

ENVIRONMENT = {"python": "3.11", "commit": "abc", "packages": {"cloakbench": "0.2.0"}}


@pytest.fixture(scope="module")
def folder(tiny_results: Path) -> Path:
    [found] = (tiny_results / "runs").glob("tiny-*")
    return found


@pytest.fixture(scope="module")
def run(folder: Path) -> Results:
    return load_results(folder)


@pytest.fixture(scope="module")
def packed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("packed") / "tiny.zip"
    assert main(["submit", str(folder), f"output={target}", "note=a tiny world: its rates are rough"]) == 0
    return target


def resealed(package: Path, target: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
    """A package in which the measurements were changed, with digests to match."""
    with zipfile.ZipFile(package) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO()
    change(pd.read_parquet(io.BytesIO(files["data/measurements.parquet"]))).to_parquet(buffer, index=False)
    files["data/measurements.parquet"] = buffer.getvalue()
    known = json.loads(files["data/about.json"])
    known["sha256"]["measurements.parquet"] = hashlib.sha256(buffer.getvalue()).hexdigest()
    from cloakbench.bench.core.files.seal import BLANK, seal

    files["data/about.json"] = b"".join(seal(json.dumps({**known, "seal": BLANK}, indent=1).encode(), "about a run"))
    about = json.loads(files.pop(ABOUT))
    about["sha256"] = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in {**files, ABOUT: json.dumps(about).encode()}.items():
            archive.writestr(name, content)
    return target


def test_a_packed_run_passes_and_lies_in_a_folder_that_a_board_takes(packed: Path, tmp_path: Path, capsys) -> None:
    assert main(["submit", f"check={packed}", f"output={tmp_path / 'tiny'}"]) == 0
    assert "passes" in capsys.readouterr().out
    assert load_results(tmp_path / "tiny").examples == ()  # photos are packed on request only
    assert main(["board", str(tmp_path / "tiny"), f"output={tmp_path / 'site'}"]) == 0
    index = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "a tiny world: its rates are rough" in index
    links = set(re.findall(r'href="([^"#:]+)"', index)) - {"data/records_", ""}
    assert len(links) > 5 and all((tmp_path / "site" / link).is_file() for link in links)
    rows = json.loads((tmp_path / "site" / "board.json").read_text(encoding="utf-8"))
    assert {row["method"] for row in rows} == {"identity", "random_sign", "pgd", "opom_convex_hull"}
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows)


def test_a_number_that_was_changed_is_found_from_the_records(packed: Path, tmp_path: Path, capsys) -> None:
    def better(frame: pd.DataFrame) -> pd.DataFrame:
        place = frame.index[(frame["method"] == "pgd") & (frame["metric"] == "psr_p2_top1")][0]
        frame.loc[place, "value"] += 0.01
        return frame

    changed = resealed(packed, tmp_path / "changed.zip", better)
    assert main(["submit", f"check={changed}"]) == 1
    shown = capsys.readouterr().out
    assert re.search(
        r"identification psr_p2_top1, pgd at \d/255.*: value is .*, the records say", shown.replace("\n", " ")
    )
    plain = resealed(packed, tmp_path / "same.zip", lambda frame: frame)
    assert main(["submit", f"check={plain}"]) == 0


def test_a_file_that_does_not_match_its_digest_or_no_package_is_one_line(packed: Path, tmp_path: Path, capsys) -> None:
    broken = tmp_path / "broken.zip"
    with zipfile.ZipFile(packed) as old, zipfile.ZipFile(broken, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name) + b" " * (name == "config.yaml"))
    assert main(["submit", f"check={broken}"]) == 1
    assert "config.yaml is not what was packed" in capsys.readouterr().err
    (tmp_path / "text.zip").write_text("no zip", encoding="utf-8")
    assert main(["submit", f"check={tmp_path / 'text.zip'}"]) == 1
    assert "is no submission" in capsys.readouterr().err
    escaping = tmp_path / "escaping.zip"
    with zipfile.ZipFile(escaping, "w") as archive:
        archive.writestr("data/../../x", b"x")
        told = {"format": 1, "note": "", "sha256": {"data/../../x": hashlib.sha256(b"x").hexdigest()}}
        archive.writestr(ABOUT, json.dumps(told))
    assert main(["submit", f"check={escaping}"]) == 1
    assert "holds no 'data/../../x'" in capsys.readouterr().err and not (tmp_path / "x").exists()


def test_equal_runs_are_packed_into_equal_bytes(packed: Path, folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.zip"
    assert main(["submit", str(folder), f"output={again}", "note=a tiny world: its rates are rough"]) == 0
    assert again.read_bytes() == packed.read_bytes()


def test_checks_name_what_is_missing(run: Results) -> None:
    states = {one.title: one for one in checked(run, ENVIRONMENT)}
    assert not states["Controls"].problems and not states["Numbers"].problems and not states["Complete"].problems
    without = replace(run, measurements=run.measurements.loc[run.measurements["method"] != "random_sign"])
    problems = {one.title: one.problems for one in checked(without, {"packages": {"cloakbench": "0.1.0"}})}
    assert "identification has no row of random_sign" in problems["Controls"][0]
    assert "measured by version 0.1.0" in problems["Version"][0]
    assert any("the run has none" in line for line in problems["Numbers"])
    bare = {one.title: one.problems for one in checked(replace(run, records={}), ENVIRONMENT)}
    assert "no records" in bare["Numbers"][0]


def test_decisions_are_made_again_too(run: Results) -> None:
    assert recomputed(run, reporters(run)).problems == ()
    lucky = run.rankings.assign(value=run.rankings["value"] + 0.01)
    problems = recomputed(replace(run, rankings=lucky), reporters(run)).problems
    assert len(problems) == 1 and problems[0].startswith("rankings.parquet is not what the records decide")


def test_runs_of_other_photos_or_versions_never_share_a_column(run: Results, tmp_path: Path) -> None:
    pgd = replace(run, measurements=run.measurements.loc[run.measurements["method"] != "opom_convex_hull"])
    other = replace(run, manifest_sha256="0" * 64)
    newer = {"packages": {"cloakbench": "9.0.0"}}
    runs = [
        KeptRun("one", run, ENVIRONMENT),
        KeptRun("part", pgd, ENVIRONMENT),
        KeptRun("other", other, ENVIRONMENT),
        KeptRun("<script>window.hacked=1</script>", run, newer),
    ]
    found = entries(runs)
    assert [entry.runs for entry in found] == [("one", "part"), ("other",), ("<script>window.hacked=1</script>",)]
    assert len({entry.division("identification") for entry in found}) == 3
    assert found[0].source["opom_convex_hull"] == found[0].source["pgd"] == "one"
    first, second = (write_site(runs[2:], tmp_path / name) for name in ("a", "b"))
    files = sorted(path.relative_to(first.parent) for path in first.parent.rglob("*") if path.is_file())
    assert len(files) > 8
    assert all((first.parent / name).read_bytes() == (second.parent / name).read_bytes() for name in files)
    assert "<script>window" not in first.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["board"], "set output=FOLDER"),
        (["board", "nothing", "output=site"], "there is no run 'nothing'"),
        (["submit"], "name a run or a file"),
        (["submit", "check=nothing.zip"], "there is no file nothing.zip"),
        (["view"], "name one run"),
        (["view", "nothing"], "there is no run 'nothing'"),
    ],
)
def test_what_is_missing_is_one_line(words: list[str], said: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ") and said in told and told.count("\n") == 1


def test_a_page_is_written_where_there_is_none_and_shown_from_disk(
    folder: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    monkeypatch.setenv("DISPLAY", ":0")
    own = Path(shutil.copytree(folder, tmp_path / "runs" / folder.name))
    page = own / "report.html"
    assert main(["view", str(own)]) == 0 and opened == [page.resolve().as_uri()]
    assert b"data:image/svg+xml" not in page.read_bytes()  # the run was told to draw no figures
    page.unlink()
    assert main(["view", str(own), "open=false"]) == 0 and len(opened) == 1
    assert b"data:image/svg+xml" in page.read_bytes() and "Open in a browser" in capsys.readouterr().out
