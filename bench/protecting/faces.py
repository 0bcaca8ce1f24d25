"""From a photo file to its faces: the crops a method works on and the similarities that lead back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from cloakbench.datasets.alignment import ARCFACE_TEMPLATE, crop_side, similarity_transform, transform_points, warp
from cloakbench.datasets.detection import Detection, Detector, choose_face
from cloakbench.datasets.photos import PhotoError, decode

Which = Literal["main", "all"]


class UnusableError(Exception):
    """A photo that cannot be protected: ``status`` in one word, the message with the remedy."""

    def __init__(self, status: str, note: str) -> None:
        super().__init__(note)
        self.status = status


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
        return self.points.get(path.resolve())

    def open(self, path: Path) -> Found:
        """Read, decode and align.

        Raises:
            UnusableError: ``unreadable``, ``too_large``, ``no_face``, ``too_small``, ``bad_landmarks`` or
                ``detector_failed``.
            DatasetError: the detector's package is missing.
        """
        return self.find(self.decode(read(path)), self.given(path))

    def decode(self, content: bytes) -> Tensor:
        """Upright pixels, uint8 ``[3, H, W]``; raises `UnusableError`."""
        try:
            return decode(content, self.max_megapixels)
        except PhotoError as error:
            raise UnusableError(error.status, str(error).replace("dataset.", "")) from error

    def find(self, pixels: Tensor, given: Tensor | None) -> Found:
        """The faces of a decoded photo, uint8 ``[3, H, W]``; raises `UnusableError`."""
        if given is not None:
            found, others = [_align(pixels, given, None)], 0
        else:
            detection = self._detect(pixels)
            main = choose_face(detection, *pixels.shape[1:])
            rows = [row for row in range(len(detection.boxes)) if self.which == "all" or row == main]
            found = [
                _align(pixels, detection.landmarks[row], tuple(detection.boxes[row].tolist()))
                for row in sorted(rows, key=lambda row: float(detection.boxes[row, 0]))
            ]
            others = len(detection.boxes) - len(found)
        large = [face for face in found if face.side_px >= self.min_crop_px]
        if not large:
            raise UnusableError("too_small", f"no face crop is {self.min_crop_px} pixels wide: lower min_crop_px")
        return Found(tuple(large), others + len(found) - len(large))

    def _detect(self, pixels: Tensor) -> Detection:
        """At least one face; raises `UnusableError`."""
        try:
            [detection] = self.detector.detect([pixels])
        except (RuntimeError, IndexError) as error:
            # facenet-pytorch fails so when a candidate box lies outside the photo altogether.
            reason = " ".join(str(error).split())
            raise UnusableError("detector_failed", f"{reason}: give its points in landmarks_file") from error
        if not len(detection.boxes):
            raise UnusableError("no_face", "no face found: give its points in landmarks_file, or do not publish it")
        return detection


def read(path: Path) -> bytes:
    """The bytes of a photo file; raises `UnusableError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnusableError("unreadable", f"{error.strerror or error}: make the file readable") from error


def _align(pixels: Tensor, points: Tensor, box: tuple[float, ...] | None) -> Face:
    try:
        matrix = similarity_transform(points, torch.tensor(ARCFACE_TEMPLATE))
        return Face(points, matrix, warp(pixels, matrix), box)
    except ValueError as error:
        raise UnusableError("bad_landmarks", f"{error}: correct them in landmarks_file") from error
