"""What a layout publishes goes through to the faces: points, labels, roles, aims."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from photo_sets import TEMPLATE, StubDetector, people, photo, pixels
from torch import Tensor

from cloakbench.datasets.base import Role
from cloakbench.datasets.listing import Layout, Listing, Segment
from cloakbench.datasets.photo_set import PhotoSet
from cloakbench.datasets.photos import DatasetError


def landmarks_table(path: Path, rows: dict[str, Tensor]) -> Path:
    names = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
    lines = ["file," + ",".join(f"{name}_{axis}" for name in names for axis in "xy")]
    lines += [
        ",".join([name, *(f"{value:.4f}" for value in points.flatten().tolist())]) for name, points in rows.items()
    ]
    path.write_text("\n".join(lines))
    return path


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


def test_aims_are_those_of_the_layout_whose_photos_can_be_used(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    class Aimed(Labelled):
        def listing(self) -> Listing:
            found = super().listing()
            roles: list[Role | None] = ["auxiliary" if name in ("eve", "fay") else None for name in found.identity]
            return replace(found, role=roles, aims={"ann": "eve", "bob": "fay", "cid": "eve"})

    root = labelled_photos(tmp_path, ann=4, bob=4, cid=1, eve=2, fay=1)
    (root / "fay_0.png").write_text("a letter")
    data = PhotoSet(root, Aimed, detector=StubDetector())
    assert data.aims() == {"ann": "eve"}
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
