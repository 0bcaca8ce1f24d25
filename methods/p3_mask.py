"""P3-Mask (Chameleon): one mask per person, against several recognisers at once and within a bound on structure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import grey_levels, grey_step, one_of, positive, whole
from cloakbench.methods.base import Budget, Protector, Scope
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.dssim import DSSIM, Borders
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.linf import project_noise_
from cloakbench.methods.parts.norms import NormMatch
from cloakbench.methods.photo_batch import PhotoBatch

Pull = Literal["own", "aim"]
"""``own``: away from each photo's own clean embedding. ``aim``: towards a photo of somebody else (impersonation)."""

_LARGEST_COSINE = 1 - 1e-6
_BAND = 0.1
_LEAST, _MOST = 1 / 129, 129.0
"""A weight is halved while at least the one and doubled while at most the other, so it stays within [1/256, 256]."""


@dataclass(frozen=True)
class Lesson:
    """What M masks are learnt from.

    Attributes:
        photos: float ``[M, R, 3, H, W]``.
        names: of the masks, M of them, and of their photos, M x R; they seed starts and orders.
        goals: per surrogate the embeddings ``[M, R, D]`` to move away from or towards.
    """

    photos: Tensor
    names: tuple[str, ...]
    photo_names: tuple[tuple[str, ...], ...]
    goals: list[Tensor]


