"""The two halves of APF's division of labour: what the phone does to photos, and the network that lives in the cloud.

The cloud's `NoiseEnhancer` takes noise and gives noise. It has no argument that could carry a photo.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.parts.transfer.views import sample

LIGHT_255 = 5.0
SHRINK_PX = 2
ANGLE_DEGREES = 15.0
PROBABILITY = 0.5
DRAWS = 8


def diversify(photos: Tensor, draws: Tensor) -> Tensor:
    """Photos in slightly other light, size and angle, each change with probability one half.

    Light: one number within 5 grey levels is added. Size: the photo shrinks by up to two pixels and lies at a random
    place on black. Angle: up to 15 degrees about the centre. Size and angle are one bilinear sampling.

    Args:
        photos: ``[N, 3, S, S]`` in [0, 1].
        draws: uniform ``[N, DRAWS]`` in [0, 1).

    Returns:
        ``[N, 3, S, S]``, differentiable in ``photos``; light may leave [0, 1] by 5 grey levels.
    """
    lit, light, shrunk, size, top, left, turned, angle = draws.unbind(dim=1)
    side = photos.shape[-1]
    light = torch.where(lit < PROBABILITY, (2 * light - 1) * LIGHT_255 / 255, 0.0)
    size = torch.where(shrunk < PROBABILITY, side - (size * (SHRINK_PX + 1)).floor(), float(side))
    top, left = ((offset * (side - size + 1)).floor() for offset in (top, left))
    angle = torch.where(turned < PROBABILITY, (2 * angle - 1) * math.radians(ANGLE_DEGREES), 0.0)
    # Where an output pixel at o in [-1, 1] looks in the photo: turned about the centre, then onto the shrunken photo.
    scale, cosine, sine = side / size, angle.cos(), angle.sin()
    across = torch.stack([scale * cosine, -scale * sine, (side - 2 * left) / size - 1], dim=1)
    along = torch.stack([scale * sine, scale * cosine, (side - 2 * top) / size - 1], dim=1)
    place = torch.stack([across, along], dim=1)
    return sample(photos, place) + light.view(-1, 1, 1, 1)


class NoiseEnhancer(nn.Module):
    """The server of APF: noise of one photo in, noise that transfers out, within the same budget.

    A U-Net (four stride-2 blocks, leaky ReLU, no norm, skip concatenation, linear output) and, added to its output, a
    fixed universal perturbation P as ``conv1x1(a P + b)`` with learnt a, b and convolution. The sum is clipped.

    Args:
        width: channels of the first block; the others have 2, 4 and 8 times as many.
        shape: ``(3, H, W)`` of the noise; H and W are multiples of 16.
        epsilon: Linf budget in [0, 1], which is also the unit in which the U-Net sees and gives noise.
    """

    def __init__(self, width: int, shape: Sequence[int], epsilon: float) -> None:
        super().__init__()
        if any(side % 16 for side in shape[1:]):
            raise ValueError(f"apf: the sides of photos must be multiples of 16, got {tuple(shape[1:])}")
        self.epsilon = epsilon
        wide = [3, width, 2 * width, 4 * width, 8 * width]
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in pairwise(wide))
        # From the second one on, the input is joined with what the way down gave at that size.
        ups = [(wide[4], wide[3]), (2 * wide[3], wide[2]), (2 * wide[2], wide[1]), (2 * wide[1], 3)]
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 3, 2, 1, output_padding=1) for a, b in ups)
        self.scale = nn.Parameter(torch.ones(()))
        self.shift = nn.Parameter(torch.zeros(()))
        self.mix = nn.Conv2d(3, 3, 1)
        self.register_buffer("universal", torch.zeros(1, *shape))

    def forward(self, noise: Tensor) -> Tensor:
        """Noise ``[N, 3, H, W]`` in [-epsilon, epsilon] for noise of that shape and range."""
        if self.epsilon == 0:
            return torch.zeros_like(noise)
        universal = self.mix(self.scale * self.get_buffer("universal") / self.epsilon + self.shift)
        return (self._transfer(noise / self.epsilon) + universal).clamp(-1, 1) * self.epsilon

    def _transfer(self, noise: Tensor) -> Tensor:
        seen = []
        for block in self.down:
            noise = F.leaky_relu(block(noise), 0.2)
            seen.append(noise)
        seen.pop()
        for block in self.up[:-1]:
            noise = torch.cat([F.leaky_relu(block(noise), 0.2), seen.pop()], dim=1)
        return self.up[-1](noise)

    @classmethod
    def drawn(cls, width: int, shape: Sequence[int], epsilon: float, *name: object) -> NoiseEnhancer:
        """A new server with weights from the stream ``name``; the mixing of the universal part begins as identity."""
        with torch.random.fork_rng(devices=[]):  # layers draw from the global state before we replace their weights
            server = cls(width, shape, epsilon)
        stream = generator(*name)
        with torch.no_grad():
            for weights in server.parameters():
                if weights.ndim > 1:
                    nn.init.kaiming_normal_(weights, a=0.2, generator=stream)
                elif weights.ndim:
                    weights.zero_()
            server.mix.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
        return server

    @classmethod
    def of(cls, weights: Mapping[str, Tensor], width: int, shape: Sequence[int], epsilon: float) -> NoiseEnhancer:
        """The server with trained weights."""
        with torch.device("meta"):
            server = cls(width, shape, epsilon)
        server.load_state_dict(dict(weights), assign=True)
        return server.requires_grad_(False)
