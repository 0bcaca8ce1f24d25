"""Photos on disk: roles, statuses, the manifest and the crop cache, with a stub detector and small layouts."""

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from PIL import Image
from torch import Tensor

from cloakbench.bench.composition import compose_config
from cloakbench.datasets.alignment import ARCFACE_TEMPLATE
from cloakbench.datasets.base import Role
from cloakbench.datasets.crops import Cropper
from cloakbench.datasets.detection import Detection
from cloakbench.datasets.listing import Layout, Listing, Segment
from cloakbench.datasets.photo_set import PhotoSet
from cloakbench.datasets.photos import DatasetError
from cloakbench.datasets.randomness import generator

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


def statuses(data: PhotoSet) -> dict[str, str]:
    return {entry.image_id: entry.status for entry in data.manifest().entries}


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
        "empty/": "no_photos",
    }
    notes = {entry.image_id: entry.note for entry in data.rejected()}
    assert all(note and "\n" not in note for note in notes.values())
    assert notes["bob/copy.png"] == "same pixels as bob/0.png"
    assert notes["bob/stolen.bmp"] == "same pixels as ann/0.png, another person: one of the two labels is wrong"
    assert len(data.faces("probe")) == 2
    assert "11 photos listed, 1 other files and folders ignored" in caplog.text
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


def test_aligned_crops_come_back_from_the_cache(tmp_path: Path):
    for number in range(4):
        photo(tmp_path / "photos" / "ann" / f"{number}.png", size=(112, 112))
    first = PhotoSet(tmp_path / "photos", aligned=True, cache=tmp_path / "cache")
    again = PhotoSet(tmp_path / "photos", aligned=True, cache=tmp_path / "cache")
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


def test_configuration_composes_and_reaches_the_constructor(tmp_path: Path):
    root = people(tmp_path / "faces", ann=4)
    given = ["dataset=folder", f"dataset.root={root}", f"paths.results={tmp_path}"]
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


class Labelled(Layout):
    """Files ``<identity>_<number>.png`` in one folder, with roles, points and labels by the number."""

    name = "labelled"
    version = "7"
    page, licence, folder, disk_gib = "https://example.org", "none", "<identity>_<number>.png", 0.0
    roles: ClassVar[dict[int, Role]] = {}

    def listing(self) -> Listing:
        files = sorted(self.root.glob("*.png"))
        numbers = np.array([int(file.stem.split("_")[1]) for file in files])
        points = np.full((len(files), 5, 2), np.nan, dtype=np.float32)
        points[numbers != 1] = TEMPLATE + torch.tensor([4.0, 6.0])
        return Listing(
            [file.name for file in files],
            [file.stem.split("_")[0] for file in files],
            [str(file) for file in files],
            role=[self.roles.get(int(number)) for number in numbers],
            landmarks=points,
            attributes={"number": np.where(numbers == 2, -1, numbers).astype(np.int16)},
        )


def labelled_photos(root: Path, **counts: int) -> Path:
    for identity, count in counts.items():
        for number in range(count):
            photo(root / f"{identity}_{number}.png", f"{identity} {number}")
    return root


def test_published_points_and_labels_go_through(tmp_path: Path):
    root = labelled_photos(tmp_path / "set", ann=4)
    more = people(tmp_path / "more", eve=1)
    table = landmarks_table(tmp_path / "points.csv", {"set/ann_3.png": TEMPLATE + torch.tensor([1.0, 2.0])})
    detector = StubDetector()
    data = PhotoSet(root, Labelled, detector=detector, landmarks_file=table, distractor_root=more)
    references, probes = data.faces("reference"), data.faces("probe")
    assert data.version == "7"
    assert detector.seen == 2  # ann_1 and eve: no published points
    assert torch.equal(references.images[0], pixels(root / "ann_0.png")[:, 6:118, 4:116])
    assert torch.equal(probes.images[1], pixels(root / "ann_3.png")[:, 2:114, 1:113])
    assert probes.attributes["number"].tolist() == [-1, 3]
    assert probes.attributes["number"].dtype == torch.int64
    assert data.faces("distractor").attributes["number"].tolist() == [-1]


