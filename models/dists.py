"""DISTS: how far two photos are apart in texture and structure, from local files.

Ding, Ma, Wang and Simoncelli, "Image Quality Assessment: Unifying Structure and Texture Similarity", TPAMI 2020
(arXiv:2004.07728). Six sets of maps are compared: the photo itself, and what VGG-16 makes of it at the end of its five
stages, its maximum pooling replaced by L2 pooling, which does not alias. For every map, a texture term compares the two
means and a structure term the two centred maps; both are weighted by numbers that were fitted to what people see.

One minus either similarity is computed as the squared difference that it is, so that nothing cancels: equal photos have
a distance of 0 exactly, and photos one grey level apart have one that single precision resolves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.models.loading import fill
from cloakbench.models.state_dict import state_of
from cloakbench.models.weight_file import WeightError, WeightFile

_STAGES: tuple[dict[str, tuple[int, int]], ...] = (
    {"0": (3, 64), "2": (64, 64)},
    {"5": (64, 128), "7": (128, 128)},
    {"10": (128, 256), "12": (256, 256), "14": (256, 256)},
    {"17": (256, 512), "19": (512, 512), "21": (512, 512)},
    {"24": (512, 512), "26": (512, 512), "28": (512, 512)},
)
"""The convolutions of torchvision's VGG-16 by their place in ``features``: channels in and out."""
_CHANNELS = (3, *(list(stage.values())[-1][1] for stage in _STAGES))
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_STABLE = 1e-6
_LARGEST_PX = 256
_WINDOW = ((1, 2, 1), (2, 4, 2), (1, 2, 1))  # Hanning's, of width 3


@dataclass(frozen=True)
class DistsDistance:
    """The loaded distance.

    Attributes:
        trunk: the convolutions, by their place in torchvision's VGG-16.
        texture: weight of the texture term of each map, ``[C]`` for each of the six sets; sums to 1 with ``structure``.
        structure: weight of the structure term, in the same way.
    """

    trunk: nn.ModuleDict
    texture: Sequence[Tensor]
    structure: Sequence[Tensor]

    def __call__(self, left: Tensor, right: Tensor) -> Tensor:
        """Distances ``[N]`` of two batches of photos ``[N, 3, H, W]`` in [0, 1]: 0 for equal ones, and mostly below 1.

        Photos whose shorter side is over 256 pixels are reduced to that first, as the authors do.
        """
        images = _at_most_256(torch.cat([left, right]))
        total = self._apart(0, images)
        mean, std = (images.new_tensor(one).view(1, 3, 1, 1) for one in (_MEAN, _STD))
        maps = ((images - mean) / std).contiguous(memory_format=torch.channels_last)
        for number, stage in enumerate(_STAGES):
            if number:
                maps = _l2_pool(maps)
            for layer in stage:
                maps = F.relu(self.trunk[layer](maps))
            total = total + self._apart(number + 1, maps)
        return total

    def _apart(self, number: int, maps: Tensor) -> Tensor:
        """What one set of maps adds, from those of both batches, one after the other."""
        means = maps.mean(dim=(2, 3), keepdim=True)
        centred = maps - means
        (mean, other_mean), (own, other) = means.flatten(1).chunk(2), centred.chunk(2)
        spread, other_spread = centred.square().mean(dim=(2, 3)).chunk(2)
        texture = (mean - other_mean).square() / (mean.square() + other_mean.square() + _STABLE)
        structure = (own - other).square().mean(dim=(2, 3)) / (spread + other_spread + _STABLE)
        return texture @ self.texture[number].to(maps) + structure @ self.structure[number].to(maps)


def load_dists(trunk: WeightFile, heads: WeightFile, device: torch.device) -> DistsDistance:
    """The distance from its two files.

    Args:
        trunk: torchvision's VGG-16, with ``features.`` as the prefix.
        heads: ``alpha`` and ``beta``, 1475 numbers each, as the authors publish them; scaled to a sum of 1 here.
        device: where photos will be.

    Raises:
        WeightError: a file is missing, damaged or another one; one line.
    """
    path, state = state_of(heads)
    weights = [state[name].flatten() for name in ("alpha", "beta") if name in state]
    if [len(one) for one in weights] != [sum(_CHANNELS)] * 2:
        raise WeightError(f"{path} has no DISTS heads, alpha and beta of {sum(_CHANNELS)} numbers: fetch it again")
    scale = torch.cat(weights).double().sum()
    if not scale.isfinite() or scale <= 0:
        raise WeightError(f"{path} has DISTS heads that sum to {scale.item():g}: fetch it again")
    texture, structure = ((one.double() / scale).to(device).split(_CHANNELS) for one in weights)
    path, state = state_of(trunk)
    network = fill(_convolutions, state, path).requires_grad_(False).eval()
    assert isinstance(network, nn.ModuleDict)
    return DistsDistance(network.to(device).to(memory_format=torch.channels_last), texture, structure)


def _convolutions() -> nn.ModuleDict:
    layers = {name: channels for stage in _STAGES for name, channels in stage.items()}
    return nn.ModuleDict({name: nn.Conv2d(*channels, 3, padding=1) for name, channels in layers.items()})


def _l2_pool(maps: Tensor) -> Tensor:
    """Half the size: root of the windowed mean of squares."""
    channels = maps.shape[1]
    window = maps.new_tensor(_WINDOW).div(16).expand(channels, 1, 3, 3)
    return (F.conv2d(maps.square(), window, stride=2, padding=1, groups=channels) + 1e-12).sqrt()


def _at_most_256(images: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    if (side := min(height, width)) <= _LARGEST_PX:
        return images
    size = [round(length * _LARGEST_PX / side) for length in (height, width)]
    return F.interpolate(images, size=size, mode="bilinear", antialias=True)
