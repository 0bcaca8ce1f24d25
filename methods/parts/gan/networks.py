"""Networks of methods that generate masks: a generator from photo or noise to mask, and a patch discriminator.

Source: Deb, Zhang and Jain, "AdvFaces: Adversarial Face Synthesis", IJCB 2020, for both; the generator is the residual
network of Johnson et al., "Perceptual Losses for Real-Time Style Transfer", ECCV 2016, which GAP uses, too.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cloakbench.bench.core.random_streams import layers_draw_from

Norms = Literal["instance_layer", "batch"]
"""``instance_layer``: instance norm on the way down and in the middle, layer norm on the way up, so that no image
depends on its batch (AdvFaces). ``batch``: batch norm throughout (GAP)."""


def _layer_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(1, channels)


def _instance_norm(channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels, affine=True)


_NORMS: dict[Norms, tuple[Callable[[int], nn.Module], Callable[[int], nn.Module]]] = {
    "instance_layer": (_instance_norm, _layer_norm),
    "batch": (nn.BatchNorm2d, nn.BatchNorm2d),
}


class MaskGenerator(nn.Module):
    """Images ``[N, 3, H, W]`` to masks of that shape in [-1, 1].

    A 7x7 convolution, two of stride 2, residual blocks of 3x3 ones, twice nearest enlargement and a convolution, a 7x7
    convolution and tanh; ReLU and a norm after every other convolution.

    Args:
        width: channels of the first convolution; the middle has four times as many.
        blocks: residual blocks.
        norms: see `Norms`.
        down, up: kernels of the convolutions on the way down, even or odd, and up, odd.
        planes: further channels of the input, beside those of the image.

    Attributes:
        recompute: in training each part is computed again on the way back instead of keeping all of its maps, so that
            memory is that of the largest part (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016).
            Gradients are the same.
    """

    def __init__(
        self,
        width: int,
        blocks: int = 3,
        norms: Norms = "instance_layer",
        down: int = 4,
        up: int = 5,
        planes: int = 0,
    ) -> None:
        super().__init__()
        self.recompute = False
        into, outof = _NORMS[norms]
        half = (down - 1) // 2
        self.encoder = nn.Sequential(
            *(nn.Conv2d(3 + planes, width, 7, 1, 3), into(width), nn.ReLU()),
            *(nn.Conv2d(width, 2 * width, down, 2, half), into(2 * width), nn.ReLU()),
            *(nn.Conv2d(2 * width, 4 * width, down, 2, half), into(4 * width), nn.ReLU()),
        )
        self.middle = nn.Sequential(*(MaskBlock(4 * width, into) for _ in range(blocks)))
        self.up1 = nn.Sequential(nn.Conv2d(4 * width, 2 * width, up, 1, up // 2), outof(2 * width), nn.ReLU())
        self.up2 = nn.Sequential(nn.Conv2d(2 * width, width, up, 1, up // 2), outof(width), nn.ReLU())
        self.last = nn.Conv2d(width, 3, 7, 1, 3)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        code = self._part(self.encoder, images)
        for block in self.middle:
            code = self._part(block, code)
        code = self._part(lambda maps: self.up1(F.interpolate(maps, size=(height // 2, width // 2))), code)
        code = self._part(lambda maps: self.up2(F.interpolate(maps, size=(height, width))), code)
        return self.last(code).tanh()

    def _part(self, part: Callable[[Tensor], Tensor], maps: Tensor) -> Tensor:
        return recomputed(part, maps) if self.recompute and torch.is_grad_enabled() else part(maps)


def recomputed(part: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """What a part of a network answers; its maps are made again on the way back. It must draw nothing at random."""
    return checkpoint(part, *inputs, use_reentrant=False, preserve_rng_state=False)  # type: ignore[no-any-return]


def recomputed_by_few(network: nn.Module, few: int, *inputs: Tensor) -> Tensor:
    """As `recomputed`, of a whole network that looks at each photo alone: ``few`` photos at a time, whose maps are all
    that is kept at once.

    Args:
        network: in eval mode.
        few: photos of a part.
        inputs: ``[N, ...]`` each.
    """
    if len(inputs[0]) <= few:
        return recomputed(network, *inputs)
    parts = zip(*(tensor.split(few) for tensor in inputs), strict=True)
    return torch.cat([recomputed(network, *part) for part in parts])


class MaskBlock(nn.Module):
    """A residual block of two 3x3 convolutions."""

    def __init__(self, channels: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(channels, channels, 3, 1, 1), norm(channels), nn.ReLU()),
            *(nn.Conv2d(channels, channels, 3, 1, 1), norm(channels)),
        )

    def forward(self, code: Tensor) -> Tensor:
        return code + self.layers(code)


class PatchDiscriminator(nn.Sequential):
    """Images ``[N, 3, H, W]`` in [-1, 1] to logits ``[N, 1, h, w]``, one per patch: large where it looks real.

    4x4 convolutions of stride 2 with batch norm and leaky ReLU of 0.2, then a 1x1 one. Norms always take the
    statistics of the batch at hand.

    Args:
        width: channels of the first convolution, which double from one to the next.
        levels: convolutions of stride 2.
    """

    def __init__(self, width: int = 32, levels: int = 5) -> None:
        channels = [3, *(width * 2**level for level in range(levels))]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(channels):
            layers += [
                nn.Conv2d(inputs, outputs, 4, 2, 1),
                nn.BatchNorm2d(outputs, track_running_stats=False),
                nn.LeakyReLU(0.2),
            ]
        super().__init__(*layers, nn.Conv2d(channels[-1], 1, 1))


def drawn(make: Callable[[], nn.Module], *name: object) -> nn.Module:
    """A new network whose weights come from the stream ``name``."""
    with layers_draw_from(*name):
        return make()


def with_weights(make: Callable[[], nn.Module], weights: dict[str, Tensor]) -> nn.Module:
    """A frozen network in eval mode with trained weights."""
    with torch.device("meta"):
        network = make()
    network.load_state_dict(weights, assign=True)
    return network.requires_grad_(False).eval()
