"""From a photo file to its faces: the crops a method works on and the similarities that lead back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from cloakbench.bench.core.files.regular_file import read_regular
from cloakbench.datasets.alignment import crop_side, transform_points
from cloakbench.datasets.crops import align
from cloakbench.datasets.detection import Detector, choose_face, detect_faces
from cloakbench.datasets.given_points import sound_points
from cloakbench.datasets.photos import PhotoError, decode

Which = Literal["main", "all"]


@dataclass(frozen=True)
class Face:
    """One face of a photo.

    Attributes:
        points: ``[5, 2]``, eyes, nose tip and mouth corners in pixels of the upright photo.
        matrix: similarity from photo to crop coordinates, ``[2, 3]``.
        crop: uint8 ``[3, 112, 112]``.
        box: left, top, right, bottom as the detector gives it; None where the points were given.
    """

    points: Tensor
    matrix: Tensor
    crop: Tensor
    box: tuple[float, ...] | None

    @property
    def side_px(self) -> float:
        """Side of the crop in pixels of the photo."""
        return crop_side(self.matrix)

    @property
    def is_grey(self) -> bool:
        """Whether the crop has no colour."""
        return bool((self.crop == self.crop[:1]).all())

    @property
    def landmarks(self) -> Tensor:
        """The five points in pixels of the crop, float32 ``[5, 2]``."""
        return transform_points(self.points, self.matrix).float()


@dataclass(frozen=True)
class Found:
    """The faces of a photo file.

    Attributes:
        faces: those to protect, from left to right.
        others: how many more faces the detector saw and nobody protects.
    """

    faces: tuple[Face, ...]
    others: int


@dataclass(frozen=True)
class FaceFinder:
    """Opens photos and finds their faces.

    Attributes:
        detector: looks for faces in photos without given points.
        points: given points ``[5, 2]``, by resolved path.
        which: the face the photo is about, or all of them.
        max_megapixels: larger photos are refused before they are decoded.
        min_crop_px: smallest side of a crop in pixels of the photo.
    """

    detector: Detector
    points: Mapping[Path, Tensor]
    which: Which
    max_megapixels: float
    min_crop_px: int

    def given(self, path: Path) -> Tensor | None:
        """The points that were given for a photo, ``[5, 2]``."""
        return self.points.get(Path(os.path.realpath(path)))  # `resolve` raises for links in a circle

    def open(self, path: Path) -> Found:
        """Read, decode and align.

        Raises:
            PhotoError: ``unreadable``, ``too_large``, ``no_face``, ``too_small``, ``bad_landmarks`` or
                ``detector_failed``.
            DatasetError: the detector's package is missing.
        """
        return self.find(self.decode(read(path)), self.given(path))

    def decode(self, content: bytes) -> Tensor:
        """Upright pixels, uint8 ``[3, H, W]``; raises `PhotoError`."""
        return decode(content, self.max_megapixels)

    def find(self, pixels: Tensor, given: Tensor | None) -> Found:
        """The faces of a decoded photo, uint8 ``[3, H, W]``; raises `PhotoError`."""
        if given is not None:
            found, others = [_face(pixels, sound_points(given, *pixels.shape[1:]), None)], 0
        else:
            detection = detect_faces(self.detector, pixels)
            main = choose_face(detection, *pixels.shape[1:])
            rows = [row for row in range(len(detection.boxes)) if self.which == "all" or row == main]
            found = [
                _face(pixels, detection.landmarks[row], tuple(detection.boxes[row].tolist()))
                for row in sorted(rows, key=lambda row: float(detection.boxes[row, 0]))
            ]
            others = len(detection.boxes) - len(found)
        large = [face for face in found if face.side_px >= self.min_crop_px]
        if not large:
            raise PhotoError("too_small", f"no face crop is {self.min_crop_px} pixels wide: lower min_crop_px")
        return Found(tuple(large), others + len(found) - len(large))


def read(path: Path) -> bytes:
    """The bytes of a photo file; raises `PhotoError`."""
    try:
        return read_regular(path)
    except OSError as error:
        raise PhotoError("unreadable", f"{error.strerror or error}: make the file readable") from error


def _face(pixels: Tensor, points: Tensor, box: tuple[float, ...] | None) -> Face:
    matrix, crop = align(pixels, points)
    return Face(points, matrix, crop, box)
