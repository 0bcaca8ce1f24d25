"""`Adversary`: an attacker who knows which method protected the photos and prepares for it.

Each is a condition of identification: photos are shown to a target after it has acted. What it learns, it learns from
the published photos of people whom it does not judge (:mod:`cloakbench.bench.engine.learning.folds`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from cloakbench.bench.engine.learning.folds import Fold
from cloakbench.bench.engine.learning.training import Training
from cloakbench.datasets.base import FaceSet
from cloakbench.models.base import Recogniser

Learn = Callable[[Mapping[str, Any], Training], Mapping[str, Tensor]]
"""Has something learnt, once for all who ask with equal inputs: ``(what decides it, training)`` to weights."""


@dataclass(frozen=True)
class Collected:
    """What an adversary has of one method at one budget.

    Attributes:
        published: the photos as they were published, uint8 ``[N, 3, H, W]``.
        faces: the same before protection; only those of people who are learnt from may be used.
        fold: the fold in which each person is judged.
        references: other clean photos of people; only those of people who are learnt from may be used.
        strangers: clean photos of people in the gallery.
        seed: names every draw.
        device: where to compute.
    """

    published: Tensor
    faces: FaceSet
    fold: Mapping[str, int]
    references: FaceSet
    strangers: FaceSet
    seed: int
    device: torch.device


class Adversary(ABC):
    """One attacker. A subclass takes its settings in ``__init__`` and is built from ``conf/adversary/NAME.yaml``.

    Attributes:
        title: as tables call it.
        learns: whether it learns from other people at all.
        folds: of the people who publish; each is judged by what was learnt from the others.
    """

    title: ClassVar[str]
    learns: ClassVar[bool] = True
    folds: int = 2


class CleaningAdversary(Adversary):
    """An adversary who tries to take the protection out of photos; targets look at them afterwards."""

    @abstractmethod
    def cleaned(self, collected: Collected, learn: Learn) -> Tensor:
        """The photos after it, uint8 ``[N, 3, H, W]`` in the order of ``collected.published``.

        Raises:
            ValueError: there are too few people, or a training diverged.
        """


class LearningAdversary(Adversary):
    """An adversary who retrains the target itself, on protected photos of other people with their names."""

    @abstractmethod
    def pupil(self, target: Recogniser, collected: Collected, fold: Fold, learn: Learn) -> Recogniser:
        """The target after it has learnt from ``fold.taught``; ``target`` is left as it was.

        Raises:
            ValueError: there are too few people, or the training diverged.
        """
