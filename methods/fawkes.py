"""Fawkes: cloaks that move a person's photos in feature space while their structure stays; the paper's and the tool's."""

from __future__ import annotations

import logging
from abc import abstractmethod
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from cloakbench.datasets.randomness import generator
from cloakbench.methods.base import Goal, People, Protector, Scope, Workbench
from cloakbench.methods.dssim import DSSIM
from cloakbench.methods.streams import Streams

log = logging.getLogger(__name__)

_SQUASH = 2 - 1e-6
"""Keeps the inverse of tanh finite at black and white."""

ChosenFrom = Literal["references", "photos"]
"""Whose features decide which stranger a photo is moved to."""


class Fawkes(Protector):
    """What the paper and the tool share: a cloak w in tanh space, a penalty beyond a DSSIM bound, the best iterate kept.

    ``x' = tanh(atanh((x - 0.5)(2 - 1e-6)) + w) / (2 - 1e-6) + 0.5`` stays valid whatever w is. Minimised is
    ``penalty * max(DSSIM(x', x) - bound, 0)^2 - weight * gain``, where the gain says how far the features have come.
    Of the iterates within 1.1 times the bound the one with the largest gain is kept. If none gains anything, the photo
    is not protected: it comes back unchanged with the status ``method_failed`` (the released tool returns black).

    Deviations from both: DSSIM is that of the photo as published, in 8 bits, with the gradient passed straight through
    the rounding, so that the bound holds for what is measured; clean features are embedded once, where the tool embeds
    them at every step (2 forward passes per step instead of 1).
    """

    name: ClassVar[str] = "fawkes"
    scope: ClassVar[Scope] = "image"
    goal: ClassVar[Goal] = "poison training"
    paper: ClassVar[str] = (
        "Shan et al., Fawkes: Protecting Privacy against Unauthorized Deep Learning Models, USENIX Security 2020"
    )
    needs = frozenset({"surrogates"})

    def __init__(self, dssim_bound: float, penalty: float, steps: int, learning_rate: float) -> None:
        if dssim_bound <= 0 or penalty <= 0 or learning_rate <= 0 or steps < 2:
            raise ValueError("fawkes: dssim_bound, penalty and learning_rate must be > 0, and steps at least 2")
        self.dssim_bound = dssim_bound
        self.penalty = penalty
        self.steps = steps
        self.learning_rate = learning_rate

    def perturb(self, people: People, fitted: Any, bench: Workbench) -> Tensor:
        images = people.images
        streams = Streams(people.image_id, bench.seed, self.name, device=bench.device)
        start = ((images - 0.5) * _SQUASH).atanh()
        cloak = streams.uniform(*images.shape[1:], low=-1e-4, high=1e-4).requires_grad_()
        optimiser = self.optimiser(cloak)
        measure = DSSIM(images)
        weight = Weight(self.dssim_bound, images)
        kept = torch.full_like(images, torch.nan)
        best = torch.full((len(images),), -torch.inf, device=images.device)
        for step in range(self.steps):
            photos = self.limit((start + cloak).tanh() / _SQUASH + 0.5, images)
            published = photos + ((photos * 255).round() / 255 - photos).detach()
            dssim = measure(published)
            gain = self.gain(photos, fitted, bench)
            excess = (dssim - self.dssim_bound).clamp(min=0)
            loss = self.penalty * excess.square() - self.weigh(weight) * gain
            (cloak.grad,) = torch.autograd.grad(loss.sum(), cloak)
            with torch.no_grad():
                if step == 0:
                    best = gain.detach()  # of the photo itself, but for the noise of the start
                better = (dssim <= 1.1 * self.dssim_bound) & (gain > best)
                best = torch.where(better, gain, best)
                kept = torch.where(better.view(-1, 1, 1, 1), photos, kept)
                optimiser.step()
                self.after_step(step, cloak)
                weight.adapt(dssim)
        if failed := int(kept.flatten(1).isnan().any(dim=1).sum()):
            log.warning("fawkes: %d photos have no cloak within DSSIM %g", failed, self.dssim_bound)
        return kept

    @abstractmethod
    def gain(self, photos: Tensor, fitted: list[Tensor], bench: Workbench) -> Tensor:
        """How far the features of photos have come, ``[N]``; ``fitted`` holds points ``[N, D]`` per surrogate."""

    @abstractmethod
    def optimiser(self, cloak: Tensor) -> torch.optim.Optimizer:
        """What updates the cloak."""

    def limit(self, photos: Tensor, images: Tensor) -> Tensor:
        """Hook: a bound on pixels beside the one on DSSIM."""
        return photos

    def weigh(self, weight: Weight) -> Tensor | float:
        """Hook: the factor of the gain, ``[N]``."""
        return 1.0

    def after_step(self, step: int, cloak: Tensor) -> None:
        """Hook: a change to the cloak, in place, after the optimiser's."""


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
        dssim_bound: rho.
        penalty: lambda.
        steps, learning_rate: of Adam.
        candidates: how many strangers T is chosen from, K.
        chosen_from: see `ChosenFrom`.

    Raises:
        ValueError: a parameter is out of range, or the auxiliary faces show fewer than ``candidates`` people.
    """

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
    ) -> None:
        super().__init__(dssim_bound, penalty, steps, learning_rate)
        if chosen_from not in get_args(ChosenFrom) or candidates < 1:
            raise ValueError(f"fawkes: chosen_from must be one of {', '.join(get_args(ChosenFrom))}, candidates >= 1")
        self.candidates = candidates
        self.chosen_from: ChosenFrom = chosen_from
        by_references = {"references"} if chosen_from == "references" else set()
        self.needs = frozenset({"surrogates", "auxiliary"} | by_references)

    @torch.no_grad()
    def fit(self, people: People, bench: Workbench) -> list[Tensor]:
        """Features ``[N, D]`` to be reached, per surrogate."""
        rows_of = self._candidate_rows(bench)
        assert bench.auxiliary is not None
        photos = bench.auxiliary.images[[row for rows in rows_of for row in rows]].to(bench.device).float() / 255
        counts = torch.tensor([len(rows) for rows in rows_of], device=bench.device)
        public = [model.embed(photos) for model in bench.surrogates]
        centroids = [torch.stack([rows.mean(dim=0) for rows in points.split(counts.tolist())]) for points in public]
        chosen = self._farthest(people, centroids, bench)
        streams = Streams(people.image_id, bench.seed, self.name, "target photo", device=bench.device)
        draw = streams.uniform(1).squeeze(1)
        first = counts.cumsum(0) - counts
        pick = first[chosen] + (draw * counts[chosen]).long()
        return [points[pick] for points in public]

    def _candidate_rows(self, bench: Workbench) -> list[list[int]]:
        """Rows of the auxiliary faces, one list per candidate."""
        assert bench.auxiliary is not None
        rows_of: dict[str, list[int]] = {}
        for row, identity in enumerate(bench.auxiliary.identity):
            rows_of.setdefault(identity, []).append(row)
        if len(rows_of) < self.candidates:
            raise ValueError(
                f"fawkes: the auxiliary faces show {len(rows_of)} people, fewer than the {self.candidates} candidates; "
                "give more (dataset.auxiliary_identities) or set method.candidates"
            )
        order = torch.randperm(len(rows_of), generator=generator(bench.seed, self.name, "candidates")).tolist()
        everybody = list(rows_of.values())
        return [everybody[place] for place in order[: self.candidates]]

    def _farthest(self, people: People, centroids: list[Tensor], bench: Workbench) -> Tensor:
        """For each photo the number of its candidate: ``argmax_k min_i |f(x_i) - c_k|``, distances summed over models."""
        if self.chosen_from == "photos":
            distances = [torch.cdist(model.embed(people.images), c) for model, c in zip(bench.surrogates, centroids)]
            return torch.stack(distances).sum(dim=0).argmax(dim=1)
        assert people.references is not None
        shape, photos = people.references.shape[:2], people.references.flatten(0, 1)
        distances = [torch.cdist(model.embed(photos), c) for model, c in zip(bench.surrogates, centroids)]
        nearest = torch.stack(distances).sum(dim=0).unflatten(0, shape).amin(dim=1)
        return nearest.argmax(dim=1)[people.person]

    def gain(self, photos: Tensor, fitted: list[Tensor], bench: Workbench) -> Tensor:
        distances = [
            torch.linalg.vector_norm(model.embed(photos) - goal, dim=1) / goal.norm(dim=1)
            for model, goal in zip(bench.surrogates, fitted, strict=True)
        ]
        return -torch.stack(distances).sum(dim=0)

    def optimiser(self, cloak: Tensor) -> torch.optim.Optimizer:
        return torch.optim.Adam([cloak], lr=self.learning_rate)


class FawkesTool(Fawkes):
    """The released tool from version 1.0 on: away from the photo's own features, towards nobody.

    The gain is ``|f(x') - f(x)|^2``, summed over surrogates; its weight adapts to how close DSSIM is to the bound
    (`Weight`). No value changes by more than 15 grey levels. After the first step the cloak takes one signed step of
    0.01 more.

    Official settings (HEAD), as bound / Adadelta steps / rate: low 0.004 / 40 / 25 with one extractor, mid
    0.012 / 75 / 20 and high 0.017 / 150 / 15 with two; penalty 1e6 on the command line, 1e7 from Python.
    Deviations: extractors are the experiment's surrogates; after the extra step the optimiser keeps its state, which
    the tool loses; crops are not pasted back, and so not rescaled in contrast as the tool's are.

    Args:
        dssim_bound, penalty, steps, learning_rate: see the settings.
        max_change_255: largest change of a value in grey levels.
    """

    official_settings: ClassVar[str] = (
        "DSSIM/steps/rate: low 0.004/40/25, mid 0.012/75/20, high 0.017/150/15; penalty 1e6; change at most 15"
    )
    deviations: ClassVar[str] = "surrogates as extractors; optimiser state kept; DSSIM of the 8-bit photo"

    def __init__(
        self,
        dssim_bound: float,
        *,
        penalty: float = 1e6,
        steps: int,
        learning_rate: float,
        max_change_255: float = 15,
    ) -> None:
        super().__init__(dssim_bound, penalty, steps, learning_rate)
        if max_change_255 <= 0:
            raise ValueError("fawkes: max_change_255 must be > 0")
        self.max_change_255 = max_change_255

    @torch.no_grad()
    def fit(self, people: People, bench: Workbench) -> list[Tensor]:
        """Features ``[N, D]`` to be left, per surrogate: the photos' own."""
        return [model.embed(people.images) for model in bench.surrogates]

    def gain(self, photos: Tensor, fitted: list[Tensor], bench: Workbench) -> Tensor:
        distances = [
            (model.embed(photos) - own).square().sum(dim=1) for model, own in zip(bench.surrogates, fitted, strict=True)
        ]
        return torch.stack(distances).sum(dim=0)

    def optimiser(self, cloak: Tensor) -> torch.optim.Optimizer:
        return torch.optim.Adadelta([cloak], lr=self.learning_rate, rho=0.95, eps=1e-7)  # Keras's defaults

    def limit(self, photos: Tensor, images: Tensor) -> Tensor:
        assert self.max_change_255 is not None
        bound = self.max_change_255 / 255
        return images + (photos - images).clamp(-bound, bound)

    def weigh(self, weight: Weight) -> Tensor:
        return weight.value

    def after_step(self, step: int, cloak: Tensor) -> None:
        if step == 0:
            assert cloak.grad is not None
            cloak.sub_(cloak.grad.sign(), alpha=0.01)


class Weight:
    """The tool's factor of the gain, per photo: doubled while DSSIM is well below the bound, halved well above.

    It starts at one and returns to one when the side changes, when DSSIM is within a tenth of the bound, and when it
    has gone past 129 or below 1/129: it saw-tooths between 1 and 256, as the tool's does.
    """

    def __init__(self, bound: float, images: Tensor) -> None:
        self._bound = bound
        self.value = torch.ones(len(images), device=images.device)
        self._side = torch.ones(len(images), device=images.device)

    def adapt(self, dssim: Tensor) -> None:
        """Change the factors after a step."""
        below = (dssim <= 0.9 * self._bound) & (self.value <= 129)
        above = (dssim >= 1.1 * self._bound) & (self.value >= 1 / 129)
        doubled = torch.where(self._side == -1, 1.0, 2 * self.value)
        halved = torch.where(self._side == 1, 1.0, self.value / 2)
        self.value = torch.where(below, doubled, torch.where(above, halved, 1.0))
        self._side = below.float() - above.float()
