"""TIP-IM: whichever of several strangers a photo is most easily mistaken for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, get_args

import torch
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.core.ranges import at_least, grey_levels, grey_step, one_of, whole
from cloakbench.methods.base import Budget, Protector, Scope
from cloakbench.methods.context import CountedNetwork, Need, ProtectContext
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.linf import LinfBall
from cloakbench.methods.parts.mmd import ComparedSets, Naturalness
from cloakbench.methods.parts.objectives import unit_mean
from cloakbench.methods.parts.transfer.views import sample
from cloakbench.methods.photo_batch import PhotoBatch

StepNorm = Literal["l2", "linf"]
"""``linf``: the sign of the momentum. ``l2``: the momentum itself, scaled to the length a sign would have."""

Gain = Literal["gain1", "gain2", "gain3"]
"""How a candidate's margins over the m strangers become one number, under the names of the code: sum, min, max."""

TargetsFrom = Literal["pool", "plan"]
"""``pool``: m strangers among the auxiliary people, the same for everybody. ``plan``: the one whom the experiment aims
each person at (impersonation), so that m is 1 and nothing is chosen."""

_ROW = (-1, 1, 1, 1)
"""Shape that lets a value per photo meet its pixels."""


_AT_ONCE = 64
"""Candidates that are looked at together, of as many targets as there is room for: a few photos alone would make
passes of a few, and those of many targets at once would fill the memory."""


class Targets(Protocol):
    """What photos leave, and the m targets they may go to: people here, labels in `cloakbench.methods.tip_im_m`."""

    @property
    def count(self) -> int:
        """How many targets, m."""
        ...

    def answers(self, photos: Tensor) -> Sequence[Any]:
        """What each surrogate says of photos ``[N, 3, H, W]``."""
        ...

    def loss(self, answers: Sequence[Any], target: int) -> Tensor:
        """How far photos are from a target, less how far they are from themselves, ``[N]``; mean over surrogates."""
        ...

    def margins(self, photos: Tensor) -> Iterator[Tensor]:
        """For each surrogate, how much nearer candidates are to each target than to the clean photo, ``[g N, m]``.

        Args:
            photos: ``[g N, 3, H, W]``, one candidate of each of the N photos, then the next of each.
        """
        ...


@dataclass(frozen=True)
class Embeddings:
    """Per surrogate: of the clean photos ``[N, D]``, and of the strangers ``[1, m, D]`` or ``[N, m, D]``."""

    surrogates: tuple[CountedNetwork, ...]
    own: list[Tensor]
    pool: list[Tensor]

    @property
    def count(self) -> int:
        """Strangers, m."""
        return self.pool[0].shape[1]

    def answers(self, photos: Tensor) -> list[Tensor]:
        """Embeddings per surrogate, ``[N, D]``."""
        return [model.embed(photos) for model in self.surrogates]

    def loss(self, answers: Sequence[Tensor], target: int) -> Tensor:
        """``d(f', f_t) - d(f', f)`` per photo ``[N]``, the mean over surrogates; mean squared differences."""
        terms = [
            (seen - pool[:, target]).square().mean(dim=1) - (seen - own).square().mean(dim=1)
            for seen, own, pool in zip(answers, self.own, self.pool, strict=True)
        ]
        return torch.stack(terms).mean(dim=0)

    def margins(self, photos: Tensor) -> Iterator[Tensor]:
        """``|f' - f| - |f' - f_t|``, Euclidean distances, per candidate and stranger, ``[g N, m]``."""
        times = len(photos) // len(self.own[0])
        for model, own, pool in zip(self.surrogates, self.own, self.pool, strict=True):
            embeddings = model.embed(photos)
            to_pool = (embeddings.unsqueeze(1) - (pool if len(pool) == 1 else pool.repeat(times, 1, 1))).norm(dim=2)
            yield (embeddings - own.repeat(times, 1)).norm(dim=1, keepdim=True) - to_pool


