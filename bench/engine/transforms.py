"""Transforms, which happen to a photo after publication: compression, blur, noise, light, size.

uint8 RGB ``[N, 3, H, W]`` in, the same shape and type out, because every step of a platform stores 8-bit photos.
Each photo is treated alone and noise is named by (seed, image id), so the result for a photo does not depend on the
batch it came in. Values are rounded to the nearest grey level and clipped to 0 .. 255.
"""

from __future__ import annotations

import io
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.core.ranges import SettingError, grey_step, is_whole, positive, whole
from cloakbench.bench.plan.condition import AS_PUBLISHED, Condition

_PHOTOS_AT_ONCE = 8  # stays in the cache, and bounds the memory of the float64 copies
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


class Transform(ABC):
    """One thing that happens to a published photo, at one strength."""

    family: ClassVar[str] = ""
    """Kind of transform: those of one family share an axis; empty for one that has none."""
    title: ClassVar[str] = ""
    """What a table calls the family."""
    axis: ClassVar[str] = "strength"
    """What its number means."""
    order: ClassVar[Literal["up", "down", "two_sided"]] = "up"
    """Whether a larger number is stronger, a smaller one, or both sides of the photo as it was published."""

    @property
    def strength(self) -> float | None:
        """Its place on the axis of its family."""
        return None

    @property
    def label(self) -> str:
        """Name with strength, as it stands in tables: ``jpeg_75``."""
        return f"{self.family}_{self.strength:g}"

    def __call__(self, images: Tensor, image_id: Sequence[str]) -> Tensor:
        """The transformed photos, uint8, same shape; the input is left as it is.

        Raises:
            ValueError: the images are not uint8 ``[N, 3, H, W]``, or do not have one id each.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images must be uint8 [N, 3, H, W], got {images.dtype} {list(images.shape)}")
        if len(image_id) != len(images):
            raise ValueError(f"{len(image_id)} image ids for {len(images)} images")
        chunks = [slice(i, i + _PHOTOS_AT_ONCE) for i in range(0, len(images), _PHOTOS_AT_ONCE)]
        parts = [self._apply(images[rows], image_id[rows]) for rows in chunks]
        return torch.cat(parts) if parts else images.clone()

    @abstractmethod
    def _apply(self, images: Tensor, image_id: Sequence[str]) -> Tensor: ...


def condition_of(label: str, settings: Mapping[str, Any]) -> Condition:
    """The condition of photos that a transform happened to; ``settings`` are its resolved config, empty for none."""
    if not settings:
        return AS_PUBLISHED
    made: Transform = instantiate(dict(settings))
    family = made.family or label
    title = made.title or family.replace("_", " ").capitalize()
    return Condition(label, title, family, made.strength, dict(settings), axis=made.axis, order=made.order)


class Unchanged(Transform):
    """The photo as it was published."""

    @property
    def label(self) -> str:
        return AS_PUBLISHED.label

    def _apply(self, images: Tensor, image_id: Sequence[str]) -> Tensor:
        return images


class Jpeg(Transform):
    """Written as a JPEG file and read back, by Pillow, with 4:2:0 chroma subsampling.

    Args:
        quality: 1 .. 95, the scale of libjpeg.
    """

    family = "jpeg"
    title = "JPEG"
    axis = "quality"
    order = "down"

    def __init__(self, quality: int) -> None:
        if not (is_whole(quality) and 1 <= quality <= 95):
            raise SettingError("quality", quality, "a whole number from 1 to 95")
        self.quality = quality

    @property
    def strength(self) -> float:
        return self.quality

    def _apply(self, images: Tensor, image_id: Sequence[str]) -> Tensor:
        pixels = images.permute(0, 2, 3, 1).contiguous().numpy()
        return torch.from_numpy(np.stack([self._recode(photo) for photo in pixels])).permute(0, 3, 1, 2).contiguous()

    def _recode(self, photo: np.ndarray) -> np.ndarray:
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(photo).save(file, "JPEG", quality=self.quality, subsampling="4:2:0")
        with Image.open(file) as decoded:
            return np.asarray(decoded)


class GaussianBlur(Transform):
    """Blurred with a Gaussian cut off at four standard deviations, mirrored at the border.

    Args:
        sigma_px: standard deviation in pixels, above 0.
    """

    family = "gaussian_blur"
    title = "Gaussian blur"
    axis = "sigma (pixels)"

    def __init__(self, sigma_px: float) -> None:
        self.sigma_px = positive("sigma_px", sigma_px)

    @property
    def strength(self) -> float:
        return self.sigma_px

    def _apply(self, images: Tensor, image_id: Sequence[str]) -> Tensor:
        radius = math.ceil(4 * self.sigma_px)
        if radius >= min(images.shape[-2:]):
            raise ValueError(f"sigma_px {self.sigma_px:g} is too large for photos of {list(images.shape[-2:])} pixels")
        bell = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / self.sigma_px) ** 2)
        weights = (bell / bell.sum()).tolist()
        # Photo by photo in float64: no library's choice of kernel for a batch can move a pixel across a rounding step.
        return torch.stack([_round(self._blur(photo, radius, weights)) for photo in images.double()])

    @staticmethod
    def _blur(photo: Tensor, radius: int, weights: list[float]) -> Tensor:
        padded = F.pad(photo[None], [radius] * 4, mode="reflect")[0]
        for axis in (-1, -2):
            size = padded.shape[axis] - 2 * radius
            blurred = padded.narrow(axis, 0, size) * weights[0]
            for offset, weight in enumerate(weights[1:], start=1):
                blurred.add_(padded.narrow(axis, offset, size), alpha=weight)
            padded = blurred
        return padded


class GaussianNoise(Transform):
    """Independent Gaussian noise on every value.

    A photo gets the same noise pattern at every strength and after every method, so these are compared in pairs.

    Args:
        sigma_255: standard deviation in grey levels, above 0.
        seed: names the noise, together with the image id.
    """

    family = "gaussian_noise"
    title = "Gaussian noise"
    axis = "sigma (grey levels)"

    def __init__(self, sigma_255: float, seed: int = 0) -> None:
        self.sigma_255 = grey_step("sigma_255", sigma_255)
        self.seed = seed

    @property
    def strength(self) -> float:
        return self.sigma_255

    def _apply(self, images: Tensor, image_id: Sequence[str]) -> Tensor:
        noise = torch.stack(
            [torch.randn(images.shape[1:], generator=generator(self.seed, "gaussian_noise", name)) for name in image_id]
        )
        return _round(images + self.sigma_255 * noise)


class Brightness(Transform):
    """Every value times a factor.

    Args:
        factor: above 0; 1 changes nothing.
    """

    family = "brightness"
    title = "Brightness"
    axis = "factor"
    order = "two_sided"

    def __init__(self, factor: float) -> None:
        self.factor = positive("factor", factor)

    @property
    def strength(self) -> float:
        return self.factor

    def _apply(self, images: Tensor, image_id: Sequence[str]) -> Tensor:
        return _round(images.double() * self.factor)


class Contrast(Transform):
    """Every value's distance from the photo's mean luma (BT.601) times a factor.

    Args:
        factor: above 0; 1 changes nothing.
    """

    family = "contrast"
    title = "Contrast"
    axis = "factor"
    order = "two_sided"

    def __init__(self, factor: float) -> None:
        self.factor = positive("factor", factor)

    @property
    def strength(self) -> float:
        return self.factor

    def _apply(self, images: Tensor, image_id: Sequence[str]) -> Tensor:
        pixels = images.double()
        luma = pixels.new_tensor(_LUMA)
        mean = (pixels.flatten(2).mean(dim=2) * luma).sum(dim=1)[:, None, None, None]
        return _round(mean + self.factor * (pixels - mean))


class Resize(Transform):
    """Made smaller, stored, and enlarged to the old size; bilinear with antialiasing, as Pillow does it.

    Args:
        size_px: side of the small photo.
    """

    family = "resize"
    title = "Resize"
    axis = "side (pixels)"
    order = "down"

    def __init__(self, size_px: int) -> None:
        self.size_px = whole("size_px", size_px)

    @property
    def strength(self) -> float:
        return self.size_px

    def _apply(self, images: Tensor, image_id: Sequence[str]) -> Tensor:
        small = F.interpolate(images, size=[self.size_px, self.size_px], mode="bilinear", antialias=True)
        return F.interpolate(small, size=list(images.shape[-2:]), mode="bilinear", antialias=True)


def _round(pixels: Tensor) -> Tensor:
    return pixels.round().clamp(0, 255).to(torch.uint8)
