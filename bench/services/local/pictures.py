"""`FaceReader`: from the file that came to the face in it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cloakbench.datasets.alignment import resize_crop
from cloakbench.datasets.crops import align
from cloakbench.datasets.detection import Detector, choose_face, detect_faces
from cloakbench.datasets.photos import PhotoError, decode, opened
from cloakbench.models.pictures import JPEG, PNG, Picture, PictureLimits

FLAT_255 = 6.0
"""A picture with less contrast than this, in grey levels, shows no face."""
_SIGNS = {b"\x89PNG\r\n\x1a\n": PNG, b"\xff\xd8\xff": JPEG}
_LUMA = (0.299, 0.587, 0.114)


class BadPictureError(ValueError):
    """A picture is not taken; one line that says why."""


@dataclass(frozen=True)
class SeenFace:
    """The face of a picture.

    Attributes:
        crop: uint8 ``[3, 112, 112]``.
        box: left, top, width and height in pixels of the picture.
    """

    crop: Tensor
    box: tuple[int, int, int, int]


class FaceReader:
    """Finds the face in a picture.

    Args:
        limits: which pictures are taken. Smaller faces are not found.
        detector: finds faces in photos. Without one each picture is taken for a face that was cut out and aligned, as
            those of data sets are, at any size; one without contrast for nobody.
    """

    def __init__(self, limits: PictureLimits, detector: Detector | None = None) -> None:
        self._limits, self._detector = limits, detector
        self._megapixels = limits.side_px[1] ** 2 / 1e6

    def read(self, content: bytes) -> SeenFace | None:
        """The face in a picture; None where there is none.

        Raises:
            BadPictureError: the picture is damaged or over a limit.
        """
        kind = next((kind for sign, kind in _SIGNS.items() if content.startswith(sign)), "")
        if not kind:
            raise BadPictureError("it is neither PNG nor JPEG")
        try:
            with opened(content) as image:  # its head; pixels are unpacked when they are not too many
                width, height = image.size
        except Exception as problem:  # a parser of bytes that anybody may have sent
            raise BadPictureError("damaged image: replace the file") from problem
        if why := self._limits.refusal(Picture(content, kind, width, height, "")):
            raise BadPictureError(why)
        try:
            photo = decode(content, self._megapixels)
        except PhotoError as problem:
            raise BadPictureError(str(problem)) from problem
        seen = self._whole(photo) if self._detector is None else self._found(self._detector, photo)
        return None if seen is None or min(seen.box[2:]) < self._limits.face_px else seen

    def _whole(self, photo: Tensor) -> SeenFace | None:
        height, width = photo.shape[1:]
        side = min(height, width)
        left, top = (width - side) // 2, (height - side) // 2
        crop = resize_crop(photo[:, top : top + side, left : left + side]).contiguous()
        grey = torch.tensor(_LUMA).view(3, 1, 1).mul(crop).sum(dim=0)
        return SeenFace(crop, (left, top, side, side)) if float(grey.std()) >= FLAT_255 else None

    def _found(self, detector: Detector, photo: Tensor) -> SeenFace | None:
        try:
            found = detect_faces(detector, photo)
            row = choose_face(found, *photo.shape[1:])
            _, crop = align(photo, found.landmarks[row])
        except PhotoError:  # whatever the reason: this service sees no face in it
            return None
        left, top, right, bottom = (round(value) for value in found.boxes[row].tolist())
        return SeenFace(crop.contiguous(), (left, top, right - left, bottom - top))
