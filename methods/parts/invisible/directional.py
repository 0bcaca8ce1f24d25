"""The directional perturbation of Invisible-Face: one sign for each value, by gradients of all attributes and places.

Source: Yang et al., "Invisible-Face", TIFS 2025, equations 8 to 11 and algorithm 2. With the gradient g_k of attribute
k, and v_k what it exceeds the mean gradient of N neighbours of the photo by, ``g_intra = sum_k (g_k - v_k) / |g_k -
v_k|_1``, ``g_inter = 1/K sum_k g_k`` and the perturbation is ``sign(g_intra + g_inter)``. ``g_k - v_k`` is that mean
gradient itself, so that is what is computed. Readings: the signed difference of equation 8 rather than the squares of
algorithm 2, neighbours within ``U(-eps, eps)``, and 1/K where the algorithm has 1/N. Nothing of it depends on the
generator, so it is computed once for each photo and kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from cloakbench.bench.core.ranges import at_least, grey_levels, one_of, whole
from cloakbench.methods.parts.attributes.own_answers import OwnAnswers
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.objectives import unit_mean

BetaScale = Literal["pm1", "unit"]
"""``pm1``: beta is on the scale of photos in [-1, 1], half as much in [0, 1]. ``unit``: on that of [0, 1]."""


@dataclass(frozen=True)
class DirectionRules:
    """How the direction is found and used.

    Attributes:
        neighbours: N.
        radius_255: half-width of the uniform noise that makes a neighbour, in grey levels.
        normalize_inter: divide each gradient of g_inter by its L1 norm; without it a raw gradient is added to unit
            ones, and the larger of the two decides.
        beta: how much of the direction is added to what the generator gives.
        beta_scale: see `BetaScale`.
        at_inference: find and add it when photos are protected, too; else only while the generator learns.

    Raises:
        SettingError: a value is out of range.
    """

    neighbours: int = 10
    radius_255: float = 8.0
    normalize_inter: bool = True
    beta: float = 0.03
    beta_scale: BetaScale = "pm1"
    at_inference: bool = True

    def __post_init__(self) -> None:
        whole("neighbours", self.neighbours)
        grey_levels("radius_255", self.radius_255)
        at_least("beta", self.beta)
        one_of("beta_scale", self.beta_scale, get_args(BetaScale))

    @property
    def size(self) -> float:
        """How much a value changes by the direction alone, on the scale of [0, 1]."""
        return self.beta / 2 if self.beta_scale == "pm1" else self.beta


def find_directions(
    photos: Tensor, names: Sequence[str], answers: OwnAnswers, seed: int, rules: DirectionRules
) -> Tensor:
    """The direction of every photo, int8 ``[N, 3, H, W]`` of -1, 0 and 1.

    Args:
        photos: ``[N, 3, H, W]`` in [0, 1].
        names: one for each; they seed the neighbours.
        answers: what surrogates say about these photos.
        seed: of the run.
        rules: see `DirectionRules`.
    """
    streams = ItemStreams(names, seed, "invisible_face", "neighbours", device=photos.device)
    radius = rules.radius_255 / 255
    here = answers.attribute_gradients(photos)
    around = torch.zeros_like(here)
    for _ in range(rules.neighbours):
        noise = streams.uniform(*photos.shape[1:], low=-radius, high=radius)
        around += answers.attribute_gradients(photos + noise)
    return direction(here, around / rules.neighbours, rules.normalize_inter)


def direction(here: Tensor, around: Tensor, normalize_inter: bool) -> Tensor:
    """Equations 9 to 11, int8 ``[N, 3, H, W]``.

    Args:
        here: g_k, ``[K, N, 3, H, W]``.
        around: mean gradients of neighbours, of that shape.
        normalize_inter: see `DirectionRules`.
    """
    intra = intra_direction(around)
    inter = (_unit_l1(here) if normalize_inter else here).mean(dim=0)
    return (intra + inter).sign().to(torch.int8)


def intra_direction(around: Tensor) -> Tensor:
    """Equation 9, ``[N, 3, H, W]``, of mean gradients ``[K, N, 3, H, W]``; its L1 norm is at most K."""
    return _unit_l1(around).sum(dim=0)


def _unit_l1(gradients: Tensor) -> Tensor:
    """Each divided by its L1 norm; zero stays zero."""
    return torch.stack([unit_mean(one) / one[0].numel() for one in gradients])


def pack_signs(signs: Tensor) -> Tensor:
    """Signs ``[N, ...]`` of -1, 0 and 1 as uint8 ``[N, 2, B]``, two bits each: which are above and which below 0."""
    flat = signs.flatten(1).cpu()
    bits = torch.stack([flat > 0, flat < 0], dim=1).numpy()
    return torch.from_numpy(np.packbits(bits, axis=2))


def unpack_signs(packed: Tensor, shape: Sequence[int]) -> Tensor:
    """What `pack_signs` packed, int8 ``[N, *shape]``, on the CPU."""
    count = int(np.prod(shape))
    above, below = np.unpackbits(packed.cpu().numpy(), axis=2, count=count).astype(np.int8).swapaxes(0, 1)
    return torch.from_numpy(above - below).view(-1, *shape)
