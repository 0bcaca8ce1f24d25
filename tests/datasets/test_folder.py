"""Folders of photos: roles, statuses, the manifest and the crop cache, with a stub detector."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from PIL import Image
from torch import Tensor

import cloakbench.conf
from cloakbench.datasets.alignment import ARCFACE_TEMPLATE
from cloakbench.datasets.crops import Cropper
from cloakbench.datasets.detection import Detection
from cloakbench.datasets.folder import Folder
from cloakbench.datasets.photos import DatasetError
from cloakbench.datasets.randomness import generator
from cloakbench.datasets.splits import SplitRule, assign_roles

TEMPLATE = torch.tensor(ARCFACE_TEMPLATE)


class StubDetector:
    """Finds the template face at the top left of every photo that is not black; counts the photos it saw."""

    def __init__(self) -> None:
        self.seen = 0

    def fingerprint(self) -> str:
        return "stub"

    def detect(self, images: Sequence[Tensor]) -> list[Detection]:
        self.seen += len(images)
        faces = [int(image.any()) for image in images]
        box = torch.tensor([[20.0, 20.0, 90.0, 110.0]])
        return [Detection(box[:n], TEMPLATE[None][:n], torch.ones(n)) for n in faces]


def photo(path: Path, seed: object = None, size: tuple[int, int] = (120, 130)) -> Path:
    """A noise image, different for each path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=generator(seed or path.name, path.parent))
    Image.fromarray(values.numpy()).save(path)
    return path


def pixels(path: Path) -> Tensor:
    return torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)


def people(root: Path, **counts: int) -> Path:
    for identity, count in counts.items():
        for number in range(count):
            photo(root / identity / f"{number}.png", f"{identity} {number}")
    return root


def statuses(data: Folder) -> dict[str, str]:
    return {entry.image_id: entry.status for entry in data.manifest().entries}


def test_roles_follow_the_rule_and_every_file_is_in_the_manifest(tmp_path: Path):
    root = people(tmp_path, ann=4, bob=7, cid=3, dan=2)
    data = Folder(root, detector=StubDetector())
    assert data.roles() == ("reference", "probe", "distractor")
    assert data.faces("reference").image_id == ("ann/0.png", "ann/1.png", "bob/0.png", "bob/1.png")
    assert data.faces("probe").image_id == ("ann/2.png", "ann/3.png", "bob/2.png", "bob/3.png", "bob/4.png")
    assert data.faces("distractor").identity == ("cid", "dan")
    with pytest.raises(KeyError):
        data.faces("auxiliary")
    manifest = data.manifest()
    assert len(manifest.entries) == 16
    assert {entry.image_id for entry in data.rejected()} == {
        "bob/5.png",
        "bob/6.png",
        "cid/1.png",
        "cid/2.png",
        "dan/1.png",
    }
    assert all(entry.status == "unused" and entry.note for entry in data.rejected())
    assert manifest.digest() == Folder(root, detector=StubDetector()).manifest().digest()


def test_crops_and_landmarks_are_those_of_the_photo(tmp_path: Path):
    data = Folder(people(tmp_path, ann=4), detector=StubDetector())
    probes = data.faces("probe")
    stored = pixels(tmp_path / "ann/2.png")
    assert torch.equal(probes.images[0], stored[:, :112, :112])
    assert probes.landmarks is not None
    assert torch.allclose(probes.landmarks[0], TEMPLATE, atol=1e-4)


def test_construction_reads_nothing(tmp_path: Path):
    data = Folder(tmp_path / "later", detector=StubDetector())
    people(tmp_path / "later", ann=4)
    assert len(data.faces("probe")) == 2


