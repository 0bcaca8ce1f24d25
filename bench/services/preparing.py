"""`PictureRule`: pictures made of photos as they are published: the crop enlarged, or the full photo with what
protection did put back into it, since many services see no face in a crop of 112 pixels.

The same is done to clean and to protected photos, and stands under every table: enlarging smooths what protection did,
as whoever publishes a crop would, and pasting back moves it onto the pixels of the photo.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from cloakbench.bench.core.ranges import SettingError, one_of, whole
from cloakbench.datasets.alignment import crop_side
from cloakbench.datasets.base import FullPhoto
from cloakbench.datasets.paste import paste
from cloakbench.models.pictures import JPEG, PNG, Picture

UPSAMPLE, PASTE_BACK = "upsample", "paste_back"


@dataclass(frozen=True)
class PictureRule:
    """How pictures are made of photos: settings of a run.

    Attributes:
        picture: ``upsample``: the crop alone, enlarged; ``paste_back``: the full photo, into which the difference of
            the protected crop from the clean one is put (`cloakbench.datasets.paste`).
        side_px: of the enlarged crop; of a full photo the longest side it may have, larger ones are made smaller.
        file: ``png``, which keeps every pixel, or ``jpeg``.

    Raises:
        SettingError: a setting is none of these.
    """

    picture: str = UPSAMPLE
    side_px: int = 448
    file: str = PNG

    def __post_init__(self) -> None:
        one_of("picture", self.picture, (UPSAMPLE, PASTE_BACK))
        whole("side_px", self.side_px)
        one_of("file", self.file, (PNG, JPEG))

    @property
    def words(self) -> str:
        """For the foot of a table."""
        if self.picture == UPSAMPLE:
            return f"crops enlarged to {self.side_px} px, {self.file.upper()}"
        return f"full photos of at most {self.side_px} px with the change pasted back, {self.file.upper()}"

    def of(self, published: Tensor, clean: Tensor, photo: FullPhoto | None = None) -> Picture:
        """The picture of a photo.

        Args:
            published: the crop as it was published, uint8 ``[3, S, S]``; the clean one for a clean picture.
            clean: the same crop before protection.
            photo: it was cut from; only `paste_back` looks at it.

        Raises:
            SettingError: there is no full photo to paste into, or ``side_px`` is smaller than the crop.
        """
        if self.picture == UPSAMPLE:
            return upsampled(published, self.side_px, self.file)
        if photo is None or photo.matrix is None:
            raise SettingError(
                "picture", self.picture, f"{UPSAMPLE} for a data set that has crops and no photos around them"
            )
        change = published.float() - clean.float()
        pixels = paste(photo.pixels, change[None], photo.matrix[None])
        face_px, longest = crop_side(photo.matrix), max(pixels.shape[1:])
        if longest > self.side_px:
            scale = self.side_px / longest
            sides = [max(1, round(scale * side)) for side in pixels.shape[1:]]
            smaller = interpolate(pixels[None].float(), size=sides, mode="bilinear", antialias=True)
            pixels, face_px = _to_8_bits(smaller[0]), scale * face_px
        return Picture.of(pixels, self.file, face_px)


def upsampled(crop: Tensor, side_px: int, kind: str = PNG) -> Picture:
    """A crop as a square picture of another side, the face filling it.

    Args:
        crop: uint8 RGB ``[3, H, W]``, square.
        side_px: of the picture; bicubic, rounded to 8 bits. The crop's own side changes no pixel.
        kind: format of the file.

    Raises:
        SettingError: the side is smaller than the crop, which would take away what is to be measured.
    """
    whole("side_px", side_px, crop.shape[-1])
    if side_px == crop.shape[-1]:
        return Picture.of(crop, kind, float(side_px))
    larger = interpolate(crop[None].float(), size=[side_px, side_px], mode="bicubic", align_corners=False)
    return Picture.of(_to_8_bits(larger[0]), kind, float(side_px))


def _to_8_bits(pixels: Tensor) -> Tensor:
    return pixels.round().clamp(0, 255).to(torch.uint8)