class P3Mask(Protector):
    """Personalised privacy-protection mask: angles to the clean features, summed over an ensemble, and a DSSIM hinge.

    For a batch of a person's photos, ``x' = clip(x + mask)``, minimised is the mean over photos of ``-sum_k
    arccos(f_k(x) . f_k(x'))`` plus ``weight * max(DSSIM(x, x') - bound, 0)``, DSSIM the mean over the batch; then one
    signed step, clipped to the budget, and a new weight (`HingeWeight`). Cosines are held
    at 1 - 1e-6, where the angle's slope is still finite. Padding, black from the border of a crop inwards, never
    changes.

    Paper: Chow et al., "Personalized Privacy Protection Mask Against Unauthorized Facial Recognition", ECCV 2024.
    Official settings: two networks, a fixed pair in the release, chosen for focal diversity in the paper; 70 % of a
    person's photos, 50 epochs in batches of 4; start U(+-0.255), steps of 0.255, bound 16; DSSIM 0.03; seed 2023. That
    is 100 forward and backward passes per photo of the person.
    Deviations: photos are aligned crops, so none is resized to its face box and back; clean features are embedded once;
    photos take turns in an order drawn by their names; all people of a chunk are optimised together; ``aim`` is ours,
    for the impersonation protocol.

    Args:
        epsilon_255: Linf budget in grey levels.
        step_255: grey levels per step.
        start_255: half-width of the uniform start in grey levels.
        rounds: how often each photo takes its turn; epochs of the paper.
        batch: photos of a person per step.
        dssim_bound: beyond which the hinge counts.
        ssim_borders: see `cloakbench.methods.parts.dssim.Borders`; the release leaves them out.
        pull: see `Pull`.
        least_surrogates: an ensemble has at least that many.
        match_norm: see `cloakbench.methods.parts.norms.NormMatch`.

    Raises:
        ValueError: a parameter is out of range, or there are fewer surrogates than the ensemble wants.

    Facts: ``dssim`` at the last step, the largest of all masks, and ``hinge_weight``, the largest at the end.
    """

    name: ClassVar[str] = "p3_mask"
    scope: ClassVar[Scope] = "identity"
    paper: ClassVar[str] = (
        "Chow et al., Personalized Privacy Protection Mask Against Unauthorized Facial Recognition, ECCV 2024"
    )
    official_settings: ClassVar[str] = "two networks, bound 16, 50 epochs, batch 4, step 0.255, DSSIM 0.03"
    deviations: ClassVar[str] = "aligned crops without face boxes; mirrored SSIM windows; clean features embedded once"

    def __init__(
        self,
        epsilon_255: float = 16,
        *,
        step_255: float = 0.255,
        start_255: float = 0.255,
        rounds: int = 50,
        batch: int = 4,
        dssim_bound: float = 0.03,
        ssim_borders: Borders = "mirrored",
        pull: Pull = "own",
        least_surrogates: int = 2,
        match_norm: Mapping[str, float | None] | None = None,
    ) -> None:
        self.epsilon_255 = grey_levels("epsilon_255", epsilon_255)
        self.step_255 = grey_step("step_255", step_255)
        self.start_255 = grey_step("start_255", start_255)  # at the photo itself the angle has no gradient
        self.rounds, self.batch = whole("rounds", rounds), whole("batch", batch)
        self.dssim_bound = positive("dssim_bound", dssim_bound)
        self.ssim_borders: Borders = one_of("ssim_borders", ssim_borders, get_args(Borders))
        self.pull: Pull = one_of("pull", pull, get_args(Pull))
        self.least_surrogates = whole("least_surrogates", least_surrogates)
        self.match_norm, self.match = match_norm, NormMatch(match_norm)
        self.targeted = pull == "aim"
        self.needs = frozenset(
            {Need.SURROGATES}
            | ({Need.REFERENCES} if self.scope == "identity" else set())
            | ({Need.AIM} if self.targeted else set())
        )
        self.budget = self.match.budget(Budget("linf", epsilon_255))

    def fit(self, batch: PhotoBatch, context: ProtectContext) -> Tensor:
        """The masks, float ``[M, 3, H, W]``: one per person, in the order of ``batch.identities``."""
        return self.match.scaled(self._learn(self.lesson(batch, context), context))

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        return batch.images + fitted[batch.owner] * seen(batch.images)

    def lesson(self, batch: PhotoBatch, context: ProtectContext) -> Lesson:
        """Hook: every person's references, each away from itself or towards the person aimed at."""
        photos = batch.require_references()
        return Lesson(photos, batch.identities, batch.reference_id, self.goals(photos, batch, context))

    @torch.no_grad()
    def goals(self, photos: Tensor, batch: PhotoBatch, context: ProtectContext) -> list[Tensor]:
        """Per surrogate the embeddings ``[M, R, D]`` that photos ``[M, R, 3, H, W]`` move away from or towards."""
        shape = photos.shape[:2]
        if self.pull == "own":
            return [model.embed(photos.flatten(0, 1)).unflatten(0, shape) for model in context.surrogates]
        aims = [model.embed(batch.require_aim_photos()) for model in context.surrogates]
        rows = batch.owner if self.scope == "image" else slice(None)
        return [points[rows].unsqueeze(1).expand(*shape, -1) for points in aims]

    def distances(self, cosines: Tensor) -> Tensor:
        """Hook: the angle of each cosine; beyond 1 - 1e-6 its slope is the one there."""
        held = cosines.detach().clamp(-_LARGEST_COSINE, _LARGEST_COSINE)
        slope = -1 / (1 - held.square()).sqrt()
        return held.arccos() + slope * (cosines - cosines.detach())

    def _learn(self, lesson: Lesson, context: ProtectContext) -> Tensor:
        masks_shape = (len(lesson.photos), *lesson.photos.shape[2:])
        starts = ItemStreams(lesson.names, context.seed, self.name, device=context.device)
        pairs = zip(lesson.names, lesson.photo_names, strict=True)
        names = [f"{name}\x1f{photo}" for name, photos in pairs for photo in photos]
        turns = ItemStreams(names, context.seed, self.name, "turn", device=context.device)
        start = self.start_255 / 255
        masks = project_noise_(starts.uniform(*masks_shape[1:], low=-start, high=start), self.epsilon_255 / 255)
        hinge = HingeWeight(len(masks), self.dssim_bound, context.device)
        dssim = torch.zeros(len(masks), device=context.device)
        people = torch.arange(len(masks), device=context.device).unsqueeze(1)
        for _ in range(self.rounds):
            order = turns.uniform(1).view(lesson.photos.shape[:2]).argsort(dim=1)
            for turn in order.split(self.batch, dim=1):
                photos = lesson.photos[people, turn]
                goals = [points[people, turn] for points in lesson.goals]
                gradient, dssim = self._gradient(masks, photos, goals, hinge.weight, context)
                masks = project_noise_(masks - self.step_255 / 255 * gradient.sign(), self.epsilon_255 / 255)
                hinge.adapt(dssim)
        context.facts.update(dssim=float(dssim.max()), hinge_weight=float(hinge.weight.max()))
        return masks

    def _gradient(
        self, masks: Tensor, photos: Tensor, goals: list[Tensor], weight: Tensor, context: ProtectContext
    ) -> tuple[Tensor, Tensor]:
        """Slope of the loss in the masks ``[M, 3, H, W]``, and the DSSIM ``[M]`` of the batch under them."""
        leaf = masks.detach().requires_grad_()
        masked = (photos + leaf.unsqueeze(1) * seen(photos)).clamp(0, 1)
        pixels = masked.detach().flatten(0, 1).requires_grad_()
        dssim = DSSIM(photos.flatten(0, 1), self.ssim_borders)(pixels).view(photos.shape[:2]).mean(dim=1)
        (slope,) = torch.autograd.grad((weight * (dssim - self.dssim_bound).clamp(min=0)).sum(), pixels)
        for model, points in zip(context.surrogates, goals, strict=True):  # one graph is alive at a time
            cosines = (model.embed(pixels).view(*photos.shape[:2], -1) * points).sum(dim=-1)
            distance = self.distances(cosines).mean(dim=1).sum()
            slope += torch.autograd.grad(distance if self.targeted else -distance, pixels)[0]
        (gradient,) = torch.autograd.grad(masked, leaf, slope.view_as(masked))
        return gradient, dssim.detach()


