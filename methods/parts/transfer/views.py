"""Random views: what networks are shown instead of the photos whose gradients are taken.

A view is one bilinear sampling through an affine map, black outside the photo, drawn anew for every photo at every
step. Steps along gradients of random views descend their expectation, so a change that works only from one place, in
one size or at one angle gains nothing.

Sources: Athalye et al., "Synthesizing Robust Adversarial Examples", ICML 2018, equation 1 (expectation over
transformations, EOT); Xie et al., "Improving Transferability of Adversarial Examples with Input Diversity", CVPR 2019,
equation 5 (`ResizeAndPad`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.core.ranges import at_least, positive, share, share_below_one

_ROW = (-1, 1, 1, 1)


class RandomViews(ABC):
    """A kind of random views; one draw of `numbers` uniform numbers is one view of one photo."""

    numbers: int
    for_each_network: bool
    """Whether every network of an ensemble is shown a view of its own, or all of them the same one."""

    @abstractmethod
    def see(self, photos: Tensor, draws: Tensor) -> Tensor:
        """The views ``[N, 3, S, S]`` of photos ``[N, 3, S, S]``, differentiable in these.

        Args:
            photos: in [0, 1].
            draws: uniform ``[N, numbers]`` in [0, 1).
        """


class ViewsInTurn(RandomViews):
    """Views of views, the first kind first; each network has its own if it has its own of every kind."""

    def __init__(self, kinds: Sequence[RandomViews]) -> None:
        self.kinds = tuple(kinds)
        self.numbers = sum(views.numbers for views in kinds)
        self.for_each_network = all(views.for_each_network for views in kinds)

    def see(self, photos: Tensor, draws: Tensor) -> Tensor:
        for views, own in zip(self.kinds, draws.split([views.numbers for views in self.kinds], dim=1), strict=True):
            photos = views.see(photos, own)
        return photos


class AffineViews(RandomViews):
    """Photos in another size, turned, moved and mirrored, about their centre.

    Without any strength, a scale of one among it, photos are what they were, to the byte.

    Args:
        scale_low, scale_high: how large a photo appears; uniform between them.
        turn_degrees: the most that it is turned by, to either side.
        shift_share: the most that it is moved by along each axis, as a share of its side.
        mirror_probability: of its mirror image.
        for_each_network: see `RandomViews`.

    Raises:
        SettingError: a parameter is out of range.
    """

    numbers = 5

    def __init__(
        self,
        scale_low: float = 0.85,
        scale_high: float = 1.1,
        turn_degrees: float = 8.0,
        shift_share: float = 0.05,
        mirror_probability: float = 0.5,
        for_each_network: bool = True,
    ) -> None:
        self.scale_low = positive("scale_low", scale_low)
        self.scale_high = at_least("scale_high", scale_high, scale_low)
        self.turn_degrees = at_least("turn_degrees", turn_degrees)
        self.shift_share = share_below_one("shift_share", shift_share)
        self.mirror_probability = share("mirror_probability", mirror_probability)
        self.for_each_network = for_each_network

    def see(self, photos: Tensor, draws: Tensor) -> Tensor:
        if (self.scale_low, self.scale_high, self.turn_degrees, self.shift_share) != (1, 1, 0, 0):
            return _sample(photos, grid_of(self.places(draws), photos.shape[-1]))
        if self.mirror_probability == 0:
            return photos
        return torch.where((draws[:, 4] < self.mirror_probability).view(_ROW), photos.flip(-1), photos)

    def places(self, draws: Tensor) -> Tensor:
        """The maps ``[N, 2, 3]`` from places of a view to places of its photo, see `sample`."""
        size, turn, across, down, mirrored = draws.unbind(dim=1)
        scale = self.scale_low + size * (self.scale_high - self.scale_low)
        angle = (2 * turn - 1) * math.radians(self.turn_degrees)
        across, down = ((2 * shift - 1) * 2 * self.shift_share for shift in (across, down))  # a side is two units
        cosine, sine = angle.cos() / scale, angle.sin() / scale
        facing = torch.where(mirrored < self.mirror_probability, -1.0, 1.0)
        # What is at o in a view was at R (o - shift) / scale before, and on the other side if mirrored.
        row = torch.stack([cosine, sine, -cosine * across - sine * down], dim=1) * facing.unsqueeze(1)
        return torch.stack([row, torch.stack([-sine, cosine, sine * across - cosine * down], dim=1)], dim=1)


class ResizeAndPad(RandomViews):
    """Some photos shrunk onto a random place of a black canvas; the canvas is then resized to the photo's size.

    With side S the canvas is ``C = floor(rate * S)`` wide. A photo takes r of its pixels, r uniform in S..C-1, at an
    offset uniform in 0..C-r. Black is 0 in [0, 1], hence before the network's own normalisation. All networks are shown
    the same view. Shrinking and the resize back are one sampling instead of two.

    Args:
        probability: of a photo being transformed at all.
        rate: canvas side over photo side.

    Raises:
        SettingError: a parameter is out of range.
    """

    numbers = 4
    for_each_network = False

    def __init__(self, probability: float = 0.5, rate: float = 1.1) -> None:
        self.probability = share("probability", probability)
        self.rate = at_least("rate", rate, 1)

    def see(self, photos: Tensor, draws: Tensor) -> Tensor:
        side = photos.shape[-1]
        canvas = math.floor(self.rate * side)
        if self.probability == 0 or canvas == side:
            return photos
        chosen, size, top, left = draws.unbind(dim=1)
        size = side + (size * (canvas - side)).floor()
        top, left = ((offset * (canvas - size + 1)).floor() for offset in (top, left))
        # Where an output pixel at o in [-1, 1] looks in the photo, also in [-1, 1]: canvas place (o + 1) / 2 * C, less
        # the offset, over the size.
        scale, zero = canvas / size, torch.zeros_like(size)
        place = torch.stack(
            [scale, zero, (canvas - 2 * left) / size - 1, zero, scale, (canvas - 2 * top) / size - 1], dim=1
        ).view(-1, 2, 3)
        return torch.where((chosen < self.probability).view(_ROW), sample(photos, place), photos)


def sample(photos: Tensor, places: Tensor) -> Tensor:
    """``photos`` ``[N, 3, H, W]`` seen through affine maps ``[N, 2, 3]``, bilinear, black outside.

    A map leads from a place of the output to the place of the photo that is seen there, both in [-1, 1], across first.
    """
    return _sample(photos, F.affine_grid(places, list(photos.shape), align_corners=False))


def grid_of(places: Tensor, side: int) -> Tensor:
    """The grid ``[N, S, S, 2]`` of `torch.nn.functional.affine_grid`, but for last bits, in a fortieth of its time.

    That time would be a twentieth of a pass through a small network. Methods that were there before keep their bits.
    """
    centres = (2 * torch.arange(side, device=places.device) + 1) / side - 1
    along_rows = places[:, :, :1] * centres + places[:, :, 2:]
    down_columns = places[:, :, 1:2] * centres
    return (along_rows.unsqueeze(2) + down_columns.unsqueeze(3)).permute(0, 2, 3, 1)


def _sample(photos: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(photos, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