class TIPIM(Protector):
    """Targeted identity-protection iterative method: every step tries m targets and keeps the best candidate.

    A step looks at a randomly warped photo. For each stranger t the gradient of ``d(f', f_t) - d(f', f) + gamma MMD``,
    d the mean squared difference, is divided by its mean size and added to the momentum; the step is taken and
    projected. Of the m candidates, unwarped, the one of largest gain ``log(1 + max_t exp(|f' - f| - |f' - f_t|))``
    stays, and its momentum with it. The MMD is in `cloakbench.methods.parts.mmd`.

    Paper: Yang et al., "Towards Face Encryption by Generating Adversarial Identity Masks", ICCV 2021.
    Official settings (released command): epsilon 12, 100 steps of 1.5 epsilon / T, momentum 1, step l2, 10 targets,
    gain3, gamma 0, so that the term the paper is known for is off. The constraint is the Linf ball for both steps.
    Deviations: the strangers are people drawn from the auxiliary faces, each with the first photo, the same for a whole
    run (``targets_from=plan`` is ours, for impersonation); affine map and rotation are one bilinear sampling instead of
    two; each photo draws its own; the MMD is by default over patches of the photo (batch size 1 in the code makes it a
    constant almost everywhere); several surrogates average losses and gains.

    Args:
        epsilon_255: Linf budget in grey levels.
        steps: T; 100 in the code.
        step_255: root mean square of a step in grey levels; None for ``1.5 epsilon / T``.
        step_norm: see `StepNorm`.
        momentum_decay: of the momentum.
        targets_from: see `TargetsFrom`.
        strangers: how many of them, m; with ``targets_from=plan`` there is one, whatever this says.
        gain: see `Gain`.
        warp_low, warp_high: range of the deviations of the affine entries and of the rotation, in radians.
        naturalness_weight: gamma; 0 leaves the MMD out.
        naturalness_sets: see `cloakbench.methods.parts.mmd.ComparedSets`.

    Raises:
        ValueError: a parameter is out of range, or the auxiliary faces show fewer than ``strangers`` people.
    """

    name: ClassVar[str] = "tip_im"
    scope: ClassVar[Scope] = "image"
    paper: ClassVar[str] = "Yang et al., Towards Face Encryption by Generating Adversarial Identity Masks, ICCV 2021"
    official_settings: ClassVar[str] = (
        "epsilon 12, 100 steps of 1.5 epsilon/T, momentum 1, l2 step, 10 targets, gain3, MMD weight 0"
    )
    deviations: ClassVar[str] = "targets from the auxiliary faces; one warp instead of two; MMD over patches"
    targeted = True

    def __init__(
        self,
        epsilon_255: float = 12,
        *,
        steps: int = 100,
        step_255: float | None = None,
        step_norm: StepNorm = "l2",
        momentum_decay: float = 1.0,
        targets_from: TargetsFrom = "pool",
        strangers: int = 10,
        gain: Gain = "gain3",
        warp_low: float = 0.01,
        warp_high: float = 0.1,
        naturalness_weight: float = 0.0,
        naturalness_sets: ComparedSets = "patches",
    ) -> None:
        self.epsilon_255 = grey_levels("epsilon_255", epsilon_255)
        self.steps = whole("steps", steps)
        self.step_255 = 1.5 * epsilon_255 / steps if step_255 is None else grey_step("step_255", step_255)
        self.step_norm: StepNorm = one_of("step_norm", step_norm, get_args(StepNorm))
        self.momentum_decay = at_least("momentum_decay", momentum_decay)
        self.targets_from: TargetsFrom = one_of("targets_from", targets_from, get_args(TargetsFrom))
        self.strangers = whole("strangers", strangers)
        self.gain: Gain = one_of("gain", gain, get_args(Gain))
        self.warp_low = at_least("warp_low", warp_low)
        self.warp_high = at_least("warp_high", warp_high, warp_low)
        self.naturalness_weight = at_least("naturalness_weight", naturalness_weight)
        self.naturalness_sets: ComparedSets = one_of("naturalness_sets", naturalness_sets, get_args(ComparedSets))
        self.needs = frozenset({Need.SURROGATES, Need.AUXILIARY if targets_from == "pool" else Need.AIM})
        self.budget = Budget("linf", epsilon_255)

    @torch.no_grad()
    def fit(self, batch: PhotoBatch, context: ProtectContext) -> Any:
        """Embeddings of the strangers, per surrogate: ``[m, D]``, or ``[P, D]`` of those planned.

        Nothing of the chunk's people is looked at.
        """
        if self.targets_from == "plan":
            return [model.embed(batch.require_aim_photos()) for model in context.surrogates]
        faces = context.require_auxiliary()
        names = faces.identities()
        if len(names) < self.strangers:
            raise ValueError(
                f"tip_im: the auxiliary faces show {len(names)} people, fewer than the {self.strangers} strangers; "
                "give more (dataset.auxiliary_identities) or set method.strangers"
            )
        order = torch.randperm(len(names), generator=generator(context.seed, self.name, "targets")).tolist()
        rows = [faces.identity.index(names[place]) for place in order[: self.strangers]]
        photos = faces.images[rows].to(context.device).float() / 255
        return [model.embed(photos) for model in context.surrogates]

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        images, epsilon = batch.images, self.epsilon_255 / 255
        ball = LinfBall.around(images, epsilon)
        streams = ItemStreams(batch.image_id, context.seed, self.name, device=context.device)
        targets = self.targets(batch, fitted, context)
        groups = _groups(targets.count, max(1, _AT_ONCE // len(images)))
        natural = Naturalness(self.naturalness_sets, images) if self.naturalness_weight else None
        photos, momentum = images, torch.zeros_like(images)
        for _ in range(self.steps):
            warp = random_warp(streams, self.warp_low, self.warp_high)
            leaf = photos.detach().requires_grad_()
            seen = sample(leaf, warp)
            answers = targets.answers(seen)
            pull = None if natural is None else self.naturalness_weight * natural.gradient(photos)
            best = torch.full((len(images),), -torch.inf, device=images.device)
            kept, kept_momentum = torch.full_like(photos, torch.nan), momentum  # where every gain is NaN, a failure
            for group in groups:
                last = group is groups[-1]
                momenta = self._momenta(group, leaf, answers, targets, pull, momentum, last)
                directions = step_direction(momenta.flatten(0, 1), self.step_norm).view_as(momenta)
                candidates = ball.project_(torch.sub(photos, directions, alpha=self.step_255 / 255))
                gains = self.gains(candidates.flatten(0, 1), targets).view(len(group), -1)
                gain, place = gains.nan_to_num(-torch.inf).max(dim=0)
                better, best = (gain > best).view(_ROW), torch.maximum(gain, best)
                kept = torch.where(better, _taken(candidates, place), kept)
                kept_momentum = torch.where(better, _taken(momenta, place), kept_momentum)
            photos, momentum = kept, kept_momentum
        return photos

    @torch.no_grad()
    def targets(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Targets:
        """What photos leave and may go to; ``fitted`` is what `fit` gave."""
        planned = self.targets_from == "plan"
        pool = [points[batch.owner].unsqueeze(1) if planned else points.unsqueeze(0) for points in fitted]
        return Embeddings(context.surrogates, [model.embed(batch.images) for model in context.surrogates], pool)

    def _momenta(
        self,
        group: Sequence[int],
        leaf: Tensor,
        answers: Sequence[Any],
        targets: Targets,
        pull: Tensor | None,
        momentum: Tensor,
        last: bool,
    ) -> Tensor:
        """The momentum after a step towards each target of a group, ``[g, N, 3, H, W]``."""
        momenta = torch.empty(len(group), *leaf.shape, dtype=leaf.dtype, device=leaf.device)
        for place, target in enumerate(group):
            loss = targets.loss(answers, target).sum()
            (slope,) = torch.autograd.grad(loss, leaf, retain_graph=not last or target != group[-1])
            unit = unit_mean(slope if pull is None else slope + pull)
            torch.add(unit, momentum, alpha=self.momentum_decay, out=momenta[place])
        return momenta

    @torch.no_grad()
    def gains(self, photos: Tensor, targets: Targets) -> Tensor:
        """How good candidates are, the mean over surrogates.

        Args:
            photos: ``[g N, 3, H, W]``, all N photos' candidates for a target, then those for the next of g.
            targets: of the N photos.

        Returns:
            ``[g N]``.
        """
        terms = []
        for nearer in targets.margins(photos):
            margins = nearer.exp()
            reduced = {"gain1": margins.sum(1), "gain2": margins.amin(1), "gain3": margins.amax(1)}[self.gain]
            terms.append((1 + reduced).log())
        return torch.stack(terms).mean(dim=0)


def step_direction(momentum: Tensor, norm: StepNorm) -> Tensor:
    """A step per photo whose root mean square over values is one (``linf``: wherever the momentum is not zero)."""
    if norm == "linf":
        return momentum.sign()
    length = momentum.flatten(1).norm(dim=1).view(_ROW)
    return momentum * (momentum[0].numel() ** 0.5 / torch.where(length > 0, length, 1.0))


def random_warp(streams: ItemStreams, low: float, high: float) -> Tensor:
    """Random affine maps ``[N, 2, 3]`` of output to input places in [-1, 1]: a rotation, then the identity plus noise.

    The deviations of the noise and of the angle are themselves uniform in ``[low, high)``, anew at every call.
    """
    spread, turn = streams.uniform(2, low=low, high=high).unbind(dim=1)
    noise = streams.normal(7)
    affine = torch.eye(2, 3, device=noise.device) + spread.view(-1, 1, 1) * noise[:, :6].view(-1, 2, 3)
    cosine, sine = (turn * noise[:, 6]).cos(), (turn * noise[:, 6]).sin()
    rotation = torch.stack([cosine, sine, -sine, cosine], dim=1).view(-1, 2, 2)
    return torch.cat([affine[:, :, :2] @ rotation, affine[:, :, 2:]], dim=2)


def _groups(count: int, size: int) -> list[range]:
    """Numbers of targets, so many at a time."""
    return [range(first, min(first + size, count)) for first in range(0, count, size)]


def _taken(candidates: Tensor, place: Tensor) -> Tensor:
    """Of candidates ``[g, N, 3, H, W]`` for each photo the one at its place ``[N]``."""
    if len(candidates) == 1:
        return candidates[0]
    return candidates[place, torch.arange(len(place), device=place.device)]
