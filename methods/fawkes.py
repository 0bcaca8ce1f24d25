"""Fawkes: cloaks that move photos in feature space while their structure stays; as the paper has it."""

from __future__ import annotations

import logging
from abc import abstractmethod
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.core.ranges import one_of, positive, whole
from cloakbench.methods.base import Goal, Protector, Scope
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.dssim import DSSIM, Borders
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.photo_failures import FAILED
from cloakbench.methods.photo_batch import PhotoBatch

log = logging.getLogger(__name__)

_SQUASH = 2 - 1e-6
"""Keeps the inverse of tanh finite at black and white."""

ChosenFrom = Literal["references", "photos"]
"""Whose features decide which stranger a photo is moved to."""


class Fawkes(Protector):
    """What the paper and the tool share: a cloak w in tanh space, a penalty beyond a DSSIM bound, the best kept.

    ``x' = tanh(atanh((x - 0.5)(2 - 1e-6)) + w) / (2 - 1e-6) + 0.5`` stays valid whatever w is. Minimised is
    ``penalty * max(DSSIM(x', x) - bound, 0)^2 - weight * gain``, where the gain says how far the features have come.
    Of the iterates within 1.1 times the bound the one with the largest gain is kept. If none gains anything, the photo
    is not protected: it comes back unchanged with the status ``method_failed`` (the released tool returns black).

    Deviations from both: DSSIM is that of the photo as published, in 8 bits, with the gradient passed straight through
    the rounding, so that the bound holds for what is measured; its windows may reach over the border (`ssim_borders`),
    or else the cloak gathers in a frame around the photo; clean features are embedded once, where the tool embeds
    them at every step (2 forward passes per step instead of 1).

    Args:
        dssim_bound: rho.
        penalty: lambda, of what is beyond rho.
        steps, learning_rate: of the optimiser.
        ssim_borders: see `cloakbench.methods.parts.dssim.Borders`; both releases leave them out.
    """

    scope: ClassVar[Scope] = "image"
    goal: Goal = "poison training"
    paper: ClassVar[str] = (
        "Shan et al., Fawkes: Protecting Privacy against Unauthorized Deep Learning Models, USENIX Security 2020"
    )
    needs = frozenset({Need.SURROGATES})

    def __init__(
        self, dssim_bound: float, penalty: float, steps: int, learning_rate: float, ssim_borders: Borders
    ) -> None:
        self.dssim_bound = positive("dssim_bound", dssim_bound)
        self.penalty = positive("penalty", penalty)
        self.steps = whole("steps", steps, 2)
        self.learning_rate = positive("learning_rate", learning_rate)
        self.ssim_borders: Borders = one_of("ssim_borders", ssim_borders, get_args(Borders))

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        images = batch.images
        streams = ItemStreams(batch.image_id, context.seed, self.name, device=context.device)
        start = ((images - 0.5) * _SQUASH).atanh()
        cloak = streams.uniform(*images.shape[1:], low=-1e-4, high=1e-4).requires_grad_()
        optimiser = self.optimiser(cloak)
        measure = DSSIM(images, self.ssim_borders)
        balance = self.balance(images)
        kept = photos = torch.full_like(images, torch.nan)
        best = gain = dssim = torch.full((len(images),), -torch.inf, device=images.device)
        for step in range(self.steps):
            photos = self.limit((start + cloak).tanh() / _SQUASH + 0.5, images)
            published = photos + ((photos * 255).round() / 255 - photos).detach()
            dssim = measure(published)
            gain = self.gain(photos, fitted, context)
            excess = (dssim - self.dssim_bound).clamp(min=0)
            loss = self.penalty * excess.square() - balance.weight * gain
            (cloak.grad,) = torch.autograd.grad(loss.sum(), cloak)
            with torch.no_grad():
                if step == 0:
                    best = gain.detach()  # of the photo itself, but for the noise of the start
                better = (dssim <= 1.1 * self.dssim_bound) & (gain > best)
                best = torch.where(better, gain, best)
                kept = torch.where(better.view(-1, 1, 1, 1), photos, kept)
                optimiser.step()
                self.after_step(step, cloak)
                balance.adapt(dssim)
        saved = self.save_last(best, gain.detach(), dssim.detach())
        kept = torch.where(saved.view(-1, 1, 1, 1), photos.detach(), kept)
        lost = kept.flatten(1).isnan().any(dim=1).tolist()
        if failed := [image_id for image_id, is_lost in zip(batch.image_id, lost, strict=True) if is_lost]:
            log.warning("fawkes: %d photos have no cloak within DSSIM %g", len(failed), self.dssim_bound)
            reason = f"no cloak within DSSIM {self.dssim_bound:g} gained anything in {self.steps} steps"
            context.facts[FAILED] = dict.fromkeys(failed, reason)
        return kept

    @abstractmethod
    def gain(self, photos: Tensor, fitted: Any, context: ProtectContext) -> Tensor:
        """How far the features of photos have come, ``[N]``, from or to what `fit` gave."""

    @abstractmethod
    def optimiser(self, cloak: Tensor) -> torch.optim.Optimizer:
        """What updates the cloak."""

    def limit(self, photos: Tensor, images: Tensor) -> Tensor:
        """Hook: a bound on pixels beside the one on DSSIM."""
        return photos

    def save_last(self, best: Tensor, gain: Tensor, dssim: Tensor) -> Tensor:
        """Hook: of which photos ``[N]`` the last iterate is published, whose gain and DSSIM are given, instead of that
        of the best gain; by default of none."""
        return torch.zeros_like(best, dtype=torch.bool)

    def balance(self, images: Tensor) -> Balance:
        """Hook: the factor of the gain against the penalty, and how it changes."""
        return Balance(images)

    def after_step(self, step: int, cloak: Tensor) -> None:
        """Hook: a change to the cloak, in place, after the optimiser's."""


