"""Photos on disk: roles, statuses and the manifest, with a stub detector."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from photo_sets import TEMPLATE, StubDetector, people, photo, pixels, statuses
from PIL import Image
from torch import Tensor

from cloakbench.bench.config.compose import compose_config
from cloakbench.datasets.alignment import warp
from cloakbench.datasets.detection import Detection
from cloakbench.datasets.photo_set import PhotoSet
from cloakbench.datasets.photos import DatasetError
from cloakbench.datasets.synthetic.world import SyntheticWorld


def landmarks_table(path: Path, rows: dict[str, Tensor]) -> Path:
    names = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
    lines = ["file," + ",".join(f"{name}_{axis}" for name in names for axis in "xy")]
    lines += [
        ",".join([name, *(f"{value:.4f}" for value in points.flatten().tolist())]) for name, points in rows.items()
    ]
    path.write_text("\n".join(lines))
    return path


def test_roles_follow_the_rule_and_the_manifest_says_so(tmp_path: Path):
    root = people(tmp_path, ann=4, bob=7, cid=3, dan=2)
    data = PhotoSet(root, detector=StubDetector())
    assert data.roles() == ("reference", "probe", "distractor")
    assert data.faces("reference").image_id == ("ann/0.png", "ann/1.png", "bob/0.png", "bob/1.png")
    assert data.faces("probe").image_id == ("ann/2.png", "ann/3.png", "bob/2.png", "bob/3.png", "bob/4.png")
    assert data.faces("distractor").identity == ("cid", "dan")
    with pytest.raises(KeyError):
        data.faces("auxiliary")
    manifest = data.manifest()
    assert [entry.role for entry in manifest.entries] == ["reference"] * 4 + ["probe"] * 5 + ["distractor"] * 2
    assert [entry.sha256 for entry in manifest.entries[4:9]] == data.faces("probe").digests()
    assert data.rejected() == ()
    assert manifest.digest() == PhotoSet(root, detector=StubDetector()).manifest().digest()


def test_crops_and_landmarks_are_those_of_the_photo(tmp_path: Path):
    data = PhotoSet(people(tmp_path, ann=4), detector=StubDetector())
    probes = data.faces("probe")
    stored = pixels(tmp_path / "ann/2.png")
    assert torch.equal(probes.images[0], stored[:, :112, :112])
    assert probes.landmarks is not None
    assert torch.allclose(probes.landmarks[0], TEMPLATE, atol=1e-4)


def test_construction_reads_nothing(tmp_path: Path):
    data = PhotoSet(tmp_path / "later", detector=StubDetector())
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
    options = {"probes_per_identity": None, "distractors_per_identity": None}
    with caplog.at_level(logging.INFO):
        data = PhotoSet(root, detector=StubDetector(), max_megapixels=1, **options)
        found = statuses(data)
    rejected = {image_id: status for image_id, status in found.items() if status != "ok"}
    assert rejected == {
        "ann/letter.jpg": "unreadable",
        "ann/zero.png": "unreadable",
        "ann/black.png": "no_face",
        "ann/large.png": "too_large",
        "bob/copy.png": "duplicate",
        "bob/stolen.bmp": "duplicate",
    }
    notes = {entry.image_id: entry.note for entry in data.rejected()}
    assert all(note and "\n" not in note for note in notes.values())
    assert notes["bob/copy.png"] == "same pixels as bob/0.png"
    assert notes["bob/stolen.bmp"] == "same pixels as ann/0.png, another person: one of the two labels is wrong"
    assert len(data.faces("probe")) == 2
    assert "11 photos listed, 2 other files and folders ignored" in caplog.text
    assert "duplicate 2" in caplog.text


def test_same_name_after_normalisation_is_reported(tmp_path: Path):
    people(tmp_path, ann=4)
    photo(tmp_path / "ann" / "e\u0301.png", 1)
    photo(tmp_path / "ann" / "\u00e9.png", 2)
    found = PhotoSet(tmp_path, detector=StubDetector(), probes_per_identity=None)
    assert [(e.image_id, e.status) for e in found.rejected()] == [("ann/\u00e9.png", "duplicate")]


def test_small_faces_are_refused(tmp_path: Path):
    root = people(tmp_path, ann=4)
    photo(root / "ann" / "tiny.png", size=(31, 60))
    aligned = PhotoSet(root, aligned=True)
    [entry] = aligned.rejected()
    assert (entry.image_id, entry.status) == ("ann/tiny.png", "too_small")
    assert "lower min_crop_px" in entry.note
    assert PhotoSet(root, aligned=True, min_crop_px=31, probes_per_identity=None).rejected() == ()


def test_aligned_crops_are_taken_as_they_are(tmp_path: Path):
    for number in range(3):
        photo(tmp_path / "ann" / f"{number}.png", size=(112, 112))
    photo(tmp_path / "ann" / "3.png", size=(218, 178))
    data = PhotoSet(tmp_path, aligned=True)
    stored = pixels(tmp_path / "ann/2.png")
    assert torch.equal(data.faces("probe").images[0], stored)
    assert data.faces("probe").landmarks is None
    notes = {entry.image_id: entry.note for entry in data.manifest().entries}
    assert notes["ann/2.png"] == ""
    assert notes["ann/3.png"] == "resized from 178x218, which changes the face's proportions"


def test_given_landmarks_win_over_the_detector(tmp_path: Path):
    root = people(tmp_path / "faces", ann=5)
    shifted = TEMPLATE + torch.tensor([5.0, 8.0])
    table = landmarks_table(
        tmp_path / "points.csv",
        {"faces/ann/0.png": shifted, "faces/ann/3.png": torch.ones(5, 2), "faces/ann/4.png": TEMPLATE + 900},
    )
    detector = StubDetector()
    data = PhotoSet(root, detector=detector, landmarks_file=table, references_per_identity=1)
    stored = pixels(root / "ann/0.png")
    assert torch.equal(data.faces("reference").images[0], stored[:, 8:120, 5:117])
    assert detector.seen == 2
    assert {e.image_id: e.status for e in data.rejected()} == dict.fromkeys(("ann/3.png", "ann/4.png"), "bad_landmarks")


def test_without_a_detector_only_listed_photos_are_used(tmp_path: Path):
    root = people(tmp_path / "faces", ann=4)
    table = landmarks_table(tmp_path / "points.csv", {f"ann/{number}.png": TEMPLATE for number in range(3)})
    data = PhotoSet(root, landmarks_file=table, references_per_identity=1)
    [entry] = data.rejected()
    assert (entry.image_id, entry.status) == ("ann/3.png", "no_landmarks")


def test_a_detector_that_fails_on_one_photo_costs_one_photo(tmp_path: Path):
    class Fragile(StubDetector):
        def detect(self, images: Sequence[Tensor]) -> list[Detection]:
            if images[0].shape[1] == 77:
                raise IndexError("index 3 is out of bounds")
            return super().detect(images)

    root = people(tmp_path / "faces", ann=4)
    photo(root / "ann" / "0-odd.png", size=(77, 90))
    failing = PhotoSet(root, detector=Fragile(), probes_per_identity=2, cache=tmp_path / "cache")
    assert [(e.image_id, e.status) for e in failing.rejected()] == [("ann/0-odd.png", "detector_failed")]
    mended = PhotoSet(root, detector=StubDetector(), probes_per_identity=2, cache=tmp_path / "cache")
    assert mended.faces("reference").image_id[0] == "ann/0-odd.png"  # the failure was not kept


def test_more_roots_supply_one_role_each_and_nobody_plays_two(tmp_path: Path):
    root = people(tmp_path / "root", ann=4, bob=1)
    distractors = people(tmp_path / "more", ann=1, eve=3)
    auxiliary = people(tmp_path / "public", fay=2, eve=1)
    data = PhotoSet(root, detector=StubDetector(), distractor_root=distractors, auxiliary_root=auxiliary)
    assert data.faces("distractor").image_id == ("bob/0.png", "eve/0.png")
    assert data.faces("auxiliary").image_id == ("fay/0.png", "fay/1.png")
    found = [(entry.image_id, entry.status) for entry in data.rejected()]
    assert found == [("ann/", "identity_clash"), ("eve/", "identity_clash")]
    same = PhotoSet(root, detector=StubDetector(), distractor_root=root)
    assert same.faces("distractor").identity == ("bob",)
    few = PhotoSet(root, detector=StubDetector(), distractor_root=distractors, max_distractors=1)
    assert len(few.faces("distractor")) == 1


def test_options_that_contradict_each_other(tmp_path: Path):
    with pytest.raises(DatasetError, match=r"need dataset.detector or dataset.landmarks_file"):
        PhotoSet(people(tmp_path, ann=4)).roles()
    with pytest.raises(DatasetError, match=r"no use with dataset.aligned"):
        PhotoSet(tmp_path, aligned=True, landmarks_file="points.csv")
    with pytest.raises(DatasetError, match=r"dataset.workers is 'many'"):
        PhotoSet(tmp_path, aligned=True, workers="many")  # type: ignore[arg-type]


def test_nobody_with_enough_photos(tmp_path: Path):
    with pytest.raises(DatasetError, match=r"nobody has 4 usable photos .* the most is 3: add photos or lower"):
        PhotoSet(people(tmp_path, ann=3, bob=1), aligned=True).roles()


def test_configuration_composes_and_reaches_the_constructor(tmp_path: Path):
    root = people(tmp_path / "faces", ann=4)
    given = ["experiment=smoke", "dataset=folder", f"dataset.root={root}", f"paths.results={tmp_path}"]
    data = instantiate(compose_config([*given, "dataset.detector.min_score=0.5"]).dataset)
    assert isinstance(data, PhotoSet)
    data = instantiate(compose_config([*given, "dataset.aligned=true"]).dataset)
    assert len(data.faces("probe")) == 2
    assert list((tmp_path / "store" / "datasets" / "crops").iterdir())


def test_photos_nobody_needs_are_not_opened_and_change_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    root = people(tmp_path, **{f"p{number:02}": 6 for number in range(30)})
    options = {"max_identities": 3, "max_distractors": 4, "probes_per_identity": 2}
    detector = StubDetector()
    with caplog.at_level(logging.INFO):
        data = PhotoSet(root, detector=detector, **options)
        digest = data.manifest().digest()
    assert detector.seen == 3 * 4 + 4
    assert f"{180 - 16} listed photos were not needed and not opened" in caplog.text
    photo(root / data.faces("probe").identity[0] / "9.png", "one more")
    (root / "p00" / "z.jpg").write_text("never looked at")
    assert PhotoSet(root, detector=StubDetector(), **options).manifest().digest() == digest


def test_unusual_files_behave_as_documented(tmp_path: Path):
    """What :mod:`cloakbench.datasets.photos` says, seen from a data set; details in test_photos.py."""
    folder = people(tmp_path, ann=4) / "ann"
    source = Image.open(folder / "0.png").resize((130, 120))
    source.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    source.convert("L").save(folder / "grey.png")
    Image.fromarray(np.asarray(source.convert("L")).astype(np.uint16) * 257).save(folder / "sixteen.png")
    source.save(folder / "moving.gif", save_all=True, append_images=[Image.new("RGB", (130, 120), "red")])
    exif = Image.Exif()
    exif[0x0112] = 6
    source.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.png", exif=exif)
    (folder / "cut.jpg").write_bytes((folder / "cmyk.jpg").read_bytes()[:900])
    (folder / "damaged.png").write_bytes((folder / "0.png").read_bytes().replace(b"IDAT", b"IDAT\xff"))
    Image.new("1", (20000, 20000)).save(folder / "huge.png")
    data = PhotoSet(tmp_path, detector=StubDetector(), probes_per_identity=None)
    found = statuses(data)
    refused = {name.removeprefix("ann/"): status for name, status in found.items() if status != "ok"}
    assert refused == {
        "cut.jpg": "unreadable",
        "damaged.png": "unreadable",
        "huge.png": "too_large",
        "sixteen.png": "duplicate",  # the pixels of grey.png
        "turned.png": "duplicate",  # upright, it is 0.png
    }
    images = dict(zip(data.faces("probe").image_id, data.faces("probe").images, strict=True))
    upright = torch.from_numpy(np.array(source)).permute(2, 0, 1)[:, :112, :112].int()
    assert images["ann/grey.png"].unique(dim=0).shape[0] == 1
    assert (images["ann/moving.gif"].int() - upright).abs().float().mean() < 30  # 256 colours of the first frame
    assert (images["ann/cmyk.jpg"].int() - upright).abs().float().mean() < 60  # noise survives JPEG badly


def test_a_face_leads_back_to_its_full_photo_and_the_matrix_that_cut_it_out(tmp_path: Path) -> None:
    data = PhotoSet(people(tmp_path, ada=4), detector=StubDetector(), references_per_identity=2)
    faces = data.faces("probe")
    for image_id, crop in zip(faces.image_id, faces.images, strict=True):
        photo = data.photo(image_id)
        assert photo is not None and photo.matrix is not None
        assert torch.equal(photo.pixels, pixels(tmp_path / image_id))
        assert torch.equal(warp(photo.pixels, photo.matrix), crop)


def test_photos_that_came_aligned_have_no_matrix_and_worlds_without_photos_none(tmp_path: Path) -> None:
    data = PhotoSet(people(tmp_path, ada=4), aligned=True, references_per_identity=2)
    image_id = data.faces("probe").image_id[0]
    photo = data.photo(image_id)
    assert photo is not None and photo.matrix is None and torch.equal(photo.pixels, pixels(tmp_path / image_id))
    with pytest.raises(KeyError):
        data.photo("nobody/0.png")
    world = SyntheticWorld(identities=2, cache=None)
    assert world.photo("anything") is None
