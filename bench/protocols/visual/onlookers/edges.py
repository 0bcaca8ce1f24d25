"""Edge and contour matchers: people are known by outlines, too, which a variance loss is to take away.

Both descriptions are fixed, of the luma of a photo at 112x112, and compared by their cosine.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import convolve1d, gaussian_filter1d, map_coordinates
from torch import Tensor

from cloakbench.bench.core.ranges import positive, share_below_one, whole
from cloakbench.bench.protocols.visual.onlookers.base import Describer, numbers

_SIDE = 112
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_SETTLED = 0.2
"""Largest share of one number in a block: a single strong edge does not outweigh all others."""


class EdgeHistograms(Describer):
    """Histograms of the directions of edges in cells of a photo (Dalal and Triggs 2005, "HOG").

    Gradients are central differences; each votes with its length for the two nearest of the directions over 180
    degrees; blocks of 2x2 cells, which overlap by one cell, are set to length one, cut at 0.2 and set to length one
    again. A picture without any edge is described by equal numbers.

    Args:
        photos: over how many published photos of a person descriptions are averaged, each at least 1.
        cell_px: side of a cell; it must divide 112.
        directions: of the histograms.
    """

    title: ClassVar[str] = "Edge histograms"

    def __init__(self, photos: Iterable[int] = (1,), *, cell_px: int = 16, directions: int = 9) -> None:
        self.photos = numbers("photos", photos)
        self.cell_px, self.directions = whole("cell_px", cell_px), whole("directions", directions, 2)
        if _SIDE % cell_px or _SIDE // cell_px < 2:
            raise ValueError(f"cell_px is {cell_px}: it must divide {_SIDE}, at least into two")
        self.length = (_SIDE // cell_px - 1) ** 2 * 4 * directions

    def describe(self, images: Tensor) -> Tensor:
        return torch.stack([self._description(one) for one in luma(images)]) if len(images) else _none(self.length)

    def _description(self, picture: NDArray[np.float64]) -> Tensor:
        down, right = (convolve1d(picture, [0.5, 0.0, -0.5], axis=axis, mode="nearest") for axis in (0, 1))
        place = np.arctan2(down, right) % np.pi / np.pi * self.directions - 0.5
        lower, weight = np.floor(place).astype(int), place - np.floor(place)
        votes = np.zeros((self.directions, *picture.shape))
        rows, columns = np.indices(picture.shape)
        strength = np.hypot(down, right)
        votes[lower % self.directions, rows, columns] += strength * (1 - weight)
        votes[(lower + 1) % self.directions, rows, columns] += strength * weight
        cells = F.avg_pool2d(torch.from_numpy(votes)[None], self.cell_px)[0]
        blocks = torch.cat([cells[:, i : i - 1 or None, j : j - 1 or None] for i in (0, 1) for j in (0, 1)])
        blocks = F.normalize(F.normalize(blocks, dim=0).clamp_max(_SETTLED), dim=0)
        return _unit(blocks.flatten())


class Contours(Describer):
    """Maps of thin edges, a little blurred, compared by normalised correlation (edges as Canny 1986 finds them).

    The photo is smoothed by a Gaussian; a pixel is an edge where its gradient is the longest across the edge and among
    the longest of the photo. The map is blurred, so that an outline a pixel or two beside another still meets it, and
    taken at every fourth pixel; its mean is taken off.

    Args:
        photos: over how many published photos of a person descriptions are averaged, each at least 1.
        sigma_px: of the first smoothing.
        kept: share of the pixels that may be edges, in (0, 1).
        blur_px: of the second.
    """

    title: ClassVar[str] = "Contours"
    length = (_SIDE // 4) ** 2

    def __init__(
        self, photos: Iterable[int] = (1,), *, sigma_px: float = 1.5, kept: float = 0.2, blur_px: float = 2.0
    ) -> None:
        self.photos = numbers("photos", photos)
        self.sigma_px, self.blur_px = positive("sigma_px", sigma_px), positive("blur_px", blur_px)
        self.kept = share_below_one("kept", positive("kept", kept))

    def describe(self, images: Tensor) -> Tensor:
        return torch.stack([self._description(one) for one in luma(images)]) if len(images) else _none(self.length)

    def view(self, image: Tensor) -> Tensor:
        """Edges black on white, at 112x112."""
        edges = torch.from_numpy(self.contours(luma(image[None])[0]))
        return (255 * ~edges).to(torch.uint8).expand(3, -1, -1).contiguous()

    def contours(self, picture: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Edge pixels of a luma ``[H, W]``."""
        down, right = (_slope(picture, self.sigma_px, axis) for axis in (0, 1))
        strength = np.hypot(down, right)
        across = np.where(strength > 0, strength, 1)
        rows, columns = np.indices(picture.shape)
        step = np.stack([down, right]) / across
        beside = [
            map_coordinates(strength, np.stack([rows, columns]) + sign * step, order=1, mode="nearest")
            for sign in (1, -1)
        ]
        strong = strength > np.quantile(strength, 1 - self.kept)
        return strong & (strength >= beside[0]) & (strength >= beside[1])

    def _description(self, picture: NDArray[np.float64]) -> Tensor:
        blurred = self.contours(picture).astype(np.float64)
        for axis in (0, 1):
            blurred = gaussian_filter1d(blurred, self.blur_px, axis=axis)
        coarse = torch.from_numpy(blurred)[::4, ::4].flatten()
        return _unit(coarse - coarse.mean())


def luma(images: Tensor) -> list[NDArray[np.float64]]:
    """Luma in [0, 1], ``[112, 112]``, of uint8 photos ``[N, 3, H, W]``."""
    grey = (images.double() / 255 * images.new_tensor(_LUMA, dtype=torch.float64)[:, None, None]).sum(dim=1)
    if grey.shape[-2:] != (_SIDE, _SIDE):
        grey = F.interpolate(grey[:, None], size=[_SIDE, _SIDE], mode="bilinear", antialias=True)[:, 0]
    return list(grey.numpy())


def _slope(picture: NDArray[np.float64], sigma: float, axis: int) -> NDArray[np.float64]:
    along = gaussian_filter1d(picture, sigma, axis=axis, order=1, mode="nearest")
    return gaussian_filter1d(along, sigma, axis=1 - axis, mode="nearest")


def _unit(values: Tensor) -> Tensor:
    """At length one; equal numbers where there is nothing."""
    length = values.norm()
    whole = values / length if length > 1e-9 else torch.full_like(values, len(values) ** -0.5)
    return whole.float()


def _none(length: int) -> Tensor:
    return torch.empty(0, length)
