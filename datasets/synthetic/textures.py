"""Frozen noise from which skin, hair and backgrounds take their texture. The same for every world."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.core.random_streams import generator

SIZE = 256  # larger atlases fall out of the cache and cost 10 % of the rendering speed


class Atlases(NamedTuple):
    """Noise with zero mean and unit deviation, each ``[1, C, 256, 256]``.

    skin: blotches, spots, pores. hair: strands along the vertical axis, locks. setting: two blurred backgrounds.
    """

    skin: Tensor
    hair: Tensor
    setting: Tensor


@cache
def atlases() -> Atlases:
    """The atlases; made once per process."""
    skin = torch.stack([_noise("blotches", (10, 20)), _noise("spots", (40, 80)), _noise("pores", (128, 224))])
    hair = torch.stack([_noise("strands", (6, 14, 30), across=8), _noise("locks", (10, 22))])
    setting = torch.stack([_noise("setting", (5, 9, 18)), _noise("setting 2", (4, 7))])
    return Atlases(skin[None].contiguous(), hair[None].contiguous(), setting[None].contiguous())


def _noise(name: str, octaves: tuple[int, ...], across: int = 1, persistence: float = 0.55) -> Tensor:
    """Smooth noise ``[256, 256]``: a sum of interpolated grids, ``across`` times finer from left to right."""
    stream = generator("synthetic atlas", name)
    total = torch.zeros(SIZE, SIZE)
    for level, cells in enumerate(octaves):
        grid = torch.randn(1, 1, cells, min(cells * across, SIZE), generator=stream)
        total += persistence**level * F.interpolate(grid, size=(SIZE, SIZE), mode="bicubic", align_corners=False)[0, 0]
    return (total - total.mean()) / total.std()
