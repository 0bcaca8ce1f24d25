"""Adv-Hat, small: a sticker on the forehead that makes a face somebody else's, or nobody's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.core.ranges import SettingError, at_least, is_number, one_of, whole
from cloakbench.methods.base import Protector, Scope
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.objectives import NEEDS, Anchors, EmbeddingObjective, find_anchors
from cloakbench.methods.parts.variation import total_variation
from cloakbench.methods.photo_batch import PhotoBatch

_STEPS_255, _DECAYS = (5.0, 1.0), (0.9, 0.995)
"""Of the two phases: 1/51 and 1/255 of the range, and the decay of the momentum."""
_SHIFT, _STRETCH, _DEGREES = 0.02, 0.05, 3.0
"""Jitter: shares of the side and of the size, and degrees, either way."""
_DRAWS = 4
_ROW = (-1, 1, 1, 1)


class AdvHat(Protector):
    """Adversarial sticker: a rectangle of the aligned face is replaced by a pattern, learnt through random placement.

    At each iteration the sticker lies, a little shifted, stretched and turned, on several copies of the photo.
    Minimised is the mean squared distance to the aim's embedding (or minus that to the person's) plus ``tv_weight``
    times the total variation of the sticker, ``sum sqrt(dx^2 + dy^2)`` over pixels and channels, by the sign of a
    momentum of mean-normalised gradients. Large steps until the line through a window of losses no longer falls, then
    small steps until it no longer falls again. Nothing bounds the change inside the rectangle.

    Paper: Komkov and Petiushko, "AdvHat: Real-World Adversarial Attack on ArcFace Face ID System", ICPR 2020.
    Official settings: sticker of 400 x 900 pixels, bent to a parabola, pitched and projected onto a 600-pixel face
    before the crop; 20 jittered copies; steps of 1/51 with momentum 0.9, then 1/255 with 0.995, phases end by the
    slope over 100 iterations; total variation 1e-4; away from the person's own anchor.
    Deviations: the small version: a flat rectangle of about that shape on the aligned crop, affine jitter, 4 copies, at
    most 200 iterations; it begins in grey; each photo has its own phase; ``aim`` as in the impersonation protocol.

    Args:
        objective: see `cloakbench.methods.parts.objectives.Objective`.
        sticker: top, left, height and width of the rectangle, in shares of the photo's side.
        iterations: at most.
        copies: of the photo at each iteration.
        window: losses that the line goes through.
        tv_weight: of the total variation.

    Raises:
        SettingError: a parameter is out of range.

    Facts: ``rounds``, iterations of the last photo to end, and ``converged``, whether all ended by the slope.
    """

    name: ClassVar[str] = "adv_hat"
    scope: ClassVar[Scope] = "image"
    paper: ClassVar[str] = (
        "Komkov and Petiushko, AdvHat: Real-World Adversarial Attack on ArcFace Face ID System, ICPR 2020"
    )
    official_settings: ClassVar[str] = "sticker 400 x 900 bent and projected, 20 copies, steps 1/51 then 1/255, TV 1e-4"
    deviations: ClassVar[str] = "small version: flat rectangle on the aligned crop, affine jitter, 4 copies"

    max_change_255 = 255.0

    def __init__(
        self,
        objective: EmbeddingObjective = "own",
        *,
        sticker: Sequence[float] = (0.09, 0.23, 0.24, 0.54),
        iterations: int = 200,
        copies: int = 4,
        window: int = 100,
        tv_weight: float = 1e-4,
    ) -> None:
        self.objective: EmbeddingObjective = one_of("objective", objective, get_args(EmbeddingObjective))
        self.sticker = _rectangle("sticker", sticker)
        self.iterations, self.copies = whole("iterations", iterations), whole("copies", copies)
        self.window = whole("window", window, 2)
        self.tv_weight = at_least("tv_weight", tv_weight)
        self.needs = NEEDS[objective]
        self.targeted = objective == "aim"

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        images, count = batch.images, len(batch.images)
        streams = ItemStreams(batch.image_id, context.seed, self.name, device=context.device)
        anchors = repeated(find_anchors(self.objective, batch, context), self.copies)
        box = self.box(images)
        stickers, momentum = torch.full_like(images, 0.5), torch.zeros_like(images)
        phases = Phases(count, self.window, context.device)
        for _ in range(self.iterations):
            draws = streams.uniform(self.copies, _DRAWS, low=-1).flatten(0, 1)
            gradient, losses = self._gradient(images, stickers, box, draws, anchors, context)
            size = gradient.abs().mean(dim=(1, 2, 3)).view(_ROW)
            momentum = phases.decay.view(_ROW) * momentum + gradient / torch.where(size > 0, size, 1.0)
            stickers = (stickers - (phases.step_255 / 255).view(_ROW) * momentum.sign()).clamp_(0, 1)
            phases.add(losses)
            if phases.ended:
                break
        context.facts.update(rounds=phases.iterations, converged=phases.ended)
        return images * (1 - box) + stickers * box

    def box(self, images: Tensor) -> Tensor:
        """One inside the rectangle, zero elsewhere, ``[1, 1, H, W]``."""
        height, width = images.shape[-2:]
        top, left, tall, wide = self.sticker
        rows, columns = round(top * height), round(left * width)
        box = images.new_zeros(1, 1, height, width)
        box[:, :, rows : rows + max(round(tall * height), 1), columns : columns + max(round(wide * width), 1)] = 1
        return box

    def _gradient(
        self, images: Tensor, stickers: Tensor, box: Tensor, draws: Tensor, anchors: Anchors, context: ProtectContext
    ) -> tuple[Tensor, Tensor]:
        """Slope of the loss in the stickers, and the loss of each photo ``[N]``."""
        leaf = stickers.detach().requires_grad_()
        worn = wear(
            images.repeat_interleave(self.copies, 0), (leaf * box).repeat_interleave(self.copies, 0), box, draws
        )
        pixels = worn.detach().requires_grad_()
        slope, losses = torch.zeros_like(pixels), torch.zeros(len(images), device=images.device)
        for model, points in zip(context.surrogates, anchors.points, strict=True):
            distances = (model.embed(pixels) - points).square().sum(dim=1) / len(anchors.points)
            signed = (distances if anchors.towards else -distances).view(-1, self.copies).mean(dim=1)
            losses += signed.detach()
            slope += torch.autograd.grad(signed.sum(), pixels)[0]
        variation = self.tv_weight * total_variation(leaf, box)
        (gradient,) = torch.autograd.grad([worn, variation.sum()], leaf, [slope, None])
        return gradient, losses + variation.detach()


class Phases:
    """Which phase each of N photos is in: 0 with large steps, 1 with small ones, 2 ended; it takes no steps any more.

    Args:
        photos: N.
        window: losses that the line goes through; a phase is at least that long.
        device: of the losses.
    """

    def __init__(self, photos: int, window: int, device: torch.device) -> None:
        self.window = window
        self.iterations = 0
        self._phase = torch.zeros(photos, dtype=torch.long, device=device)
        self._since = torch.zeros(photos, dtype=torch.long, device=device)
        self._losses: list[Tensor] = []
        self._steps_255, self._decays = (
            torch.tensor([*values, 0.0], device=device) for values in (_STEPS_255, _DECAYS)
        )

    @property
    def step_255(self) -> Tensor:
        """Step of each photo in grey levels, ``[N]``."""
        return self._steps_255[self._phase]

    @property
    def decay(self) -> Tensor:
        """Decay of each photo's momentum, ``[N]``."""
        return self._decays[self._phase]

    @property
    def ended(self) -> bool:
        """Whether every photo has ended."""
        return bool((self._phase == 2).all())

    def add(self, losses: Tensor) -> None:
        """The losses ``[N]`` of one more iteration."""
        self.iterations += 1
        self._losses = [*self._losses[-(self.window - 1) :], losses]
        self._since += 1
        if len(self._losses) < self.window:
            return
        times = torch.linspace(-1, 1, self.window, device=losses.device).view(-1, 1)
        rising = (times * torch.stack(self._losses)).sum(dim=0) >= 0  # the sign of the fitted line's slope
        over = rising & (self._since >= self.window) & (self._phase < 2)
        self._phase = self._phase + over.long()
        self._since = torch.where(over, 0, self._since)