class P3MaskImage(P3Mask):
    """`P3Mask` of a single photo, learnt from that photo: for people of whom there is no other.

    The impersonation protocol of FaceCloak's Table III has one photo of each person.
    """

    name: ClassVar[str] = "p3_mask_image"
    scope: ClassVar[Scope] = "image"

    def lesson(self, batch: PhotoBatch, context: ProtectContext) -> Lesson:
        photos = batch.images.unsqueeze(1)
        names = tuple((name,) for name in batch.image_id)
        return Lesson(photos, batch.image_id, names, self.goals(photos, batch, context))

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        return batch.images + fitted * seen(batch.images)


class HingeWeight:
    """Weights ``[M]`` of the hinge, powers of two that follow how much masks disturb; one at the start.

    Halved after a step whose DSSIM is at most 0.9 times the bound, doubled after one of at least 1.1 times, and one
    again in between.

    The limits are those of the released code (0.027 and 0.033 at a bound of 0.03).
    """

    def __init__(self, masks: int, bound: float, device: torch.device) -> None:
        self.weight = torch.ones(masks, device=device)
        self._low, self._high = (1 - _BAND) * bound, (1 + _BAND) * bound

    def adapt(self, dssim: Tensor) -> None:
        """Called after every step with the DSSIM ``[M]`` it started from."""
        halved = torch.where(self.weight >= _LEAST, self.weight / 2, self.weight)
        doubled = torch.where(self.weight <= _MOST, self.weight * 2, self.weight)
        self.weight = torch.where(dssim <= self._low, halved, torch.where(dssim >= self._high, doubled, 1.0))


def seen(photos: Tensor) -> Tensor:
    """One where a crop ``[..., 3, H, W]`` shows its photo, zero on padding: black from a border inwards; channel 1."""
    black = (photos == 0).all(dim=-3, keepdim=True).long()
    padding = torch.zeros_like(black)
    for axis in (-1, -2):
        padding |= black.cumprod(axis) | black.flip(axis).cumprod(axis).flip(axis)
    return 1 - padding.to(photos.dtype)
