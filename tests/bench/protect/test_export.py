"""Originals go out, another system protects them, and the folder comes back as a row of the table."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from albums import CONFIG_DIR, POINTS, save_photo, write_points
from PIL import Image

from cloakbench.bench.cli.export import main
from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.experiment.run import run
from cloakbench.bench.protect.export import COLUMNS
from cloakbench.bench.report.reported.systems import foreign_systems
from cloakbench.datasets.alignment import warp
from cloakbench.datasets.photos import decode

OUTSIDE = """\
#!/bin/sh
# A system in a language of its own: it knows the manifest and nothing else.
set -eu
"$3" - "$1" "$2" <<'END'
import csv, pathlib, sys
from PIL import Image
source, target = map(pathlib.Path, sys.argv[1:])
for row in csv.DictReader((source / "manifest.csv").open(encoding="utf-8")):
    if row["role"] == "probe":
        place = (target / row["crop"]).with_suffix(".bmp")
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.open(source / row["crop"]).point(lambda value: min(255, value + 9)).save(place)
END
"""


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
def test_a_shell_script_protects_the_export_and_gets_a_rate(tmp_path: Path, tiny_overrides: list[str]) -> None:
    assert main([*tiny_overrides, f"output={tmp_path}/out", "--config-dir", CONFIG_DIR]) == 0
    (tmp_path / "outside.sh").write_text(OUTSIDE)
    command = ["sh", str(tmp_path / "outside.sh"), str(tmp_path / "out"), str(tmp_path / "back"), sys.executable]
    subprocess.run(command, check=True, timeout=60)
    words = [*tiny_overrides, "method=precomputed", f"method.folder={tmp_path}/back/crops"]
    outcome = run(compose_config(words, config_dirs=[CONFIG_DIR]))
    assert not outcome.problems
    table = outcome.results.measurements
    table = table[table["method"] == "precomputed"]
    rate = table[(table["metric"] == "psr_p1_top1") & (table["condition"] == "none")]
    assert len(rate) == 2
    assert rate["value"].notna().all()
    [change] = table.loc[table["metric"] == "linf_255", "value"]
    assert 8 < change <= 9


def test_the_manifest_says_what_every_file_is(tmp_path: Path, tiny_overrides: list[str]) -> None:
    out = tmp_path / "out"
    main([*tiny_overrides, f"output={out}", "--config-dir", CONFIG_DIR])
    table = rows(out)
    about = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert about["schema"] == "cloakbench export 1"
    assert list(table[0]) == list(about["columns"]) == list(COLUMNS)
    assert about["roles"]["probe"] == sum(row["role"] == "probe" for row in table) == 18
    assert about["manifest_csv_sha256"] == sha256(out / "manifest.csv")
    assert len(about["images"]) == len(table)
    for row in table[::20]:
        assert sha256(out / row["crop"]) == row["crop_sha256"]
        pixels = decode((out / row["crop"]).read_bytes(), 100)
        assert hashlib.sha256(pixels.contiguous().numpy().tobytes()).hexdigest() == row["pixels_sha256"]
        assert 30 < float(row["crop_left_eye_x"]) < 50
        assert row["photo"] == ""


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    """Words that name a folder of photos with their points; no two crops of one person are called alike."""
    names = []
    for person in range(4):
        for number, suffix in enumerate(("jpg", "png", "webp", "jpg")):
            name = f"photos/p{person}/{number}.{suffix}"
            save_photo(tmp_path / name, person * 10 + number)
            names.append(name)
    write_points(tmp_path / "points.csv", names)
    return [
        "experiment=smoke",
        "dataset=folder",
        f"dataset.root={tmp_path}/photos",
        f"dataset.landmarks_file={tmp_path}/points.csv",
        f"paths.results={tmp_path}/results",
        "dataset.references_per_identity=1",
        "dataset.max_identities=3",
    ]


def test_photos_come_with_the_way_to_their_crops(tmp_path: Path, photos: list[str]) -> None:
    out = tmp_path / "out"
    assert main([*photos, f"output={out}"]) == 0
    table = rows(out)
    assert {row["role"] for row in table} == {"reference", "probe", "distractor"}
    for row in table:
        assert (out / row["photo"]).read_bytes() == (tmp_path / "photos" / row["image_id"]).read_bytes()
        assert sha256(out / row["photo"]) == row["photo_sha256"]
        assert (row["photo_width"], row["photo_height"]) == ("230", "190")
        assert float(row["nose_x"]) == pytest.approx(float(POINTS[2, 0]), abs=1e-4)
        assert row["box_left"] == ""
        names = ("matrix_xx", "matrix_xy", "matrix_x", "matrix_yx", "matrix_yy", "matrix_y")
        matrix = torch.tensor([float(row[name]) for name in names], dtype=torch.float64).view(2, 3)
        crop = decode((out / row["crop"]).read_bytes(), 100)
        again = warp(decode((out / row["photo"]).read_bytes(), 100), matrix)
        assert (crop.short() - again.short()).abs().max() <= 1
        assert row["crop"] == f"crops/{row['image_id']}" + ("" if row["image_id"].endswith(".png") else ".png")


def test_a_second_export_writes_nothing_and_other_content_is_left_alone(tmp_path: Path, photos: list[str]) -> None:
    out = tmp_path / "out"
    main([*photos, f"output={out}"])
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    main([*photos, f"output={out}"])
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before
    changed = out / "crops" / "p0" / "1.png"
    changed.write_bytes(b"protected by somebody")
    with pytest.raises(ConfigError, match=r"crops/p0/1\.png in .* is there already with other content.*overwrite=true"):
        main([*photos, f"output={out}"])
    assert changed.read_bytes() == b"protected by somebody"
    assert main([*photos, f"output={out}", "overwrite=true"]) == 0
    assert changed.read_bytes()[:4] == b"\x89PNG"


def test_no_link_in_the_folder_is_followed(tmp_path: Path, photos: list[str]) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "crops").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="crops in the output folder is a link, which is not followed"):
        main([*photos, f"output={tmp_path}/out", "overwrite=true"])
    assert not list((tmp_path / "elsewhere").iterdir())


def test_the_folder_is_not_one_of_the_photos(tmp_path: Path, photos: list[str]) -> None:
    for inner in ("photos", "photos/out"):
        with pytest.raises(ConfigError, match=r"lies in the data set's own folder .*: choose another output=FOLDER"):
            main([*photos, f"output={tmp_path}/{inner}"])


def test_names_are_text_and_no_two_crops_share_one(
    tmp_path: Path, photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The table is safe in a spreadsheet, and no crop takes the place of another."""
    for seed, name in enumerate(("1.jpg", "1.jpg.png", "2.png"), start=50):
        save_photo(tmp_path / "photos" / "=p0" / name, seed, format="PNG")
    names = [path.relative_to(tmp_path).as_posix() for path in (tmp_path / "photos").rglob("*.*")]
    write_points(tmp_path / "points.csv", names)
    assert main([*photos, "dataset.max_identities=null", f"output={tmp_path}/out"]) == 1
    assert "would be called as that of =p0/1.jpg, rename the photo" in capsys.readouterr().err
    assert {row["identity"] for row in rows(tmp_path / "out")} >= {"'=p0"}
    kept = json.loads((tmp_path / "out" / "manifest.json").read_text())["images"]
    assert {row["identity"] for row in kept} >= {"=p0"}


