"""Key networks: what turns a hidden photo back into the photo it was, and how their common part is trained.

A key network is a first convolution, of 4x4 pixels in steps of 4, whose filters are one user's secret, and a body that
is everybody's. The filters span half of what a tile of 4x4x3 values can be, another half for each user; the other half
is free, so that a hidden photo can look like noise and be known by a recogniser whatever the body reads.

Source: AVIH (Su et al., "Hiding Visual Information via Obfuscating Adversarial Perturbations", ICCV 2023) asks for one
private generator for each user, a ResNet; the release has a trained one, and no training. Network and recipe are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator, layers_draw_from
from cloakbench.methods.base import Stage
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.training_state import read_state, state_of

TILE_PX = 4
_TILE = 3 * TILE_PX**2
_READ = _TILE // 2
_GAIN = 4.0
"""Signals in a photo are so much smaller than the noise about them; the body sees them at full size."""
_STREAM = "avih"


class KeyBody(nn.Module):
    """What filters read of hidden photos, ``[N, 24, H / 4, W / 4]``, to photos ``[N, 3, H, W]``, about [0, 1].

    Args:
        width: channels of its convolutions.
        blocks: residual ones, of two 3x3 convolutions.
    """

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(_READ, width, 3, 1, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, width, 3, 1, 1))
            for _ in range(blocks)
        )
        self.leave = nn.Conv2d(width, _TILE, 3, 1, 1)

    def forward(self, read: Tensor) -> Tensor:
        code = F.leaky_relu(self.enter(_GAIN * read), 0.2)
        for block in self.blocks:
            code = code + block(code)
        return F.pixel_shuffle(self.leave(code), TILE_PX) + 0.5


@dataclass(frozen=True)
class KeyTraining(Stage):
    """The body of all key networks, learnt on auxiliary faces as the second half of an autoencoder.

    The first half, which nobody needs afterwards, writes a photo into what filters read, at most a quarter of a grey
    scale high; in between there is as much noise as rounding and clipping leave.
    """

    name: ClassVar[str] = "key_network"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.AUXILIARY})

    width: int
    blocks: int
    steps: int
    batch: int
    learning_rate: float

    def run(self, context: ProtectContext) -> Mapping[str, Tensor]:
        """Weights of a `KeyBody`."""
        faces = context.require_auxiliary().images
        with layers_draw_from(context.seed, _STREAM, "first weights"):
            both = nn.ModuleDict({"write": _Writer(self.width), "read": KeyBody(self.width, self.blocks)})
        both.to(context.device)
        optimiser = torch.optim.Adam(both.parameters(), lr=self.learning_rate)
        reached = context.resume()
        for step in range(0 if reached is None else read_state(reached, both, optimiser), self.steps):
            draws = generator(context.seed, _STREAM, "step", step)
            rows = torch.randint(len(faces), (self.batch,), generator=draws)
            photos = faces[rows].to(context.device).float() / 255
            written = both["write"](photos)
            noise = torch.randn(written.shape, generator=draws).to(written) * (0.5 / 255)
            loss = F.mse_loss(both["read"](written + noise), photos)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            context.keep(state_of(step + 1, both, optimiser))
            context.progress(step + 1, self.steps)
        return both["read"].state_dict()


class _Writer(nn.Module):
    """Photos to what filters are to read of them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(_TILE, width, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, _READ, 3, 1, 1), nn.Tanh()
        )

    def forward(self, photos: Tensor) -> Tensor:
        return self.layers(F.pixel_unshuffle(photos - 0.5, TILE_PX)) / _GAIN


def secret_filters(names: Sequence[str], context: ProtectContext) -> Tensor:
    """First convolutions ``[P, 24, 48]``: orthonormal rows, of each name its own."""
    drawn = ItemStreams(names, context.seed, _STREAM, device=torch.device("cpu")).normal(_TILE, _READ)
    return torch.linalg.qr(drawn.double()).Q.mT.float().to(context.device)


def read_by(filters: Tensor, hidden: Tensor) -> Tensor:
    """What each photo's own filters ``[N, 24, 48]`` read of it: ``[N, 24, H / 4, W / 4]`` of ``[N, 3, H, W]``."""
    tiles = F.pixel_unshuffle(hidden - 0.5, TILE_PX)
    return (filters @ tiles.flatten(2)).unflatten(2, tiles.shape[2:])


def body_with(weights: Mapping[str, Tensor]) -> KeyBody:
    """The body that has these weights, frozen; its size is theirs."""
    blocks = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
    with torch.device("meta"):
        body = KeyBody(len(weights["enter.weight"]), blocks)
    body.load_state_dict(dict(weights), assign=True)
    return body.requires_grad_(False).eval()