def test_published_roles_are_kept(tmp_path: Path):
    class Published(Labelled):
        roles: ClassVar[dict[int, Role]] = {0: "probe", 1: "probe", 2: "reference", 3: "reference", 4: "reference"}

    root = labelled_photos(tmp_path, ann=5, bob=4, cid=2)
    data = PhotoSet(root, Published, detector=StubDetector(), references_per_identity=2)
    assert data.faces("probe").image_id == ("ann_0.png", "ann_1.png", "bob_0.png", "bob_1.png")
    assert data.faces("reference").image_id == ("ann_2.png", "ann_3.png", "bob_2.png", "bob_3.png")
    assert "distractor" not in data.roles()  # cid gave no references, and a published probe is nothing else


def test_targets_are_those_of_the_layout_whose_photos_can_be_used(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    class Aimed(Labelled):
        def listing(self) -> Listing:
            found = super().listing()
            roles: list[Role | None] = ["auxiliary" if name in ("eve", "fay") else None for name in found.identity]
            return replace(found, role=roles, targets={"ann": "eve", "bob": "fay", "cid": "eve"})

    root = labelled_photos(tmp_path, ann=4, bob=4, cid=1, eve=2, fay=1)
    (root / "fay_0.png").write_text("a letter")
    data = PhotoSet(root, Aimed, detector=StubDetector())
    assert data.targets() == {"ann": "eve"}
    assert data.faces("auxiliary").identity == ("eve", "eve")
    assert "no usable photo of fay" in caplog.text


def test_roles_that_exclude_each_other(tmp_path: Path):
    class Contradictory(Labelled):
        roles: ClassVar[dict[int, Role]] = {0: "auxiliary", 1: "probe"}

    with pytest.raises(DatasetError, match="gives ann the roles auxiliary, probe: correct its label files"):
        PhotoSet(labelled_photos(tmp_path, ann=2), Contradictory, aligned=True).roles()


def test_part_of_a_file_is_a_photo(tmp_path: Path):
    people(tmp_path / "faces", ann=4)
    parts = [path.read_bytes() for path in sorted((tmp_path / "faces/ann").iterdir())]
    archive = tmp_path / "faces.rec"
    archive.write_bytes(b"head" + b"".join(parts))

    class Archive(Labelled):
        def listing(self) -> Listing:
            offsets = 4 + np.cumsum([0, *map(len, parts)])
            places = [Segment(str(archive), int(o), len(part)) for o, part in zip(offsets, parts, strict=False)]
            places.append(Segment(str(archive), archive.stat().st_size - 9, 100))
            return Listing([f"{n}" for n in range(5)], ["ann"] * 5, places)

    data = PhotoSet(tmp_path, Archive, detector=StubDetector(), probes_per_identity=None)
    files = PhotoSet(tmp_path / "faces", detector=StubDetector())
    assert torch.equal(data.faces("probe").images, files.faces("probe").images)
    assert [(entry.image_id, entry.status) for entry in data.rejected()] == [("4", "unreadable")]


def test_training_and_testing(tmp_path: Path):
    root = people(tmp_path, **{f"p{number}": 5 for number in range(4)})
    options = {"aligned": True, "references_per_identity": 0, "probes_per_identity": None}
    data = PhotoSet(root, test_share=0.2, **options)
    assert data.roles() == ("train", "test")
    assert data.faces("test").identity == ("p0", "p1", "p2", "p3")
    assert len(data.faces("train")) == 16
    apart = PhotoSet(root, test_share=0.2, test_split="by_identity", **options)
    [tested] = set(apart.faces("test").identity)
    assert tested not in apart.faces("train").identity
    assert len(apart.faces("test")) == 5


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
