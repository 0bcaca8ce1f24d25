"""The crop cache: it saves work, mends itself and changes nothing."""

import os
from pathlib import Path

import pytest
import torch
from photo_sets import StubDetector, people, photo
from PIL import Image

from cloakbench.datasets.crops import Cropper
from cloakbench.datasets.photo_set import PhotoSet
from cloakbench.datasets.photos import DatasetError


def test_aligned_crops_come_back_from_the_cache(tmp_path: Path):
    for number in range(4):
        photo(tmp_path / "photos" / "ann" / f"{number}.png", size=(112, 112))
    first = PhotoSet(tmp_path / "photos", aligned=True, cache=tmp_path / "cache")
    again = PhotoSet(tmp_path / "photos", aligned=True, cache=tmp_path / "cache")
    assert torch.equal(first.faces("probe").images, again.faces("probe").images)
    assert first.manifest().digest() == again.manifest().digest()
    assert list((tmp_path / "cache").rglob("*"))


def test_cache_saves_the_second_detection_and_gives_the_same_manifest(tmp_path: Path):
    root, cache = people(tmp_path / "faces", ann=5, bob=2), tmp_path / "cache"
    (root / "bob" / "0-letter.jpg").write_text("a letter")
    first, second, other = StubDetector(), StubDetector(), StubDetector()
    data = PhotoSet(root, detector=first, cache=cache)
    again = PhotoSet(root, detector=second, cache=cache)
    assert data.manifest() == again.manifest() == PhotoSet(root, detector=StubDetector()).manifest()
    made, kept = data.faces("probe").landmarks, again.faces("probe").landmarks
    assert made is not None
    assert kept is not None
    assert torch.equal(made, kept)
    assert (first.seen, second.seen) == (6, 0)
    PhotoSet(root, detector=other, cache=cache, min_crop_px=40).roles()
    assert other.seen == 6
    assert not [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".safetensors"]


def test_damaged_cache_entry_is_made_again(tmp_path: Path):
    root, cache = people(tmp_path / "faces", ann=4), tmp_path / "cache"
    digest = PhotoSet(root, detector=StubDetector(), cache=cache).manifest().digest()
    for number, path in enumerate(sorted(cache.rglob("*.safetensors"))):
        os.truncate(path, [0, 7, 300, 20000][number])
    detector = StubDetector()
    assert PhotoSet(root, detector=detector, cache=cache).manifest().digest() == digest
    assert detector.seen == 4


def test_every_byte_of_a_kept_crop_counts_and_so_does_its_name(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Points, texts and pixels; one crop in another's place is another's face."""
    root, cache = people(tmp_path / "faces", ann=4), tmp_path / "cache"
    data = PhotoSet(root, detector=StubDetector(), cache=cache)
    digest, points = data.manifest().digest(), data.faces("probe").landmarks
    assert points is not None
    kept = sorted(cache.rglob("*.safetensors"))
    contents = [path.read_bytes() for path in kept]
    length = int.from_bytes(contents[0][:8], "little")
    for place in (3, 40, length - 20, length + 9, len(contents[0]) - 1, len(contents[0]) // 2):
        kept[0].write_bytes(contents[0][:place] + bytes([contents[0][place] ^ 1]) + contents[0][place + 1 :])
        again = PhotoSet(root, detector=StubDetector(), cache=cache)
        assert again.manifest().digest() == digest
        found = again.faces("probe").landmarks
        assert found is not None and torch.equal(found, points)
        assert f"{kept[0]} is damaged" in caplog.text
        caplog.clear()
    kept[0].write_bytes(contents[1])
    kept[1].write_bytes(contents[0])
    assert PhotoSet(root, detector=StubDetector(), cache=cache).manifest().digest() == digest
    assert caplog.text.count("is damaged") == 2


def test_kept_crop_that_cannot_be_read_is_left_alone(tmp_path: Path):
    root, cache = people(tmp_path / "faces", ann=4), tmp_path / "cache"
    PhotoSet(root, detector=StubDetector(), cache=cache).roles()
    path = min(cache.rglob("*.safetensors"))
    path.unlink()
    path.mkdir()
    with pytest.raises(DatasetError, match=r"cannot read the kept crop .* \(Is a directory\)"):
        PhotoSet(root, detector=StubDetector(), cache=cache).roles()
    assert path.is_dir()


def test_cache_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    data = PhotoSet(people(tmp_path / "faces", ann=4), detector=StubDetector(), cache=tmp_path / "cache")
    with pytest.raises(DatasetError, match=r"cannot write the crop cache .* set dataset.cache"):
        data.roles()


def test_full_disk_leaves_no_partial_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    source = photo(tmp_path / "ann" / "1.png")
    monkeypatch.setattr(Path, "replace", full)
    cropper = Cropper(StubDetector(), False, 1, 32, tmp_path / "cache")
    with pytest.raises(DatasetError, match="No space left on device"):
        cropper.crop(str(source))
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@pytest.mark.slow
def test_crops_do_not_depend_on_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = people(tmp_path / "faces", **{f"p{number:02}": 5 for number in range(8)})
    Image.new("RGB", (130, 130)).save(root / "p03" / "0-black.png")
    (root / "p04" / "0-letter.jpg").write_text("a letter")
    alone = PhotoSet(root, aligned=True)
    for limit in ("_ALONE_SECONDS", "_SLOW_PHOTO_SECONDS"):
        monkeypatch.setattr(f"cloakbench.datasets.crop_reader.{limit}", 0.0)
    together = PhotoSet(root, aligned=True, workers=2, cache=tmp_path / "cache")
    assert alone.manifest() == together.manifest()
    for role in alone.roles():
        assert torch.equal(alone.faces(role).images, together.faces(role).images)
