"""`MakeupReference`: the made-up face whose colours others are given, a file or one of the auxiliary faces."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.core.files.regular_file import read_regular
from cloakbench.bench.core.ranges import SettingError
from cloakbench.datasets.base import FaceSet
from cloakbench.datasets.photos import DatasetError, PhotoError, decode
from cloakbench.methods.context import MissingNeedError
from cloakbench.methods.parts.makeup.regions import LIPS, SKIN, face_regions

_TEMPLATE = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
_TEMPLATE_SIDE = 112
"""The ArcFace template, where the points of an aligned face are."""
_MAX_MEGAPIXELS = 100


@dataclass(frozen=True)
class MadeUpFace:
    """A face to take makeup from.

    Attributes:
        image: float ``[1, 3, H, W]`` in [0, 1].
        regions: ``[1, 3, H, W]``, see `cloakbench.methods.parts.makeup.regions.face_regions`.
    """

    image: Tensor
    regions: Tensor


class MakeupReference:
    """Where makeup comes from.

    Args:
        file: a photo with a face; None for the auxiliary face with the strongest makeup, see `makeup_strength`.
        align: finds the face of a photo, uint8 ``[3, H, W]``, and gives its aligned crop, uint8 ``[3, 112, 112]``, or
            raises ValueError; None takes the file as an aligned crop.

    Raises:
        SettingError: there is no such file, or no face on it.
    """

    def __init__(self, file: str | Path | None = None, align: Callable[[Tensor], Tensor] | None = None) -> None:
        self.file = None if file is None else Path(file)
        self.align = align
        self._crop = None if self.file is None else self._read(self.file)

    def fingerprint(self) -> str:
        """Digest of the aligned crop; empty where an auxiliary face is taken."""
        return "" if self._crop is None else hashlib.sha256(self._crop.contiguous().numpy().tobytes()).hexdigest()

    def find(self, auxiliary: FaceSet | None, side: int, device: torch.device) -> MadeUpFace:
        """The face at the size of photos of so many pixels a side.

        Raises:
            ValueError: it is to be an auxiliary face, and there are none, or they have no landmarks.
        """
        if self._crop is not None:
            crop, points = self._crop, torch.tensor(_TEMPLATE) * (self._crop.shape[-1] / _TEMPLATE_SIDE)
        elif auxiliary is not None:
            row = int(makeup_strength(auxiliary).argmax())
            crop, points = auxiliary.images[row], points_of(auxiliary)[row]
        else:
            raise MissingNeedError("makeup is taken from an auxiliary face, and there are none: give reference.file")
        image = crop.unsqueeze(0).float() / 255
        if crop.shape[-1] != side:
            points = (points + 0.5) * (side / crop.shape[-1]) - 0.5
            image = F.interpolate(image, size=(side, side), mode="bilinear", antialias=True)
        regions = face_regions(points.unsqueeze(0).float(), side, side)
        return MadeUpFace(image.to(device), regions.to(device))

    def _read(self, file: Path) -> Tensor:
        try:
            pixels = decode(read_regular(file), _MAX_MEGAPIXELS)
        except (OSError, PhotoError) as problem:
            reason = getattr(problem, "strerror", None) or str(problem)
            raise SettingError("file", file, f"a photo of a made-up face ({reason})") from problem
        if self.align is not None:
            try:
                return self.align(pixels)
            except DatasetError:  # there is no detector to ask
                raise
            except ValueError as problem:
                raise SettingError("file", file, "a photo with a face on it, of which none was found") from problem
        if pixels.shape[-1] != pixels.shape[-2]:
            raise SettingError("file", file, "an aligned crop, as wide as high, or a photo with align set")
        return pixels


def makeup_strength(faces: FaceSet) -> Tensor:
    """How much redder than the skin around them lips are, ``[N]``: the difference of mean red shares, ``R / (R+G+B)``.

    Raises:
        ValueError: the faces have no landmarks, or none of which lips and skin are on the photo.
    """
    images = faces.images.float() / 255
    shares = images[:, 0] / images.sum(dim=1).clamp(min=1e-3)
    regions = face_regions(points_of(faces), *images.shape[-2:])
    sizes = regions.sum(dim=(2, 3))
    means = (regions * shares.unsqueeze(1)).sum(dim=(2, 3)) / sizes.clamp(min=1)
    whole = (sizes[:, [LIPS, SKIN]] > 0).all(dim=1)
    if not bool(whole.any()):
        raise ValueError("makeup is looked for on auxiliary faces, and their landmarks are not on the photos")
    return torch.where(whole, means[:, LIPS] - means[:, SKIN], -1.0)


def points_of(faces: FaceSet) -> Tensor:
    """Landmarks of auxiliary faces, float ``[N, 5, 2]``.

    Raises:
        ValueError: they have none.
    """
    if faces.landmarks is None:
        raise ValueError("makeup is learnt where lips and eyes are, and the auxiliary faces have no landmarks")
    return faces.landmarks.float()