def test_the_folder_has_to_be_named(photos: list[str]) -> None:
    with pytest.raises(ConfigError, match="set output=FOLDER"):
        main(photos)


@pytest.mark.slow
def test_what_is_missing_and_what_is_too_much_is_named_in_report_and_log(
    tmp_path: Path, tiny_overrides: list[str]
) -> None:
    """With a worker process: what the method logs there must reach the run's log."""
    main([*tiny_overrides, f"output={tmp_path}/out", "--config-dir", CONFIG_DIR])
    probes = [row for row in rows(tmp_path / "out") if row["role"] == "probe"]
    back = tmp_path / "back"
    for row in probes[:2]:
        place = (back / row["image_id"]).with_suffix(".png")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes((tmp_path / "out" / row["crop"]).read_bytes())
    (back / "stranger.png").write_bytes(b"no photo of ours")
    words = [*tiny_overrides, "method=precomputed", f"method.folder={back}", "runtime.workers=1"]
    outcome = run(compose_config(words, config_dirs=[CONFIG_DIR]))
    missing = f"no file {probes[2]['image_id']}.* in {back}"
    assert any(f"precomputed: 4 of 6 photos of a chunk failed: {missing}; " in line for line in outcome.problems)
    table = (outcome.folder / "tables" / "failures.csv").read_text(encoding="utf-8")
    assert f"16 of 18 photos failed; {missing}; " in table
    log = (outcome.folder / "run.log").read_text(encoding="utf-8")
    assert f"precomputed: 16 of 18 photos have no file in {back}: {probes[2]['image_id']}.*, " in log
    assert f"precomputed: 1 files in {back} belong to no photo of the experiment: stranger.png" in log
    assert "WARNING cloakbench.methods.precomputed: precomputed: 4 of 6 photos failed: " in log


@pytest.mark.slow
def test_each_system_without_weights_here_enters_by_its_folder(tmp_path: Path, tiny_overrides: list[str]) -> None:
    """Made-up pictures stand for what each of them would have made: no number of theirs is claimed."""
    exported = [*tiny_overrides, f"output={tmp_path}/out", "--config-dir", CONFIG_DIR]
    assert main(exported) == 0
    probes = [row["crop"] for row in rows(tmp_path / "out") if row["role"] == "probe"]
    systems = foreign_systems()
    words = [*tiny_overrides, "methods={}", "report.figures=false"]
    for place, (key, system) in enumerate(systems.items()):
        for crop in probes:
            file = tmp_path / key / crop
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.open(tmp_path / "out" / crop).point(lambda value, step=place + 1: min(255, value + step)).save(file)
        words += [f"+method@methods.{key}=precomputed", f"methods.{key}.folder={tmp_path}/{key}/crops"]
        words.append(f"methods.{key}.title={system.title}")
    outcome = run(compose_config(words, config_dirs=[CONFIG_DIR]))
    assert not outcome.problems
    table = outcome.results.measurements
    means = table[(table["metric"] == "linf_255") & table["method"].isin(systems)].set_index("method")["value"]
    assert len(means) == len(systems) == 11
    assert all(0 < means[key] <= place + 1 for place, key in enumerate(systems))
    rates = table[(table["metric"] == "psr_p1_top1") & table["method"].isin(systems) & (table["condition"] == "none")]
    assert len(rates) == 2 * 11 and rates[["value", "low", "high"]].notna().all(axis=None) and (rates["n"] == 36).all()
    titles = outcome.results.methods.set_index("key")["title"]
    assert {titles[key] for key in systems} == {system.title for system in systems.values()}
