"""Photos hidden from eyes and given back: from file to file, with keys that nobody else may read."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from albums import CONFIG_DIR, files, pixels, protect, words
from PIL import Image
from veils import KEY, veils_of

from cloakbench.bench.cli.recover import main
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.protect.keys import KeyFolder


def hide(album: Path, output: str = "out", *more: str) -> Path:
    outcome = protect(album, output, "method=keyed_blend", f"keys={album.parent / 'keys'}", *more)
    assert not outcome.problems
    return album.parent / output


def recover(published: Path, back: Path, keys: Path, *more: str) -> int:
    return main([f"input={published}", f"output={back}", f"keys={keys}", *more, "--config-dir", CONFIG_DIR])


def table(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "report.csv", keep_default_na=False).set_index("file")


@pytest.fixture
def published(album: Path) -> Path:
    return hide(album)


def test_photos_come_back_from_file_to_file(album: Path, published: Path, tmp_path: Path) -> None:
    keys, back = tmp_path / "keys", tmp_path / "back"
    assert recover(published, back, keys, f"originals={album}") == 0
    found = table(back)
    assert set(files(back)) == {"a.png", "b.png", "c.png", "trip/d.png", "report.csv", "report.md"}
    for name in ("a.png", "c.png", "trip/d.png"):
        before, hidden, after = (pixels(one / name).short() for one in (album, published, back))
        assert float(found.loc[name, "psnr_db"]) > 44
        assert int((after - before).abs().max()) <= 3
        changed = (hidden != before).any(0)
        assert 0.2 < float(changed.float().mean()) < 0.6
        assert torch.equal(after[:, ~changed], before[:, ~changed])
    assert float(found.loc["b.jpg", "psnr_db"]) < 30  # a veil of noise, of which JPEG keeps little
    assert "at" in table(published).loc["b.jpg", "notes"] and "format=png" in table(published).loc["b.jpg", "notes"]


def test_what_is_stated_when_protecting_is_what_comes_back(album: Path, published: Path, tmp_path: Path) -> None:
    assert recover(published, tmp_path / "one", tmp_path / "keys") == 0
    assert recover(published, tmp_path / "two", tmp_path / "keys", f"originals={album}") == 0
    assert table(tmp_path / "one")["psnr_db"].tolist() == table(tmp_path / "two")["psnr_db"].tolist()


def test_no_detail_of_a_face_that_is_finer_than_a_crop_stays(album: Path, published: Path) -> None:
    """Neighbouring pixels under one pixel of the veil differ as the photo's do, times alpha, and rounding."""
    before, after = (pixels(one / "a.png").float() for one in (album, published))
    changed = (before != after).any(0)
    rows = slice(90, 110)
    fine = [float(one[:, rows, 90:140].diff(dim=2).abs().median()) for one in (before, after)]
    assert changed[rows, 90:140].float().mean() > 0.9
    veil = veils_of(("owner",), 112, 0)[0]
    assert fine[0] > 0 and veil.shape == (3, 112, 112)
    sheet = np.asarray(Image.open(published / "report.png").convert("RGB"), dtype=np.int16)
    photo = np.asarray(Image.open(album / "a.png").convert("RGB"), dtype=np.int16)
    assert sheet.shape != photo.shape
    strip = sheet[34 + 2 : 34 + 158, 14 : 14 + 160]
    copy = sheet[34 + 2 : 34 + 158, 14 + 160 : 14 + 320]
    assert np.array_equal(strip, copy)  # no original stands beside it


def test_keys_are_for_their_owner_alone_and_lie_apart(published: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    entries = [path for path in keys.rglob("*") if path.is_file()]
    assert sorted(path.relative_to(keys).as_posix() for path in entries if path.suffix == ".json") == [
        "a.png.json",
        "b.jpg.json",
        "c.png.json",
        "trip/d.png.json",
    ]
    assert len(entries) == 5  # all photos have the veil of their owner
    assert {stat.S_IMODE(path.stat().st_mode) for path in entries} == {0o600}
    folders = {keys, *(path.parent for path in entries)}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}
    veil = veils_of(("owner",), 112, 0)[0]
    forms = [veil[0, 50].numpy().tobytes(), (255 * veil[0, 50]).round().byte().numpy().tobytes()]
    held = [path for path in entries if any(form in path.read_bytes() for form in forms)]
    assert len(held) == 1
    for path in published.rglob("*"):
        assert not path.is_file() or not any(form in path.read_bytes() for form in forms)


