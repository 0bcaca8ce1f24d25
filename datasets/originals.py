"""From a face of a data set back to the photo it was cut from: the file as published, and where in it the face lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from cloakbench.bench.core.files.regular_file import open_regular, read_regular
from cloakbench.datasets.crops import Cropper
from cloakbench.datasets.listing import Place, Segment
from cloakbench.datasets.photos import PhotoError, decode


@dataclass(frozen=True)
class Original:
    """A photo as published, and its face.

    Attributes:
        content: the bytes of the file.
        width, height: of the upright photo, in pixels.
        points: ``[5, 2]`` in pixels of the upright photo; None for photos that came aligned.
        box: left, top, right, bottom as it was detected, or given; None where points alone were, or it came aligned.
        matrix: similarity ``[2, 3]`` from the upright photo to the crop; None for photos that came aligned.
        crop: uint8 ``[3, 112, 112]``, cut by ``matrix``; None for photos that came aligned.
    """

    content: bytes
    width: int
    height: int
    points: Tensor | None = None
    box: tuple[float, ...] | None = None
    matrix: Tensor | None = None
    crop: Tensor | None = None


@runtime_checkable
class HasOriginals(Protocol):
    """A data set whose faces come from photo files."""

    def original(self, image_id: str) -> Original:
        """The photo that a face was cut from; raises `PhotoError`."""
        ...


def locate(cropper: Cropper, place: Place, points: Tensor | None, box: Tensor | None = None) -> Original:
    """Read a photo and find its face as the cropper does; given ``points`` ``[5, 2]`` and ``box`` ``[4]`` win.

    Raises:
        PhotoError: the photo cannot be read, or shows no face any more.
        DatasetError: the detector's package is missing.
    """
    try:
        content = _content(place)
    except OSError as error:
        raise PhotoError("unreadable", f"{error.strerror or error}: make the file readable") from error
    photo = decode(content, cropper.max_megapixels)
    height, width = photo.shape[1:]
    if cropper.aligned:
        return Original(content, width, height)
    face = cropper.find(photo, points, box)
    matrix, crop = cropper.cut(photo, face)
    seen = None if face.box is None else tuple(face.box.tolist())
    return Original(content, width, height, face.points, seen, matrix, crop)


def _content(place: Place) -> bytes:
    if not isinstance(place, Segment):
        return read_regular(place)
    with open_regular(place.path) as file:
        file.seek(place.offset)
        return file.read(place.length)
