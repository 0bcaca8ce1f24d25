"""Photos hidden from eyes and given back: from file to file, with keys that nobody else may read."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from albums import files, pixels, protect, words
from keyed_albums import hide, recover, table, veil_in
from PIL import Image

from cloakbench.bench.cli.recover import main
from cloakbench.bench.core.errors import ConfigError


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
    assert fine[0] > 0
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
    assert len(entries) == 6  # all photos have the veil of their owner, which comes from one secret
    assert {stat.S_IMODE(path.stat().st_mode) for path in entries} == {0o600}
    folders = {keys, *(path.parent for path in entries)}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}
    veil = veil_in(keys)
    forms = [veil[0, 50].numpy().tobytes(), (255 * veil[0, 50]).round().byte().numpy().tobytes()]
    held = [path for path in entries if any(form in path.read_bytes() for form in forms)]
    assert len(held) == 1
    for path in published.rglob("*"):
        assert not path.is_file() or not any(form in path.read_bytes() for form in forms)


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


def test_words_that_are_missing_are_named(tmp_path: Path, album: Path) -> None:
    with pytest.raises(ConfigError, match=r"set .*keys=\.\.\."):
        main([f"input={album}", f"output={tmp_path / 'back'}"])
    with pytest.raises(ConfigError, match="there is no folder"):
        recover(album, tmp_path / "back", tmp_path / "nowhere")
    assert words(album)