def test_a_copy_without_its_key_is_made_again_with_one(album: Path, published: Path, tmp_path: Path) -> None:
    bytes_of = {name: (published / name).read_bytes() for name in ("a.png", "b.jpg")}
    shutil.rmtree(tmp_path / "keys")
    hide(album)
    assert {name: (published / name).read_bytes() for name in bytes_of} == bytes_of
    assert recover(published, tmp_path / "back", tmp_path / "keys") == 0


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["method=keyed_blend"], "keyed_blend gives photos back to whoever has its keys: name a folder for them"),
        (["method=keyed_blend", "keys=BASE/out/keys"], "lies in output=.*, which may be published"),
        (["method=keyed_blend", "keys=BASE/album"], "lies in input=.*, which may be published"),
        (["method=keyed_blend", "method.alpha=1", "keys=BASE/keys"], "keyed_blend gives no photo back at alpha 1"),
        (["method=pgd", "keys=BASE/keys"], "pgd gives no photo back: .*leave keys out"),
    ],
)
def test_what_cannot_come_back_is_told_before_any_work(album: Path, more: list[str], expected: str) -> None:
    replaced = [word.replace("BASE", str(album.parent)) for word in more]
    with pytest.raises(ConfigError, match=expected):
        protect(album, "out", *replaced)


def test_files_that_do_not_fit_their_keys_are_named(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys, moved = tmp_path / "keys", tmp_path / "moved"
    shutil.copytree(published, moved)
    shutil.copy(published / "c.png", moved / "a.png")  # another photo under this name
    Image.open(published / "b.jpg").resize((115, 95)).save(moved / "b.jpg")
    note = json.loads((keys / "c.png.json").read_text())
    (keys / "c.png.json").write_text(json.dumps({**note, "matrices": []}))
    (keys / "trip" / "d.png.json").chmod(0o644)
    (moved / "strange.png").write_bytes((published / "a.png").read_bytes())
    assert recover(moved, tmp_path / "back", keys) == 1
    said = capsys.readouterr().err
    assert "a.png: it is not the photo that this key is for" in said or "saved again" in str(table(tmp_path / "back"))
    assert "b.jpg: it is 115 x 95 pixels, and its key is for 230 x 190" in said
    assert "c.png: c.png.json in" in said and "does not say where its crops lie: protect the photo again" in said
    assert f"strange.png: {keys} has no key of it" in said
    report = (tmp_path / "back" / "report.md").read_text()
    assert "others than you may read 1 files of" in report and "chmod -R go=" in report
    assert table(tmp_path / "back").loc["trip/d.png", "status"] == "ok"


def test_keys_of_another_person_give_nothing_back(album: Path, published: Path, tmp_path: Path) -> None:
    keys, folder = tmp_path / "keys", KeyFolder(tmp_path / "keys")
    digest = folder.put_keys({KEY: veils_of(("stranger",), 112, 0)})
    note = json.loads((keys / "a.png.json").read_text())
    (keys / "a.png.json").write_text(json.dumps({**note, "key": digest}))
    recover(published, tmp_path / "back", keys, f"originals={album}")
    row = table(tmp_path / "back").loc["a.png"]
    assert float(row["psnr_db"]) < 11 and "its key may be another's" in row["notes"]
    (keys / "keys" / f"{digest}.safetensors").unlink()
    assert recover(published, tmp_path / "gone", keys) == 1
    assert "without it the photo stays as it is" in table(tmp_path / "gone").loc["a.png", "notes"]


def test_a_copy_that_was_saved_again_comes_back_as_well_as_it_can(album: Path, published: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    again.mkdir()
    Image.open(published / "a.png").save(again / "a.png", quality=90, format="JPEG")
    assert recover(again, tmp_path / "one", tmp_path / "keys") == 0
    assert table(tmp_path / "one").loc["a.png", "psnr_db"] == "unknown"
    assert recover(again, tmp_path / "two", tmp_path / "keys", f"originals={album}") == 0
    row = table(tmp_path / "two").loc["a.png"]
    assert float(row["psnr_db"]) < 40 and "saved again" in row["notes"]


def test_key_files_run_no_code(published: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    note = json.loads((keys / "a.png.json").read_text())
    for strange in ({"method": "keyed_blend,x=1"}, {"settings": {"_target_": "os.system", "alpha": 0.2, "x": 1}}):
        (keys / "a.png.json").write_text(json.dumps({**note, **strange}))
        assert recover(published, tmp_path / "back", keys, "overwrite=true") == 1
        told = table(tmp_path / "back").loc["a.png", "notes"]
        assert "is no name of a method" in told or "with a setting x" in told


def test_words_that_are_missing_are_named(tmp_path: Path, album: Path) -> None:
    with pytest.raises(ConfigError, match=r"set .*keys=\.\.\."):
        main([f"input={album}", f"output={tmp_path / 'back'}"])
    with pytest.raises(ConfigError, match="there is no folder"):
        recover(album, tmp_path / "back", tmp_path / "nowhere")
    assert words(album)
