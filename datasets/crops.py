"""One photo file in, one face crop or the reason for its absence out.

A crop is the face, aligned to the ArcFace template, or, for networks that were trained on them, its squared box.

A crop depends on the photo's bytes, on the options and on nothing else. Because of that it can be kept: with a cache
folder, a photo is decoded and its face is looked for once. Kept crops are sealed and checked when they are read, so
they need not be forced to disk: what a crash of the machine spoils is made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import PIL
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from cloakbench.bench.core.code_digests import code_digest
from cloakbench.bench.core.files.regular_file import NotRegularError, open_regular, read_regular
from cloakbench.bench.core.files.seal import BLANK, DamagedError, check_seal, seal
from cloakbench.bench.core.files.whole_file import whole_file
from cloakbench.bench.core.status import OK
from cloakbench.datasets.alignment import (
    ARCFACE_TEMPLATE,
    CROP_SIZE,
    crop_side,
    resize_crop,
    similarity_transform,
    transform_points,
    warp,
)
from cloakbench.datasets.base import CropView
from cloakbench.datasets.box_crop import cut_box
from cloakbench.datasets.detection import Detector, choose_face, detect_faces
from cloakbench.datasets.given_points import sound_points
from cloakbench.datasets.listing import Place, Segment
from cloakbench.datasets.photos import DatasetError, PhotoError, decode

log = logging.getLogger(__name__)

_NOT_KEPT = {"detector_failed", "too_large"}  # may be for want of memory, not the file's fault
_TEXTS = ("status", "note", "file_sha256", "pixels_sha256", "image_sha256")
_TENSORS = ("image", "landmarks")


@dataclass(frozen=True)
class Crop:
    """What became of a photo file.

    Attributes:
        status: ``ok``, ``unreadable``, ``too_large``, ``too_small``, ``no_face``, ``no_landmarks``,
            ``bad_landmarks`` or ``detector_failed``.
        note: one line; for a status other than ``ok``, what to do.
        file_sha256: digest of the file; empty when it cannot be read at all.
        pixels_sha256: digest of the upright decoded photo: equal for copies in different lossless formats.
        image_sha256: digest of the crop's pixels.
        image: uint8 ``[3, 112, 112]``, RGB.
        landmarks: ``[5, 2]``, pixels of the crop; unknown for photos that came aligned.
    """

    status: str
    note: str = ""
    file_sha256: str = ""
    pixels_sha256: str = ""
    image_sha256: str = ""
    image: Tensor | None = None
    landmarks: Tensor | None = None

    def pack(self) -> bytes:
        """The crop as a safetensors file, for the cache and for the way between processes."""
        tensors = {name: getattr(self, name) for name in _TENSORS if getattr(self, name) is not None}
        return save(tensors, {name: getattr(self, name) for name in _TEXTS} | {"seal": BLANK})

    @classmethod
    def unpack(cls, content: bytes) -> Crop:
        """The crop that was packed.

        Raises:
            ValueError: the content is damaged.
        """
        try:
            length = int.from_bytes(content[:8], "little")
            kept: dict[str, Any] = json.loads(content[8 : 8 + length])["__metadata__"] | load(content)
            kept.pop("seal")
            return cls(**kept)
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a crop: {error}") from error


class FoundFace(NamedTuple):
    """Five points ``[5, 2]`` and, where somebody gave or saw one, the box ``[4]`` of a face, in pixels of its photo."""

    points: Tensor
    box: Tensor | None


@dataclass(frozen=True)
class Cropper:
    """Turns photo files into crops.

    Attributes:
        detector: finds the face of a photo without given landmarks.
        aligned: photos are aligned crops already and are only brought to 112x112.
        max_megapixels: larger photos are refused before they are decoded.
        min_crop_px: smallest side that the crop may have in the photo.
        cache: folder for finished crops.
        view: what a crop shows.
    """

    detector: Detector | None
    aligned: bool
    max_megapixels: float
    min_crop_px: int
    cache: Path | None
    view: CropView = "aligned"

    def crop(self, place: Place, landmarks: Tensor | None = None, box: Tensor | None = None) -> Crop:
        """The crop of one photo; what is given wins over detection, in pixels of the upright photo.

        Args:
            place: of the photo.
            landmarks: the five points, ``[5, 2]``.
            box: left, top, right, bottom of the face, ``[4]``; crops of view ``aligned`` do not need it.

        Raises:
            DatasetError: the detector's package is missing or the cache cannot be read or written.
        """
        try:
            content = _read_photo(place)
        except NotRegularError as error:
            return Crop("unreadable", f"{error.strerror}: put the photo itself there")
        except (OSError, ValueError) as error:  # ValueError: no file may be called so
            return Crop("unreadable", f"{getattr(error, 'strerror', None) or error}: make the file readable")
        digest = hashlib.sha256(content).hexdigest()
        if self.cache is None:
            return self._make(content, digest, landmarks, box)
        file = self.cache / "crops" / digest[:2] / f"{self._key(digest, landmarks, box)}.safetensors"
        kept = _read(file)
        if kept is not None:
            return kept
        crop = self._make(content, digest, landmarks, box)
        if crop.status not in _NOT_KEPT:
            _write(file, crop)
        return crop

    def _make(self, content: bytes, digest: str, landmarks: Tensor | None, box: Tensor | None) -> Crop:
        pixels = ""
        try:
            photo = decode(content, self.max_megapixels)
            pixels = _pixels_digest(photo)
            if self.aligned:
                return self._resized(photo, digest, pixels)
            return self._cut(photo, self.find(photo, landmarks, box), digest, pixels)
        except PhotoError as error:
            return Crop(error.status, str(error), digest, pixels)

    def _resized(self, photo: Tensor, digest: str, pixels: str) -> Crop:
        height, width = photo.shape[1:]
        self._refuse_small(min(height, width))
        note = "" if (height, width) == (CROP_SIZE, CROP_SIZE) else f"resized from {width}x{height}"
        if height != width:
            note += ", which changes the face's proportions"
        image = resize_crop(photo).contiguous()
        return Crop(OK, note, digest, pixels, _digest(image), image)

    def _cut(self, photo: Tensor, face: FoundFace, digest: str, pixels: str) -> Crop:
        matrix, image = self.cut(photo, face)
        self._refuse_small(crop_side(matrix))
        inside = transform_points(face.points, matrix).float()
        return Crop(OK, "", digest, pixels, _digest(image), image.contiguous(), inside)

    def find(self, photo: Tensor, landmarks: Tensor | None, box: Tensor | None) -> FoundFace:
        """The face of a photo, uint8 ``[3, H, W]``: the given one, or what the detector sees.

        Of several faces that it sees, the one whose points are nearest to given ones, or that the photo is about.

        Raises:
            PhotoError: there is none, or what is given cannot be one.
        """
        points = None if landmarks is None else sound_points(landmarks, *photo.shape[1:])
        if points is not None and (box is not None or self.view == "aligned"):
            return FoundFace(points, box)
        if self.detector is None:
            raise PhotoError("no_landmarks", "not in landmarks_file: add a row, or set a detector")
        detection = detect_faces(self.detector, photo)
        row = choose_face(detection, *photo.shape[1:])
        if points is not None:
            row = int((detection.landmarks.double() - points.double()).norm(dim=2).mean(dim=1).argmin())
        return FoundFace(detection.landmarks[row] if points is None else points, detection.boxes[row])

    def cut(self, photo: Tensor, face: FoundFace) -> tuple[Tensor, Tensor]:
        """The similarity ``[2, 3]`` from a photo to the crop of its face, and the crop, uint8 ``[3, 112, 112]``.

        Raises:
            PhotoError: ``bad_landmarks``.
        """
        if self.view == "aligned":
            return align(photo, face.points)
        assert face.box is not None  # `find` gives one with this view
        return cut_box(photo, face.box)

    def _refuse_small(self, side_px: float) -> None:
        if side_px < self.min_crop_px:
            raise PhotoError(
                "too_small",
                f"the face crop is {side_px:.0f} pixels wide: use a larger one or lower min_crop_px",
            )

    def _key(self, digest: str, landmarks: Tensor | None, box: Tensor | None) -> str:
        """Everything that can change the crop of a photo."""
        source = self._source if landmarks is None or self.aligned else f"points {landmarks.tolist()}"
        if self.view == "box":
            source += f" box {self._source if box is None else box.tolist()}"
        parts = (digest, source, self.max_megapixels, self.min_crop_px, self._code)
        return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()

    @cached_property
    def _source(self) -> str:
        if self.aligned:
            return "aligned"
        return self.detector.fingerprint() if self.detector else ""

    @cached_property
    def _code(self) -> str:
        return f"pillow {PIL.__version__} torch {torch.__version__} {code_digest(__name__)}"


def align(photo: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """The similarity ``[2, 3]`` that brings five points of a photo to ArcFace's, and the 112x112 crop it makes.

    Args:
        photo: uint8 ``[3, H, W]``.
        points: ``[5, 2]`` in pixels of the photo.

    Raises:
        PhotoError: ``bad_landmarks``.
    """
    try:
        matrix = similarity_transform(points, torch.tensor(ARCFACE_TEMPLATE))
        return matrix, warp(photo, matrix)
    except ValueError as error:
        raise PhotoError("bad_landmarks", f"{error}: correct them in landmarks_file") from error


def _read_photo(place: Place) -> bytes:
    if not isinstance(place, Segment):
        return read_regular(place)
    with open_regular(place.path) as file:
        file.seek(place.offset)
        content = file.read(place.length)
    if len(content) < place.length:
        raise OSError(f"{place.path} ends before the photo does")
    return content


def _pixels_digest(photo: Tensor) -> str:
    """Digest of size and pixels; rows of pixels, as they lie in memory, so that a large photo is not copied."""
    digest = hashlib.sha256(str(tuple(photo.shape)).encode())
    digest.update(photo.permute(1, 2, 0).contiguous().view(-1).numpy().data)
    return digest.hexdigest()


def _digest(image: Tensor) -> str:
    return hashlib.sha256(image.contiguous().numpy().tobytes()).hexdigest()


def _read(file: Path) -> Crop | None:
    """A kept crop, or None when it is absent or, with a warning, damaged."""
    try:
        content = file.read_bytes()
        check_seal(content, file.name)
        return Crop.unpack(content)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except DamagedError:
        log.warning("%s is damaged; it will be made again", file)
        return None
    except OSError as error:
        raise DatasetError(
            f"cannot read the kept crop {file} ({error.strerror}): make it readable, or set dataset.cache to another "
            "folder or to null"
        ) from error


def _write(file: Path, crop: Crop) -> None:
    try:
        with whole_file(file, durable=False) as stream:  # a crop carries its seal
            stream.writelines(seal(crop.pack(), file.name))
    except OSError as error:
        raise DatasetError(
            f"cannot write the crop cache {file.parent} ({error.strerror}): free space, or set dataset.cache to "
            "another folder or to null"
        ) from error
