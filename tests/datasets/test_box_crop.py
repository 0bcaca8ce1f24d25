"""Crops of face boxes: against another implementation, as a data set, and where they or networks do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from box_crop import square_crop
from photo_sets import StubDetector, people, pixels
from torch import Tensor

from cloakbench.bench.config.checks.views import check_view
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.random_streams import generator
from cloakbench.datasets.alignment import ARCFACE_TEMPLATE
from cloakbench.datasets.box_crop import box_similarity, cut_box
from cloakbench.datasets.detection import LANDMARK_COLUMNS
from cloakbench.datasets.photo_set import PhotoSet
from cloakbench.datasets.photos import DatasetError, PhotoError
from cloakbench.models.attributes import AttributeCard

POINTS = torch.tensor(ARCFACE_TEMPLATE)
BOX = (11.25, 4.5, 95.0, 120.75)


def table(path: Path, names: list[str], columns: tuple[str, ...], box: tuple[float, ...] = BOX) -> Path:
    numbers = [f"{value:.4f}" for value in POINTS.flatten().tolist()] + [str(value) for value in box]
    lines = [",".join(["file", *LANDMARK_COLUMNS, *columns]), *(",".join([name, *numbers]) for name in names)]
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("box", [BOX, (-20.5, 30.0, 60.0, 90.0), (40.0, 60.0, 180.0, 139.5), (0.0, 0.0, 223.9, 3.0)])
def test_the_crop_is_that_of_another_implementation(box: tuple[float, ...]) -> None:
    """Squared around its centre, the border going on outside; a square that shrinks less than twice is not averaged."""
    photo = torch.randint(0, 256, (3, 140, 160), generator=generator("box crop"), dtype=torch.uint8)
    matrix, crop = cut_box(photo, torch.tensor(box))
    expected = square_crop(photo, torch.tensor(box), 112)
    assert (crop.int() - expected.int()).abs().max() <= 1
    assert float((crop != expected).float().mean()) < 0.05  # float32 against float64, at halves
    left, top, right, bottom = box
    middle = matrix[:, :2] @ torch.tensor([(left + right) / 2, (top + bottom) / 2], dtype=torch.float64) + matrix[:, 2]
    torch.testing.assert_close(middle, torch.full((2,), 56.0, dtype=torch.float64))


@pytest.mark.parametrize("box", [(5.0, 5.0, 5.0, 9.0), (float("nan"), 0.0, 1.0, 1.0), (500.0, 500.0, 600.0, 600.0)])
def test_a_box_that_is_none_is_a_status(box: tuple[float, ...]) -> None:
    with pytest.raises(PhotoError, match="correct it in landmarks_file") as caught:
        cut_box(torch.zeros(3, 50, 50, dtype=torch.uint8), torch.tensor(box))
    assert caught.value.status == "bad_landmarks"


@pytest.mark.parametrize("columns", [("box_left", "box_top", "box_right", "box_bottom"), ("x1", "y1", "x2", "y2")])
def test_a_data_set_gives_boxes_of_its_table(tmp_path: Path, columns: tuple[str, ...]) -> None:
    root = people(tmp_path, ann=4)
    file = table(tmp_path / "points.csv", [f"ann/{number}.png" for number in range(4)], columns)
    data = PhotoSet(root, crop="box", landmarks_file=file)
    probes, photo = data.faces("probe"), pixels(tmp_path / "ann/2.png")
    matrix, crop = cut_box(photo, torch.tensor(BOX))
    assert data.view == "box" and torch.equal(probes.images[0], crop)
    assert probes.landmarks is not None
    inside: Tensor = POINTS.double() @ matrix[:, :2].T + matrix[:, 2]
    torch.testing.assert_close(probes.landmarks[0].double(), inside, atol=1e-3, rtol=0)
    original = data.original("ann/2.png")
    assert original.box == BOX and original.matrix is not None and torch.equal(original.matrix, matrix)
    aligned = PhotoSet(root, landmarks_file=file)
    assert aligned.view == "aligned" and not torch.equal(aligned.faces("probe").images[0], crop)
    assert aligned.manifest().digest() != data.manifest().digest()


def test_a_detector_gives_boxes_where_nobody_else_does(tmp_path: Path) -> None:
    root = people(tmp_path / "photos", ann=4)
    data = PhotoSet(root, crop="box", detector=StubDetector(), cache=tmp_path / "cache")
    photo = pixels(root / "ann/2.png")
    (seen,) = StubDetector().detect([photo])
    assert torch.equal(data.faces("probe").images[0], cut_box(photo, seen.boxes[0])[1])
    again = PhotoSet(root, crop="box", detector=StubDetector(), cache=tmp_path / "cache")
    assert again.manifest().digest() == data.manifest().digest()
    aligned = PhotoSet(root, detector=StubDetector(), cache=tmp_path / "cache")
    assert aligned.manifest().digest() != data.manifest().digest()


def test_what_cannot_be_is_one_line(tmp_path: Path) -> None:
    root = people(tmp_path, ann=4)
    with pytest.raises(DatasetError, match=r"crop=box needs whole photos, and dataset\.aligned=true"):
        PhotoSet(root, crop="box", aligned=True)
    with pytest.raises(ValueError, match=r"crop.*aligned.*box"):
        PhotoSet(root, crop="head")  # type: ignore[arg-type]
    file = table(tmp_path / "points.csv", ["ann/0.png"], (), ())
    with pytest.raises(DatasetError, match=r"needs dataset\.detector, or .* columns box_left, box_top"):
        PhotoSet(root, crop="box", landmarks_file=file).roles()
    file = table(tmp_path / "wrong.csv", ["ann/0.png"], ("x1", "y1", "x2", "y2"), ("1", "2", "wide", "4"))  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match=r"wrong\.csv, line 2: .*wide.*; correct the row"):
        PhotoSet(root, crop="box", landmarks_file=file).roles()


def test_networks_of_another_view_are_refused(tmp_path: Path) -> None:
    boxes = PhotoSet(tmp_path, crop="box", detector=StubDetector())
    aligned = PhotoSet(tmp_path, detector=StubDetector())
    heads, faces = (AttributeCard("toy", "none", "none", "none", "", view=view) for view in ("box", "aligned"))
    check_view("toy", heads, boxes)
    check_view("toy", faces, aligned)
    with pytest.raises(ConfigError, match=r"toy was trained on face boxes, .* gives aligned crops, .*crop=box"):
        check_view("toy", heads, aligned)
    with pytest.raises(ConfigError, match=r"toy was trained on aligned crops, .* gives face boxes, .*crop=aligned"):
        check_view("toy", faces, boxes)


def test_the_scale_is_that_of_the_longer_side() -> None:
    assert float(box_similarity(torch.tensor([0.0, 0.0, 56.0, 112.0]))[0, 0]) == 1
