"""Pictures made of crops: larger ones, since many services see no face in a crop of 112 pixels.

The same is done to clean and to protected photos, and the side stands under every table: enlarging smooths what
protection did, as whoever publishes a crop would.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from cloakbench.bench.core.ranges import whole
from cloakbench.models.pictures import PNG, Picture


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
    return Picture.of(larger[0].round().clamp(0, 255).to(torch.uint8), kind, float(side_px))
