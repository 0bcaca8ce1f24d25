"""From a face of a data set back to the photo it was cut from: the file as published, and where in it the face lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from cloakbench.bench.core.files.regular_file import open_regular, read_regular
from cloakbench.datasets.crops import Cropper, align
from cloakbench.datasets.detection import choose_face, detect_faces
from cloakbench.datasets.listing import Place, Segment
from cloakbench.datasets.photos import PhotoError, decode


@dataclass(frozen=True)
class Original:
    """A photo as published, and its face.

    Attributes:
        content: the bytes of the file.
        width, height: of the upright photo, in pixels.
        points: ``[5, 2]`` in pixels of the upright photo; None for photos that came aligned.
        box: left, top, right, bottom as the detector gives it; None where the points were given, or it came aligned.
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


def locate(cropper: Cropper, place: Place, given: Tensor | None) -> Original:
    """Read a photo and find its face as the cropper does; ``given`` points ``[5, 2]`` win over detection.

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
    box, points = None, given
    if points is None:
        if cropper.detector is None:
            raise PhotoError("no_landmarks", "not in landmarks_file: add a row, or set a detector")
        detection = detect_faces(cropper.detector, photo)
        row = choose_face(detection, height, width)
        box, points = tuple(detection.boxes[row].tolist()), detection.landmarks[row]
    matrix, crop = align(photo, points)
    return Original(content, width, height, points, box, matrix, crop)


def _content(place: Place) -> bytes:
    if not isinstance(place, Segment):
        return read_regular(place)
    with open_regular(place.path) as file:
        file.seek(place.offset)
        return file.read(place.length)
