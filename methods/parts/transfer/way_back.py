"""`WayBack`: views of a photo as somebody finds it in the file that it was saved to.

A change is made in an aligned crop. It then goes into the full photo, which has another resolution, and into a file,
and a recogniser aligns the face again: two interpolations with a JPEG file between them, each of which takes away what
is finer than it can hold. Steps along gradients of such views go into what comes back. Source: as
`cloakbench.methods.parts.transfer.views`, whose views these are a kind of.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.core.ranges import at_least, positive, share
from cloakbench.methods.parts.transfer.jpeg import through_jpeg
from cloakbench.methods.parts.transfer.views import RandomViews, grid_of

_OWN = 5
"""Numbers that a way back is drawn from: size, two shifts, whether there is a JPEG file, and its quality."""


class WayBack(RandomViews):
    """Photos resampled to another size and back, with a JPEG file between, and then seen through other views.

    Args:
        views: what is made of the photos that came back; None for these themselves.
        scale_low, scale_high: of the face in the file beside the crop, uniform between them; a file that is finer than
            the crop takes away no more than one as fine.
        shift_px: the most that the file's pixels lie beside the crop's, to either side along each axis, in its pixels.
        jpeg_probability: of a JPEG file; other files keep every pixel.
        quality_low, quality_high: of JPEG files, uniform between them.

    Raises:
        SettingError: a parameter is out of range.
    """

    def __init__(
        self,
        views: RandomViews | None = None,
        scale_low: float = 0.6,
        scale_high: float = 1.0,
        shift_px: float = 0.5,
        jpeg_probability: float = 0.75,
        quality_low: float = 60,
        quality_high: float = 95,
    ) -> None:
        self.views = views
        self.scale_low = positive("scale_low", scale_low)
        self.scale_high = at_least("scale_high", scale_high, scale_low)
        self.shift_px = at_least("shift_px", shift_px)
        self.jpeg_probability = share("jpeg_probability", jpeg_probability)
        self.quality_low = at_least("quality_low", quality_low, 1)
        self.quality_high = at_least("quality_high", quality_high, quality_low)
        self.numbers = _OWN + (0 if views is None else views.numbers)
        self.for_each_network = views is None or views.for_each_network

    def see(self, photos: Tensor, draws: Tensor) -> Tensor:
        back = self.come_back(photos, draws[:, :_OWN])
        return back if self.views is None else self.views.see(back, draws[:, _OWN:])

    def come_back(self, photos: Tensor, draws: Tensor) -> Tensor:
        """The photos after the way alone, for ``[N, 5]`` of the draws."""
        size, across, down, whether, quality = draws.unbind(dim=1)
        resampled = (self.scale_low, self.scale_high, self.shift_px) != (1, 1, 0)
        there, again = self._places(size, across, down, photos.shape[-1])
        saved = _resampled(photos, there) if resampled else photos
        if self.jpeg_probability:
            quality = self.quality_low + quality * (self.quality_high - self.quality_low)
            chosen = (whether < self.jpeg_probability).view(-1, 1, 1, 1)
            saved = torch.where(chosen, through_jpeg(saved, quality), saved)
        return _resampled(saved, again) if resampled else saved

    def _places(self, size: Tensor, across: Tensor, down: Tensor, side: int) -> tuple[Tensor, Tensor]:
        """The maps ``[N, 2, 3]`` from places in the file to the crop's, and from the crop's to those in the file."""
        scale = self.scale_low + size * (self.scale_high - self.scale_low)
        shift = (2 * torch.stack([across, down], dim=1) - 1) * 2 * self.shift_px / side
        turn = torch.eye(2, device=size.device).expand(len(size), 2, 2)
        there = torch.cat([turn / scale.view(-1, 1, 1), (-shift / scale.unsqueeze(1)).unsqueeze(2)], dim=2)
        return there, torch.cat([turn * scale.view(-1, 1, 1), shift.unsqueeze(2)], dim=2)


def _resampled(photos: Tensor, places: Tensor) -> Tensor:
    """As `cloakbench.methods.parts.transfer.views.sample`, the border going on outside."""
    grid = grid_of(places, photos.shape[-1])
    return F.grid_sample(photos, grid, mode="bilinear", padding_mode="border", align_corners=False)
