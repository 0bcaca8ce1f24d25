"""One photo file in, one aligned face crop or the reason for its absence out.

A crop depends on the file's bytes, on the options and on nothing else. Because of that it can be kept: with a cache
folder, a file is decoded and its face is looked for once.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import PIL
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from cloakbench.datasets.alignment import (
    ARCFACE_TEMPLATE,
    CROP_SIZE,
    crop_side,
    resize_crop,
    similarity_transform,
    transform_points,
    warp,
)
from cloakbench.datasets.base import OK
from cloakbench.datasets.detection import Detector, choose_face
from cloakbench.datasets.photos import DatasetError, PhotoError, decode
from cloakbench.datasets.provenance import code_digest

_NOT_KEPT = {"detector_failed", "too_large"}  # may be for want of memory, not the file's fault


@dataclass(frozen=True)
class Crop:
    """What became of a photo file.

    Attributes:
        status: ``ok``, ``unreadable``, ``too_large``, ``too_small``, ``no_face``, ``no_landmarks``,
            ``bad_landmarks`` or ``detector_failed``.
        note: one line; for a status other than ``ok``, what to do.
        file_sha256: digest of the file; empty when it cannot be read at all.
        pixels_sha256: digest of the upright decoded photo: equal for copies in different lossless formats.
        image: uint8 ``[3, 112, 112]``, RGB.
        landmarks: ``[5, 2]``, pixels of the crop; unknown for photos that came aligned.
    """

    status: str
    note: str = ""
    file_sha256: str = ""
    pixels_sha256: str = ""
    image: Tensor | None = None
    landmarks: Tensor | None = None


@dataclass(frozen=True)
class Cropper:
    """Turns photo files into crops.

    Attributes:
        detector: finds the face of a photo without given landmarks.
        aligned: photos are aligned crops already and are only brought to 112x112.
        max_megapixels: larger photos are refused before they are decoded.
        min_crop_px: smallest side that the crop may have in the photo.
        cache: folder for finished crops.
    """

    detector: Detector | None
    aligned: bool
    max_megapixels: float
    min_crop_px: int
    cache: Path | None

    def crop(self, path: Path, landmarks: Tensor | None = None) -> Crop:
        """The crop of one file; ``landmarks`` ``[5, 2]``, in pixels of the upright photo, win over detection.

        Raises:
            DatasetError: the detector's package is missing or the cache cannot be written.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            return Crop("unreadable", f"{error.strerror or error}: make the file readable")
        digest = hashlib.sha256(content).hexdigest()
        if self.cache is None:
            return self._make(content, digest, landmarks)
        file = self.cache / digest[:2] / f"{self._key(digest, landmarks)}.safetensors"
        crop = _read(file)
        if crop is None:
            crop = self._make(content, digest, landmarks)
            if crop.status not in _NOT_KEPT:
                _write(file, crop)
        return crop

    def _make(self, content: bytes, digest: str, landmarks: Tensor | None) -> Crop:
        pixels = ""
        try:
            photo = decode(content, self.max_megapixels)
            pixels = hashlib.sha256(f"{tuple(photo.shape)}".encode() + photo.numpy().tobytes()).hexdigest()
            if self.aligned:
                return self._resized(photo, digest, pixels)
            points = self._find(photo) if landmarks is None else landmarks
            return self._aligned(photo, points, digest, pixels)
        except PhotoError as error:
            return Crop(error.status, str(error), digest, pixels)

    def _resized(self, photo: Tensor, digest: str, pixels: str) -> Crop:
        height, width = photo.shape[1:]
        self._refuse_small(min(height, width))
        note = "" if (height, width) == (CROP_SIZE, CROP_SIZE) else f"resized from {width}x{height}"
        if height != width:
            note += ", which changes the face's proportions"
        return Crop(OK, note, digest, pixels, resize_crop(photo))

    def _aligned(self, photo: Tensor, points: Tensor, digest: str, pixels: str) -> Crop:
        try:
            matrix = similarity_transform(points, torch.tensor(ARCFACE_TEMPLATE))
            self._refuse_small(crop_side(matrix))
            image = warp(photo, matrix)
        except ValueError as error:
            raise PhotoError("bad_landmarks", f"{error}: correct them in dataset.landmarks_file") from error
        return Crop(OK, "", digest, pixels, image, transform_points(points, matrix).float())

    def _find(self, photo: Tensor) -> Tensor:
        if self.detector is None:
            raise PhotoError("no_landmarks", "not in dataset.landmarks_file: add a row, or set dataset.detector")
        try:
            [detection] = self.detector.detect([photo])
        except (RuntimeError, IndexError) as error:
            # facenet-pytorch fails so when a candidate box lies outside the photo altogether.
            reason = " ".join(str(error).split())
            raise PhotoError("detector_failed", f"{reason}: give its points in dataset.landmarks_file") from error
        row = choose_face(detection, *photo.shape[1:])
        if row is None:
            raise PhotoError("no_face", "no face found: remove it, or give its points in dataset.landmarks_file")
        return detection.landmarks[row]

    def _refuse_small(self, side_px: float) -> None:
        if side_px < self.min_crop_px:
            raise PhotoError(
                "too_small",
                f"the face crop is {side_px:.0f} pixels wide: use a larger one or lower dataset.min_crop_px",
            )

    def _key(self, digest: str, landmarks: Tensor | None) -> str:
        """Everything that can change the crop of a file."""
        if self.aligned:
            source = "aligned"
        elif landmarks is not None:
            source = f"points {landmarks.tolist()}"
        else:
            source = self.detector.fingerprint() if self.detector else ""
        parts = (digest, source, self.max_megapixels, self.min_crop_px, PIL.__version__, code_digest(__name__))
        return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()


def _read(file: Path) -> Crop | None:
    """A kept crop; none when there is none or it is damaged, and then it is made again."""
    try:
        with safe_open(file, framework="pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  (not a mapping)
            return Crop(**stored.metadata(), **tensors)
    except (OSError, SafetensorError, TypeError):
        return None


def _write(file: Path, crop: Crop) -> None:
    text = {name: getattr(crop, name) for name in ("status", "note", "file_sha256", "pixels_sha256")}
    kept = {name: getattr(crop, name) for name in ("image", "landmarks")}
    tensors = {name: value.contiguous() for name, value in kept.items() if value is not None}
    temporary = file.with_name(f".{file.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            stream.write(save(tensors, text))
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise DatasetError(
            f"cannot write the crop cache {file.parent} ({error.strerror}): free space, or set dataset.cache to "
            "another folder or to null"
        ) from error
