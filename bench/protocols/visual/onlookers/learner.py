"""`FineTuned`: a recogniser that learns from veiled photos of other people with their names.

People are split into folds, and each fold is judged by a network that saw the veiled photos of all others and of nobody
in the fold. The attacker knows the names of those others and has clean photos of them from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.core.ranges import positive, share_below_one, whole
from cloakbench.bench.protocols.visual.onlookers.base import Onlooker, numbers
from cloakbench.models.base import Recogniser, embed_in_batches


class OverlapError(ValueError):
    """Somebody who is judged is among those whose veiled photos the attacker learns from."""


@dataclass(frozen=True)
class Lessons:
    """What a recogniser learns from.

    Attributes:
        veiled: published photos, uint8 ``[N, 3, H, W]``.
        names: whom each shows.
        clean: other photos of the same people, uint8 ``[M, 3, H, W]``.
        clean_names: whom each shows.
        judged: people whom the network will be judged on.

    Raises:
        OverlapError: somebody is both learnt from and judged.
        ValueError: there are fewer than two people, or no clean photo of one.
    """

    veiled: Tensor
    names: Sequence[str]
    clean: Tensor
    clean_names: Sequence[str]
    judged: Sequence[str]

    def __post_init__(self) -> None:
        if both := sorted({*self.names, *self.clean_names} & set(self.judged)):
            raise OverlapError(f"the attacker learns from photos of {both[0]}, who is judged: keep them apart")
        if len(set(self.names)) < 2:
            raise ValueError("the attacker learns from fewer than two people: publish photos of more people")
        if lacking := sorted(set(self.names) - set(self.clean_names)):
            raise ValueError(f"the attacker has no clean photo of {lacking[0]}")


class FineTuned(Onlooker):
    """A target that goes on learning: SGD on the cross-entropy of cosines to people whose centres do not move.

    A centre is the mean embedding of a person's clean photos by the network as it was, so that veiled photos learn to
    lie where clean ones do, and gallery and photo stay comparable. Half of each batch is veiled, half clean, and each
    photo is mirrored by chance. Norms and slopes of the network stay as they were loaded; filters learn.

    Args:
        start: key of the target that it starts from.
        photos: how many veiled photos of each other person it learns from.
        folds: of the people who publish.
        steps, batch_size: of the training; photos are drawn anew after each has been seen.
        learning_rate, momentum: of SGD; the rate falls to zero along a line.
        scale: of the cosines.
    """

    title: ClassVar[str] = "Fine-tuned on others"
    holds: ClassVar[str] = "veiled photos of each other person, with names"

    def __init__(
        self,
        start: str,
        photos: Iterable[int] = (1, 10),
        *,
        folds: int = 2,
        steps: int = 60,
        batch_size: int = 32,
        learning_rate: float = 0.01,
        momentum: float = 0.9,
        scale: float = 32.0,
    ) -> None:
        self.start, self.photos = start, numbers("photos", photos)
        self.folds, self.steps, self.batch_size = whole("folds", folds, 2), whole("steps", steps), batch_size
        whole("batch_size", batch_size, 2)
        self.learning_rate = positive("learning_rate", learning_rate)
        self.momentum, self.scale = share_below_one("momentum", momentum), positive("scale", scale)

    def needed(self, count: int) -> int:
        return 1

    def fold_of(self, people: Sequence[str]) -> dict[str, int]:
        """The fold that each person is judged in."""
        return {name: place % self.folds for place, name in enumerate(people)}

    def learn(
        self,
        start: Recogniser,
        lessons: Lessons,
        seed: object,
        device: torch.device,
        reached: Mapping[str, Tensor] | None = None,
        keep: Callable[[Mapping[str, Tensor]], None] | None = None,
    ) -> dict[str, Tensor]:
        """Weights of the network that has learnt, on the CPU; a function of network, lessons and seed alone.

        Args:
            start: the recogniser as it was; it is left so.
            lessons: what is learnt from.
            seed: names every draw.
            device: where to compute.
            reached: what was kept last, to go on from.
            keep: takes what is reached after each step.

        Raises:
            FloatingPointError: the loss is no longer finite.
        """
        people = list(dict.fromkeys(lessons.names))
        centres = self._centres(start, lessons, people, device)
        pupil = _trainable(start).to(device)
        weights = [weight for weight in pupil.parameters() if weight.requires_grad]
        speed = [torch.zeros_like(weight) for weight in weights]
        step = 0
        if reached is not None:
            step = int(reached[f"{_OWN}step"])
            pupil.load_state_dict({name: one for name, one in reached.items() if not name.startswith(_OWN)})
            speed = [reached[f"{_OWN}{place}"].to(device) for place in range(len(weights))]
        own = [torch.tensor([people.index(name) for name in names]) for names in _named(lessons, people)]
        photos = [lessons.veiled, lessons.clean[_rows_of(lessons.clean_names, people)]]
        while step < self.steps:
            images, labels = self._batch(photos, own, seed, step)
            cosines = pupil.embed(images.to(device).float() / 255) @ centres.T
            loss = F.cross_entropy(self.scale * cosines, labels.to(device))
            if not bool(loss.isfinite()):
                raise FloatingPointError(f"the loss is {loss.item()} at step {step}; lower the learning_rate")
            slopes = torch.autograd.grad(loss, weights, allow_unused=True)
            rate = self.learning_rate * (1 - step / self.steps)
            with torch.no_grad():
                for weight, velocity, slope in zip(weights, speed, slopes, strict=True):
                    if slope is not None:
                        velocity.mul_(self.momentum).add_(slope)
                        weight.sub_(velocity, alpha=rate)
            step += 1
            if keep is not None:
                told = {f"{_OWN}{place}": one for place, one in enumerate(speed)}
                keep({**pupil.state_dict(), **told, f"{_OWN}step": torch.tensor(step)})
        return {name: one.detach().cpu().contiguous() for name, one in pupil.state_dict().items()}

    def pupil(self, start: Recogniser, weights: Mapping[str, Tensor], device: torch.device) -> Recogniser:
        """The recogniser that learnt."""
        found = _trainable(start)
        found.load_state_dict(dict(weights))
        return found.requires_grad_(False).to(device)

    def _centres(self, start: Recogniser, lessons: Lessons, people: Sequence[str], device: torch.device) -> Tensor:
        clean = embed_in_batches(start, lessons.clean, self.batch_size, device)
        means = [clean[[row for row, one in enumerate(lessons.clean_names) if one == name]].mean(0) for name in people]
        return F.normalize(torch.stack(means)).to(device)

    def _batch(self, photos: Sequence[Tensor], own: Sequence[Tensor], seed: object, step: int) -> tuple[Tensor, Tensor]:
        """Half of each kind, mirrored by chance."""
        half = self.batch_size // 2
        rows = [_turn(len(one), half, seed, kind, step) for kind, one in enumerate(photos)]
        images = torch.cat([one[at] for one, at in zip(photos, rows, strict=True)])
        mirrored = torch.rand(len(images), generator=generator("onlooker mirror", seed, step)) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        return images, torch.cat([one[at] for one, at in zip(own, rows, strict=True)])


_OWN = "speed "
"""Names what a training has beside the weights of its network."""


def _turn(photos: int, count: int, seed: object, kind: int, step: int) -> Tensor:
    """Rows of a step: round after round, each in an order of its own."""
    places = range(step * count, (step + 1) * count)
    orders = {
        turn: torch.randperm(photos, generator=generator("onlooker order", seed, kind, turn))
        for turn in {place // photos for place in places}
    }
    return torch.stack([orders[place // photos][place % photos] for place in places])


def _rows_of(names: Sequence[str], people: Sequence[str]) -> list[int]:
    return [row for row, name in enumerate(names) if name in people]


def _named(lessons: Lessons, people: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    return lessons.names, [name for name in lessons.clean_names if name in people]


def _trainable(start: Recogniser) -> Recogniser:
    """A copy whose weights may learn. Layers that were frozen for good give theirs no gradient, and keep them."""
    return deepcopy(start).requires_grad_(True)