def test_bad_files_get_a_status_and_the_rest_goes_through(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    root = people(tmp_path, ann=4, bob=1)
    (root / "empty").mkdir()
    (root / "ann" / "letter.jpg").write_text("a letter")
    (root / "ann" / "zero.png").touch()
    (root / "ann" / "notes.txt").write_text("ignored")
    Image.new("RGB", (130, 130)).save(root / "ann" / "black.png")
    Image.new("L", (2000, 600), 9).save(root / "ann" / "large.png")
    (root / "bob" / "copy.png").write_bytes((root / "bob/0.png").read_bytes())
    Image.open(root / "ann/0.png").save(root / "bob/stolen.bmp")
    with caplog.at_level(logging.INFO):
        data = Folder(root, detector=StubDetector(), max_megapixels=1)
        found = statuses(data)
    rejected = {image_id: status for image_id, status in found.items() if status != "ok"}
    assert rejected == {
        "ann/letter.jpg": "unreadable",
        "ann/zero.png": "unreadable",
        "ann/black.png": "no_face",
        "ann/large.png": "too_large",
        "bob/copy.png": "duplicate",
        "bob/stolen.bmp": "duplicate",
        "empty/": "no_photos",
    }
    notes = {entry.image_id: entry.note for entry in data.rejected()}
    assert all(note and "\n" not in note for note in notes.values())
    assert notes["bob/copy.png"] == "same pixels as bob/0.png"
    assert notes["bob/stolen.bmp"] == "same pixels as ann/0.png, another person: one of the two labels is wrong"
    assert len(data.faces("probe")) == 2
    assert "1 other files and folders ignored" in caplog.text
    assert "duplicate 2" in caplog.text


def test_same_name_after_normalisation_is_reported(tmp_path: Path):
    people(tmp_path, ann=4)
    photo(tmp_path / "ann" / "e\u0301.png", 1)
    photo(tmp_path / "ann" / "\u00e9.png", 2)
    found = Folder(tmp_path, detector=StubDetector(), probes_per_identity=None)
    assert [(e.image_id, e.status) for e in found.rejected()] == [("ann/\u00e9.png", "duplicate")]


def test_small_faces_are_refused(tmp_path: Path):
    root = people(tmp_path, ann=4)
    photo(root / "ann" / "tiny.png", size=(31, 60))
    aligned = Folder(root, aligned=True)
    [entry] = aligned.rejected()
    assert (entry.image_id, entry.status) == ("ann/tiny.png", "too_small")
    assert "lower dataset.min_crop_px" in entry.note
    assert Folder(root, aligned=True, min_crop_px=31, probes_per_identity=None).rejected() == ()


def test_aligned_crops_are_taken_as_they_are(tmp_path: Path):
    for number in range(3):
        photo(tmp_path / "ann" / f"{number}.png", size=(112, 112))
    photo(tmp_path / "ann" / "3.png", size=(218, 178))
    data = Folder(tmp_path, aligned=True)
    stored = pixels(tmp_path / "ann/2.png")
    assert torch.equal(data.faces("probe").images[0], stored)
    assert data.faces("probe").landmarks is None
    notes = {entry.image_id: entry.note for entry in data.manifest().entries}
    assert notes["ann/2.png"] == ""
    assert notes["ann/3.png"] == "resized from 178x218, which changes the face's proportions"


def test_aligned_crops_come_back_from_the_cache(tmp_path: Path):
    for number in range(4):
        photo(tmp_path / "photos" / "ann" / f"{number}.png", size=(112, 112))
    first = Folder(tmp_path / "photos", aligned=True, cache=tmp_path / "cache")
    again = Folder(tmp_path / "photos", aligned=True, cache=tmp_path / "cache")
    assert torch.equal(first.faces("probe").images, again.faces("probe").images)
    assert first.manifest().digest() == again.manifest().digest()
    assert list((tmp_path / "cache").rglob("*"))


def landmarks_table(path: Path, rows: dict[str, Tensor]) -> Path:
    names = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
    lines = ["file," + ",".join(f"{name}_{axis}" for name in names for axis in "xy")]
    lines += [
        ",".join([name, *(f"{value:.4f}" for value in points.flatten().tolist())]) for name, points in rows.items()
    ]
    path.write_text("\n".join(lines))
    return path


def test_given_landmarks_win_over_the_detector(tmp_path: Path):
    root = people(tmp_path / "faces", ann=5)
    shifted = TEMPLATE + torch.tensor([5.0, 8.0])
    table = landmarks_table(
        tmp_path / "points.csv",
        {"faces/ann/0.png": shifted, "faces/ann/3.png": torch.ones(5, 2), "faces/ann/4.png": TEMPLATE + 900},
    )
    detector = StubDetector()
    data = Folder(root, detector=detector, landmarks_file=table, references_per_identity=1)
    stored = pixels(root / "ann/0.png")
    assert torch.equal(data.faces("reference").images[0], stored[:, 8:120, 5:117])
    assert detector.seen == 2
    assert {e.image_id: e.status for e in data.rejected()} == dict.fromkeys(("ann/3.png", "ann/4.png"), "bad_landmarks")


def test_without_a_detector_only_listed_photos_are_used(tmp_path: Path):
    root = people(tmp_path / "faces", ann=4)
    table = landmarks_table(tmp_path / "points.csv", {f"ann/{number}.png": TEMPLATE for number in range(3)})
    data = Folder(root, landmarks_file=table, references_per_identity=1)
    [entry] = data.rejected()
    assert (entry.image_id, entry.status) == ("ann/3.png", "no_landmarks")


def test_a_detector_that_fails_on_one_photo_costs_one_photo(tmp_path: Path):
    class Fragile(StubDetector):
        def detect(self, images: Sequence[Tensor]) -> list[Detection]:
            if images[0].shape[1] == 77:
                raise IndexError("index 3 is out of bounds")
            return super().detect(images)

    root = people(tmp_path / "faces", ann=4)
    photo(root / "ann" / "odd.png", size=(77, 90))
    for detector, status in ((Fragile(), "detector_failed"), (StubDetector(), "unused")):
        data = Folder(root, detector=detector, probes_per_identity=2, cache=tmp_path / "cache")
        assert [(e.image_id, e.status) for e in data.rejected()] == [("ann/odd.png", status)]


def test_more_roots_supply_one_role_each_and_nobody_plays_two(tmp_path: Path):
    root = people(tmp_path / "root", ann=4, bob=1)
    distractors = people(tmp_path / "more", ann=1, eve=3)
    auxiliary = people(tmp_path / "public", fay=2, eve=1)
    data = Folder(root, detector=StubDetector(), distractor_root=distractors, auxiliary_root=auxiliary)
    assert data.faces("distractor").image_id == ("bob/0.png", "eve/0.png")
    assert data.faces("auxiliary").image_id == ("fay/0.png", "fay/1.png")
    found = [(entry.image_id, entry.status) for entry in data.rejected()]
    assert found[:2] == [("ann/0.png", "identity_clash"), ("eve/0.png", "identity_clash")]
    same = Folder(root, detector=StubDetector(), distractor_root=root)
    assert same.faces("distractor").identity == ("bob",)


def test_options_that_contradict_each_other(tmp_path: Path):
    with pytest.raises(DatasetError, match=r"need dataset.detector or dataset.landmarks_file"):
        Folder(tmp_path)
    with pytest.raises(DatasetError, match=r"no use with dataset.aligned"):
        Folder(tmp_path, aligned=True, landmarks_file="points.csv")
    with pytest.raises(DatasetError, match="probes_per_identity is 1: it must be at least 2"):
        Folder(tmp_path, aligned=True, probes_per_identity=1)


def test_nobody_with_enough_photos(tmp_path: Path):
    with pytest.raises(DatasetError, match=r"nobody has 4 usable photos .* the most is 3: add photos or lower"):
        Folder(people(tmp_path, ann=3, bob=1), aligned=True).roles()


RULE = {
    "references_per_identity": 1,
    "probes_per_identity": 2,
    "distractors_per_identity": 1,
    "auxiliary_identities": 0,
    "impostor_identities": 0,
    "max_identities": None,
    "seed": 0,
}


def crowd(count: int) -> dict[str, list[str]]:
    return {f"p{n:02}": [f"p{n:02}/{k}" for k in range(3)] for n in range(count)}


def members(roles: Mapping[str, str], role: str) -> set[str]:
    return {image_id.split("/")[0] for image_id, name in roles.items() if name == role}


def test_selection_is_nested_seeded_and_stable_under_additions():
    few, more = (members(assign_roles(crowd(30), SplitRule(**RULE | {"max_identities": n})), "probe") for n in (5, 12))
    assert len(few) == 5
    assert few < more
    assert few != members(assign_roles(crowd(30), SplitRule(**RULE | {"max_identities": 5, "seed": 1})), "probe")
    grown = members(assign_roles(crowd(31), SplitRule(**RULE | {"max_identities": 12})), "probe")
    assert len(more - grown) <= 1
    backwards = dict(reversed(list(crowd(30).items())))
    assert few == members(assign_roles(backwards, SplitRule(**RULE | {"max_identities": 5})), "probe")


def test_auxiliary_and_impostors_share_nobody():
    rule = SplitRule(**RULE | {"max_identities": 10, "auxiliary_identities": 6, "impostor_identities": 5})
    roles = assign_roles(crowd(30), rule)
    groups = [members(roles, role) for role in ("probe", "auxiliary", "impostor", "distractor")]
    assert [len(group) for group in groups] == [10, 6, 5, 9]
    assert len(set.union(*groups)) == 30
    assert members(roles, "reference") == groups[0]
    with pytest.raises(DatasetError, match="ask for 21 people but only 20 are not subjects"):
        assign_roles(crowd(30), SplitRule(**RULE | {"max_identities": 10, "auxiliary_identities": 21}))


def test_cache_saves_the_second_detection_and_gives_the_same_manifest(tmp_path: Path):
    root, cache = people(tmp_path / "faces", ann=5, bob=2), tmp_path / "cache"
    (root / "bob" / "letter.jpg").write_text("a letter")
    first, second, other = StubDetector(), StubDetector(), StubDetector()
    data = Folder(root, detector=first, cache=cache)
    again = Folder(root, detector=second, cache=cache)
    assert data.manifest() == again.manifest() == Folder(root, detector=StubDetector()).manifest()
    made, kept = data.faces("probe").landmarks, again.faces("probe").landmarks
    assert made is not None
    assert kept is not None
    assert torch.equal(made, kept)
    assert (first.seen, second.seen) == (7, 0)
    Folder(root, detector=other, cache=cache, min_crop_px=40).roles()
    assert other.seen == 7
    assert not [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".safetensors"]


def test_damaged_cache_entry_is_made_again(tmp_path: Path):
    root, cache = people(tmp_path / "faces", ann=4), tmp_path / "cache"
    digest = Folder(root, detector=StubDetector(), cache=cache).manifest().digest()
    for number, path in enumerate(sorted(cache.rglob("*.safetensors"))):
        os.truncate(path, [0, 7, 300, 20000][number])
    detector = StubDetector()
    assert Folder(root, detector=detector, cache=cache).manifest().digest() == digest
    assert detector.seen == 4


def test_cache_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    data = Folder(people(tmp_path / "faces", ann=4), detector=StubDetector(), cache=tmp_path / "cache")
    with pytest.raises(DatasetError, match=r"cannot write the crop cache .* set dataset.cache"):
        data.roles()


def test_full_disk_leaves_no_partial_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    cropper = Cropper(StubDetector(), False, 1, 32, tmp_path / "cache")
    with pytest.raises(DatasetError, match="No space left on device"):
        cropper.crop(photo(tmp_path / "ann" / "1.png"))
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_configuration_composes_and_reaches_the_constructor(tmp_path: Path):
    root = people(tmp_path, ann=4)
    conf = Path(cloakbench.conf.__file__).parent.resolve()
    with initialize_config_dir(str(conf), version_base="1.3"):
        config = compose(overrides=["+dataset=folder", f"dataset.root={root}", "dataset.detector.min_score=0.5"])
        data = instantiate(config.dataset)
    assert isinstance(data, Folder)
    with initialize_config_dir(str(conf), version_base="1.3"):
        config = compose(overrides=["+dataset=folder", f"dataset.root={root}", "dataset.aligned=true"])
    assert len(instantiate(config.dataset).faces("probe")) == 2