def wear(images: Tensor, stickers: Tensor, box: Tensor, draws: Tensor) -> Tensor:
    """Photos ``[N, 3, H, W]`` with stickers, each a little shifted, stretched and turned about the box's centre.

    Args:
        images: the photos.
        stickers: ``[N, 3, H, W]``, zero outside the box.
        box: ``[1, 1, H, W]`` of zeros and ones.
        draws: ``[N, 4]`` in [-1, 1]: across, down, size, angle; zeros leave the sticker where it is.
    """
    across, down, size, angle = draws.unbind(dim=1)
    scale, angle = 1 + _STRETCH * size, math.radians(_DEGREES) * angle
    cosine, sine = angle.cos() / scale, angle.sin() / scale
    rows, columns = box[0, 0].nonzero().float().mean(dim=0).unbind()
    height, width = images.shape[-2:]
    x, y = (2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1
    # Where a place of the photo lies on the sticker that has not moved: about the box's centre, less the shift.
    left, top = x + 2 * _SHIFT * across, y + 2 * _SHIFT * down
    place = torch.stack(
        [
            torch.stack([cosine, sine, x - cosine * left - sine * top], dim=1),
            torch.stack([-sine, cosine, y + sine * left - cosine * top], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(place, list(images.shape), align_corners=False)
    moved = F.grid_sample(torch.cat([stickers, box.expand(len(images), -1, -1, -1)], dim=1), grid, align_corners=False)
    return images * (1 - moved[:, 3:]) + moved[:, :3]


def repeated(anchors: Anchors, copies: int) -> Anchors:
    """The anchors of every photo's copies, copies of a photo side by side."""
    return Anchors(tuple(points.repeat_interleave(copies, 0) for points in anchors.points), anchors.towards)


def _rectangle(name: str, shares: Sequence[float]) -> tuple[float, float, float, float]:
    values = tuple(shares) if isinstance(shares, Sequence) else (shares,)
    if len(values) == 4 and all(map(is_number, values)):
        top, left, tall, wide = values
        if min(top, left) >= 0 and min(tall, wide) > 0 and max(top + tall, left + wide) <= 1:
            return top, left, tall, wide
    raise SettingError(name, list(values), "top, left, height and width in shares of the side, within the photo")
