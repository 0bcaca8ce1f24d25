"""Face detectors and the choice of one face per photo.

A detector sees each photo on its own, so what it finds does not depend on the photos around it.
"""

from __future__ import annotations

import logging
import os.path
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cloakbench.bench.core.files.regular_file import leads_to_folder
from cloakbench.bench.core.ranges import SettingError, share, whole
from cloakbench.datasets.photos import DatasetError, PhotoError
from cloakbench.datasets.text_lists import csv_rows, read_text, shown

_POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
LANDMARK_COLUMNS = tuple(f"{point}_{axis}" for point in _POINTS for axis in "xy")
_BOXES = (("box_left", "box_top", "box_right", "box_bottom"), ("x1", "y1", "x2", "y2"))
"""Names under which a table may have the box of a face; the first are those that ``cloakbench export`` writes."""
_HOW_TO_DETECT = (
    "pip install 'cloakbench[detect]', or give aligned crops (dataset.aligned=true) or a dataset.landmarks_file"
)

_STAGES = 3
"""Networks of MTCNN, each with a threshold."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Detection:
    """The faces found in one photo, in pixels with the origin in the centre of the top left pixel.

    Attributes:
        boxes: ``[F, 4]``: left, top, right, bottom.
        landmarks: ``[F, 5, 2]``: eyes, nose tip, mouth corners, from left to right in the image.
        scores: ``[F]`` in [0, 1].
    """

    boxes: Tensor
    landmarks: Tensor
    scores: Tensor


class Detector(Protocol):
    """Finds faces and their five points. It is pickled on its way to other processes."""

    def fingerprint(self) -> str:
        """Everything besides the photo that can change a detection; part of cache keys."""
        ...

    def detect(self, images: Sequence[Tensor]) -> list[Detection]:
        """Faces in each photo, uint8 ``[3, H, W]`` of any size; results do not depend on the other photos."""
        ...


def choose_face(detection: Detection, height: int, width: int) -> int:
    """The row of the face a photo is about, of at least one: large and central.

    The score is box area minus twice the squared distance between the centres of box and photo (D. Sandberg's rule for
    preparing LFW-like sets), so that a bystander who is a little larger but at the edge does not win.
    """
    left, top, right, bottom = detection.boxes.double().unbind(-1)
    offset = torch.stack([(left + right - width + 1) / 2, (top + bottom - height + 1) / 2], -1)
    return int(((right - left) * (bottom - top) - 2 * offset.square().sum(-1)).argmax())


def detect_faces(detector: Detector, photo: Tensor) -> Detection:
    """At least one face of a photo, uint8 ``[3, H, W]``.

    Raises:
        PhotoError: ``no_face`` or ``detector_failed``.
        DatasetError: the detector's package is missing.
    """
    try:
        [detection] = detector.detect([photo])
    except (RuntimeError, IndexError) as error:
        # facenet-pytorch fails so when a candidate box lies outside the photo altogether.
        reason = " ".join(str(error).split())
        raise PhotoError("detector_failed", f"{reason}: give its points in landmarks_file") from error
    if not len(detection.boxes):
        raise PhotoError("no_face", "no face found: give its points in landmarks_file, or leave it out")
    return detection


class Mtcnn:
    """MTCNN (Zhang et al., SPL 2016) as in facenet-pytorch; its wheel carries the weights.

    It runs on the CPU, one photo at a time. In a batch of two or more the three networks answer up to 1e-6 differently
    (torch 2.15), so that a photo's points would depend on its neighbours, and a batch of 32 saves nothing (47 ms a
    photo against 43 ms; LFW, one core). Several photos at once are a matter for processes
    (:mod:`cloakbench.datasets.crop_reader`). Photos are reduced by an integer factor to at most ``max_side`` pixels on
    the longer side first: the cost grows with the area while the chosen face is rarely a small part of it.
    facenet-pytorch counts pixels from one, as MTCNN's MATLAB original did: on photos and their mirror images its points
    disagree by 2 x 0.95 pixels at any face size, so one pixel is taken off. Coordinates are rounded to 0.01 pixel.

    Args:
        min_face_px: smallest face that is looked for, in pixels of the reduced photo.
        thresholds: score thresholds of the three stages.
        min_score: faces with a lower final score are dropped.
        max_side: longest side on which faces are looked for.
    """

    def __init__(
        self,
        min_face_px: int = 20,
        thresholds: Sequence[float] = (0.6, 0.7, 0.7),
        min_score: float = 0.9,
        max_side: int = 1024,
    ) -> None:
        if len(thresholds) != _STAGES:
            raise SettingError("thresholds", list(thresholds), "a list of three numbers from 0 to 1")
        self.min_face_px = whole("min_face_px", min_face_px)
        self.thresholds = tuple(float(share("thresholds", threshold)) for threshold in thresholds)
        self.min_score = share("min_score", min_score)
        self.max_side = whole("max_side", max_side)
        self._nets: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the networks, which every process loads for itself."""
        return self.__dict__ | {"_nets": None}

    def fingerprint(self) -> str:
        """See :class:`Detector`; raises ``DatasetError`` when facenet-pytorch is not installed."""
        try:
            package = version("facenet-pytorch")
        except PackageNotFoundError as error:
            raise DatasetError(f"face detection needs facenet-pytorch: {_HOW_TO_DETECT}") from error
        settings = (self.min_face_px, self.thresholds, self.min_score, self.max_side)
        return f"mtcnn facenet-pytorch {package} torch {torch.__version__} {settings}"

    def detect(self, images: Sequence[Tensor]) -> list[Detection]:
        """See :class:`Detector`.

        Raises:
            DatasetError: facenet-pytorch is not installed or cannot be imported.
        """
        if self._nets is None:
            self._nets = self._load()
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: Tensor) -> Detection:
        factor = -(-max(image.shape[1:]) // self.max_side)
        pixels = np.array(Image.fromarray(image.permute(1, 2, 0).numpy()).reduce(factor))
        fits = min(pixels.shape[:2]) >= self.min_face_px  # facenet-pytorch fails on anything smaller
        boxes, scores, landmarks = self._nets.detect(pixels, landmarks=True) if fits else (None, None, None)
        if boxes is None or scores is None:
            return Detection(torch.zeros(0, 4), torch.zeros(0, 5, 2), torch.zeros(0))
        found = torch.tensor(scores.tolist(), dtype=torch.float64)
        keep = found >= self.min_score

        def in_photo(values: Any) -> Tensor:
            points = torch.tensor(values.tolist(), dtype=torch.float64)[keep]
            return ((points - 0.5) * factor - 0.5).mul(100).round().div(100).float()

        return Detection(in_photo(boxes), in_photo(landmarks), found[keep].float())

    def _load(self) -> Any:
        try:
            from facenet_pytorch import MTCNN
        except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision built for another torch
            raise DatasetError(f"face detection needs facenet-pytorch ({error}): {_HOW_TO_DETECT}") from error
        return MTCNN(keep_all=True, min_face_size=self.min_face_px, thresholds=list(self.thresholds), device="cpu")


def read_landmarks(file: Path, root: Path) -> dict[Path, Tensor]:
    """Five points per photo from a CSV file.

    Columns: ``file`` and ``left_eye_x``, ``left_eye_y``, ``right_eye_...``, ``nose_...``, ``left_mouth_...``,
    ``right_mouth_...``, in pixels of the upright photo; other columns are not read. ``file`` is relative to the CSV
    file's folder or else to ``root``. Rows of files that do not exist are counted in the log.

    Returns:
        float64 ``[5, 2]`` by resolved path.

    Raises:
        DatasetError: the file cannot be read, lacks a column, has a row that is not numbers, or names no existing file.
            Numbers that cannot be a face are that photo's own matter: `cloakbench.datasets.given_points`.
    """
    points: dict[Path, Tensor] = {}
    missing = 0
    for line, row in _rows(file)[1]:
        path = _photo_of(row, file, root)
        if path is None:
            missing += 1
            continue
        points[path] = _numbers(file, line, row, LANDMARK_COLUMNS).view(5, 2)
    if not points:
        raise DatasetError(f"landmarks file {file} names no existing photo: paths start in its folder or in {root}")
    log.info("%d landmark rows read, %d name no existing file", len(points), missing)
    return points


def read_boxes(file: Path, root: Path) -> dict[Path, Tensor]:
    """The face boxes that a file of `read_landmarks` has beside the points, in pixels of the upright photo.

    Columns: ``box_left``, ``box_top``, ``box_right``, ``box_bottom``, or ``x1``, ``y1``, ``x2``, ``y2``; a row whose
    four are empty has none.

    Returns:
        float64 ``[4]`` by resolved path; nothing where there are no such columns.

    Raises:
        DatasetError: as `read_landmarks` does.
    """
    columns, rows = _rows(file)
    names = next((some for some in _BOXES if set(some) <= set(columns)), None)
    if names is None:
        return {}
    boxes = {}
    for line, row in rows:
        path = _photo_of(row, file, root)
        if path is not None and any(row[name].strip() for name in names):
            boxes[path] = _numbers(file, line, row, names)
    return boxes


def _photo_of(row: Mapping[str, str], file: Path, root: Path) -> Path | None:
    places = (folder / row["file"] for folder in (file.parent, root))
    path = next((path for path in places if os.path.lexists(path) and not leads_to_folder(path)), None)
    return None if path is None else path.resolve()


def _numbers(file: Path, line: int, row: Mapping[str, str], names: Sequence[str]) -> Tensor:
    try:
        return torch.tensor([float(row[name]) for name in names], dtype=torch.float64)
    except ValueError as error:
        raise DatasetError(f"landmarks file {file}, line {line}: {shown(str(error))}; correct the row") from error


def _rows(file: Path) -> tuple[tuple[str, ...], Iterator[tuple[int, Mapping[str, str]]]]:
    """Names of the columns, and rows with their line numbers."""
    try:
        text = read_text(file, "landmarks file")
    except OSError as error:
        raise DatasetError(
            f"cannot read dataset.landmarks_file {file}: {error.strerror}: name a CSV table, or null for none"
        ) from error
    used = [name for names in _BOXES for name in names]
    return csv_rows(text, f"landmarks file {file}", ("file", *LANDMARK_COLUMNS), used)