class Balance:
    """The factor of the gain, ``weight`` ``[N]``, one for every photo and at every step."""

    def __init__(self, images: Tensor) -> None:
        self.weight = torch.ones(len(images), device=images.device)

    def adapt(self, dssim: Tensor) -> None:
        """Called after every step with the DSSIM ``[N]`` it started from."""


class FawkesPaper(Fawkes):
    """The paper's cloak: towards a photo of the stranger who is farthest from everything the person looks like.

    Per person, T is the candidate whose centroid has the largest smallest distance to the person's photos. Each photo
    is paired with a random photo of T, and the gain is ``-|f(x') - f(x_T)| / |f(x_T)|``, summed over surrogates.

    Official settings: the paper names the objective, DSSIM and a bound of about 0.007; optimiser, steps and the weight
    of the penalty are not established here. The first release (May 2020) ran 500 Adam steps of 0.1 with weight 1e6.
    Deviations: 500 Adam steps of 0.02; candidates are drawn from the auxiliary faces, the same for a whole run; T is
    chosen by the reference photos, which the owner has and which never depend on what else is protected with them.
    ``chosen_from=photos`` lets each photo choose for itself, for people of whom nothing else is known.

    Args:
        dssim_bound, penalty, steps, learning_rate, ssim_borders: see `Fawkes`; the optimiser is Adam.
        candidates: how many strangers T is chosen from, K.
        chosen_from: see `ChosenFrom`.

    Raises:
        ValueError: a parameter is out of range, or the auxiliary faces show fewer than ``candidates`` people.
    """

    name: ClassVar[str] = "fawkes"
    official_settings: ClassVar[str] = (
        "DSSIM about 0.007, candidate classes from a public set; May 2020: 500 Adam steps"
    )
    deviations: ClassVar[str] = "Adam 0.02; target chosen by reference photos; DSSIM of the 8-bit photo"
    targeted = True

    def __init__(
        self,
        dssim_bound: float = 0.007,
        *,
        penalty: float = 1e6,
        steps: int = 500,
        learning_rate: float = 0.02,
        candidates: int = 20,
        chosen_from: ChosenFrom = "references",
        ssim_borders: Borders = "mirrored",
    ) -> None:
        super().__init__(dssim_bound, penalty, steps, learning_rate, ssim_borders)
        self.candidates = whole("candidates", candidates)
        self.chosen_from: ChosenFrom = one_of("chosen_from", chosen_from, get_args(ChosenFrom))
        by_references = {Need.REFERENCES} if chosen_from == "references" else set()
        self.needs = frozenset({Need.SURROGATES, Need.AUXILIARY} | by_references)

    @torch.no_grad()
    def fit(self, batch: PhotoBatch, context: ProtectContext) -> list[Tensor]:
        """Features ``[N, D]`` to be reached, per surrogate."""
        rows_of = self._candidate_rows(context)
        photos = (
            context.require_auxiliary().images[[row for rows in rows_of for row in rows]].to(context.device).float()
            / 255
        )
        counts = torch.tensor([len(rows) for rows in rows_of], device=context.device)
        public = [model.embed(photos) for model in context.surrogates]
        centroids = [torch.stack([rows.mean(dim=0) for rows in points.split(counts.tolist())]) for points in public]
        chosen = self._farthest(batch, centroids, context)
        streams = ItemStreams(batch.image_id, context.seed, self.name, "target photo", device=context.device)
        draw = streams.uniform(1).squeeze(1)
        first = counts.cumsum(0) - counts
        pick = first[chosen] + (draw * counts[chosen]).long()
        return [points[pick] for points in public]

    def _candidate_rows(self, context: ProtectContext) -> list[list[int]]:
        """Rows of the auxiliary faces, one list per candidate."""
        rows_of = context.require_auxiliary().rows_by_identity()
        if len(rows_of) < self.candidates:
            raise ValueError(
                f"fawkes: the auxiliary faces show {len(rows_of)} people, fewer than the {self.candidates} candidates; "
                "give more (dataset.auxiliary_identities) or set method.candidates"
            )
        order = torch.randperm(len(rows_of), generator=generator(context.seed, self.name, "candidates")).tolist()
        everybody = list(rows_of.values())
        return [everybody[place] for place in order[: self.candidates]]

    def _farthest(self, batch: PhotoBatch, centroids: list[Tensor], context: ProtectContext) -> Tensor:
        """For each photo the number of its candidate, ``argmax_k min_i |f(x_i) - c_k|``; models add their distances."""
        photos = batch.images if self.chosen_from == "photos" else batch.require_references()
        distances = [
            torch.cdist(model.embed(photos.flatten(0, -4)), points)
            for model, points in zip(context.surrogates, centroids, strict=True)
        ]
        total = torch.stack(distances).sum(dim=0)
        if self.chosen_from == "photos":
            return total.argmax(dim=1)
        return total.unflatten(0, photos.shape[:2]).amin(dim=1).argmax(dim=1)[batch.owner]

    def gain(self, photos: Tensor, fitted: list[Tensor], context: ProtectContext) -> Tensor:
        distances = [
            torch.linalg.vector_norm(model.embed(photos) - goal, dim=1) / goal.norm(dim=1)
            for model, goal in zip(context.surrogates, fitted, strict=True)
        ]
        return -torch.stack(distances).sum(dim=0)

    def optimiser(self, cloak: Tensor) -> torch.optim.Optimizer:
        return torch.optim.Adam([cloak], lr=self.learning_rate)
