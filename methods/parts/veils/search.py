"""The search for veils: signed steps along gathered gradients, all people of a chunk in one loop.

Source: the veils (2024), algorithm 1 and equation 13, as they can be meant: one veil is optimised, not one for each
photo, and against the gathered gradient, of which algorithm 1 makes no use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cloakbench.methods.context import ProtectContext
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.objectives import input_gradient
from cloakbench.methods.parts.veils.block_variance import BlockVariance

Start = Literal["key", "first_photo"]
"""``key``: uniform noise that each person has alone, "a unique initial value assigned to each user". ``first_photo``:
algorithm 1; the veil starts as the face that it is to hide."""
Nearest = Callable[[Tensor, Tensor], Tensor]
"""Where the features ``[P, R, D]`` of veiled photos belong, given the clean ones ``[P, R, D]`` of the same photos."""

_STREAM = "veil"
"""Names the random streams of all veils: methods that differ in one term only differ in nothing else."""
_HALVED_AT = (0.6, 0.85)
"""Shares of the steps after which a step is half as long as before."""


@dataclass(frozen=True)
class VeilSearch:
    """Settings of the search; see `cloakbench.methods.veil.Veil`."""

    alpha: float
    visual_weight: float
    variance_weight: float
    variance: BlockVariance
    steps: int
    step_255: float
    momentum_decay: float
    start: Start
    expect_rounding: bool

    def veils(self, references: Tensor, names: tuple[str, ...], nearest: Nearest, context: ProtectContext) -> Tensor:
        """Veils ``[P, 3, H, W]`` in [0, 1], in whole grey levels.

        Args:
            references: photos ``[P, R, 3, H, W]`` of each person.
            names: of the people.
            nearest: see `Nearest`.
            context: with the surrogates, whose losses are averaged.

        Facts: ``similarity``, the mean cosine of each person's photos and their own centre in the last step, of that
        person for whom it is least.
        """
        streams = ItemStreams(names, context.seed, _STREAM, device=context.device)
        shape, photo = references.shape[:2], references.shape[2:]
        veils = streams.uniform(*photo) if self.start == "key" else references[:, 0].clone()
        with torch.no_grad():
            clean = [model.embed(references.flatten(0, 1)).unflatten(0, shape) for model in context.surrogates]
        shares, middle = self.alpha * references, references.mean(dim=1)
        photos, gathered = torch.empty_like(references), torch.zeros_like(veils)
        rounding = streams.uniform(*photo, low=-0.5 / 255, high=0.5 / 255) if self.expect_rounding else None
        similar = [torch.empty(0)] * len(clean)

        def loss(surrogate: int, embeddings: Tensor) -> Tensor:
            features, points = embeddings.unflatten(0, shape), clean[surrogate]
            goal = nearest(features.detach(), points)
            similar[surrogate] = _cosine_to_centre(features.detach(), points)
            return (features - goal).square().sum(dim=-1).mean(dim=1).sum()

        for step in range(self.steps):
            common = (1 - self.alpha) * veils
            if rounding is not None:  # shifted by a little more each time: new numbers at every pixel, and no new draw
                common += rounding.roll((5 * step, 11 * step), dims=(2, 3))
            torch.add(shares, common.unsqueeze(1), out=photos)
            slope = input_gradient(photos.flatten(0, 1), context.surrogates, loss).unflatten(0, shape).sum(dim=1)
            slope += self._visual_slope(veils, middle)  # in photos; in the veil it is 1 - alpha as long
            gathered.mul_(self.momentum_decay).add_(_of_length_one(slope))
            veils = veils.sub_(gathered.sign(), alpha=self._step(step)).clamp_(0, 1)
        context.facts["similarity"] = min(float(one.min()) for one in similar)
        return veils.mul_(255).round_().div_(255)

    def _step(self, step: int) -> float:
        """Its length on the scale of [0, 1]."""
        halvings = sum(step >= share * self.steps for share in _HALVED_AT)
        return self.step_255 / 255 / 2**halvings

    def _visual_slope(self, veils: Tensor, middle: Tensor) -> Tensor:
        """Slope, in veiled photos, of the terms that are quadratic in them: the mean over photos of such a slope is the
        slope at their mean. Rounding adds a constant to them, in the mean.

        Args:
            veils: ``[P, 3, H, W]``.
            middle: mean photos ``[P, 3, H, W]``.
        """
        # mean((x - x')^2), where x' - x = (1 - alpha) (veil - x)
        slope = (veils - middle).mul_(-self.visual_weight * 2 * (1 - self.alpha) / veils[0].numel())
        if not self.variance_weight:
            return slope
        flatter = self.variance.slope(torch.lerp(veils, middle, self.alpha))
        return slope.add_(flatter, alpha=self.variance_weight)


def _of_length_one(slope: Tensor) -> Tensor:
    """Each row over the sum of its sizes, in place; a row of zeros stays."""
    sizes = torch.linalg.vector_norm(slope, ord=1, dim=(1, 2, 3), keepdim=True)
    return slope.div_(sizes.clamp_(min=torch.finfo(slope.dtype).tiny))


def _cosine_to_centre(features: Tensor, clean: Tensor) -> Tensor:
    """Mean over the photos of each person, ``[P]``."""
    return torch.cosine_similarity(features, clean.mean(dim=1, keepdim=True), dim=-1).mean(dim=1)
