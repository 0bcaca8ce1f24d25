"""`Platform`: the steps of a site that people publish on, one after the other, under a name.

What a site does is read from its own documents or set by us, as ``conf/transform/platform_*.yaml`` says of each; a site
may do something else tomorrow. Photos here are aligned crops, so a side is given in pixels of the crop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.core.ranges import SettingError, one_of, positive
from cloakbench.bench.engine.transforms import Transform


class Platform(Transform):
    """Several transforms, each on the 8-bit photo that the one before it stored.

    Args:
        name: what tables call it.
        steps: the transforms, first one first.

    Raises:
        SettingError: there is no step.
    """

    family = "platform"
    title = "Platforms"

    def __init__(self, name: str, steps: Sequence[Transform]) -> None:
        if not steps:
            raise SettingError("steps", list(steps), "at least one transform")
        self.name, self.steps = name, tuple(steps)

    @property
    def label(self) -> str:
        return self.name

    def _apply(self, images: Tensor, image_id: Sequence[str]) -> Tensor:
        for step in self.steps:
            images = step(images, image_id)
        return images


class Sharpen(Transform):
    """An unsharp mask: a part of the photo's difference from its Gaussian blur is added.

    Args:
        amount: of the difference, above 0.
        sigma_px: of the blur.
    """

    family = "sharpen"
    title = "Sharpening"
    axis = "amount"

    def __init__(self, amount: float = 0.5, sigma_px: float = 1.0) -> None:
        self.amount, self.sigma_px = positive("amount", amount), positive("sigma_px", sigma_px)

    @property
    def strength(self) -> float:
        return self.amount

    def _apply(self, images: Tensor, image_id: Sequence[str]) -> Tensor:
        reach = int(4 * self.sigma_px + 0.5)
        if reach >= min(images.shape[-2:]):
            raise ValueError(f"sigma_px {self.sigma_px:g} is too large for photos of {list(images.shape[-2:])} pixels")
        places = torch.arange(-reach, reach + 1, dtype=torch.float64)
        bell = (-0.5 * (places / self.sigma_px) ** 2).exp()
        bell = (bell / bell.sum()).view(1, 1, 1, -1)
        pixels = images.double()
        flat = F.pad(pixels.flatten(0, 1).unsqueeze(1), (reach,) * 4, mode="reflect")
        smooth = F.conv2d(F.conv2d(flat, bell), bell.transpose(2, 3)).view_as(pixels)
        return (pixels + self.amount * (pixels - smooth)).round().clamp(0, 255).to(torch.uint8)


Profile = Literal["display_p3", "display_p3_dropped"]

# Linear sRGB to linear Display P3, both with the white of D65 (IEC 61966-2-1; SMPTE EG 432-1).
_TO_P3 = ((0.82246, 0.17754, 0.0), (0.03319, 0.96681, 0.0), (0.01708, 0.07240, 0.91052))


class ColourProfile(Transform):
    """The photo stored with the primaries of Display P3, as phones do.

    Args:
        profile: ``display_p3``: converted back to sRGB, so that only rounding is left; ``display_p3_dropped``: the
            profile is dropped on the way, and the values are taken for sRGB, which makes colours paler.
    """

    family = "colour_profile"
    title = "Colour profile"

    def __init__(self, profile: Profile = "display_p3_dropped") -> None:
        self.profile: Profile = one_of("profile", profile, get_args(Profile))

    @property
    def label(self) -> str:
        return f"{self.family}_{self.profile}"

    def _apply(self, images: Tensor, image_id: Sequence[str]) -> Tensor:
        matrix = torch.tensor(_TO_P3, dtype=torch.float64)
        stored = _encoded(torch.einsum("ij,njhw->nihw", matrix, _linear(images)))
        if self.profile == "display_p3_dropped":
            return stored
        return _encoded(torch.einsum("ij,njhw->nihw", matrix.inverse(), _linear(stored)))


def _linear(images: Tensor) -> Tensor:
    """Linear light in [0, 1], float64, of 8-bit values of the curve that sRGB and Display P3 share."""
    values = images.double() / 255
    return torch.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _encoded(light: Tensor) -> Tensor:
    light = light.clamp(0, 1)
    values = torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return (255 * values).round().to(torch.uint8)
