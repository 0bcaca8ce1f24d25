"""`AdaptiveRecogniser`: a target that was fine-tuned on protected photos of other people with their names.

Source: Radiya-Dixit et al., "Data Poisoning Won't Save You From Facial Recognition", ICLR 2022, whose adaptive trainer
protects photos with the known tool and trains on them; here these are the published photos of the other folds.
"""

from __future__ import annotations

from typing import ClassVar

from cloakbench.bench.core.hashing import tensor_digest
from cloakbench.bench.core.ranges import whole
from cloakbench.bench.engine.learning.folds import Fold
from cloakbench.bench.protocols.recognition.adversaries.base import Collected, Learn, LearningAdversary
from cloakbench.bench.protocols.visual.onlookers.base import numbers
from cloakbench.bench.protocols.visual.onlookers.learner import FineTuned, Lessons
from cloakbench.models.base import Recogniser


class AdaptiveRecogniser(LearningAdversary):
    """Learns as the onlooker `FineTuned` of protocol ``visual`` does, from each target of the experiment.

    Protected photos of other people learn to lie where clean photos of them did; half of each batch is clean.

    Args:
        photos: protected photos of each other person that it learns from, at most.
        folds: of the people who publish, at least 2.
        steps, batch_size, learning_rate, momentum, scale: of the training, as `FineTuned` has them.
    """

    title: ClassVar[str] = "Recogniser fine-tuned"

    def __init__(
        self,
        photos: int = 10,
        folds: int = 2,
        *,
        steps: int = 60,
        batch_size: int = 32,
        learning_rate: float = 0.01,
        momentum: float = 0.9,
        scale: float = 32.0,
    ) -> None:
        self.photos, self.folds = numbers("photos", [photos])[0], whole("folds", folds, 2)
        self.learner = FineTuned(
            "",
            [photos],
            folds=folds,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            momentum=momentum,
            scale=scale,
        )

    def pupil(self, target: Recogniser, collected: Collected, fold: Fold, learn: Learn) -> Recogniser:
        faces, references = collected.faces, collected.references
        rows_of: dict[str, list[int]] = {}
        for row in fold.taught:
            rows_of.setdefault(faces.identity[row], []).append(row)
        taught = [row for rows in rows_of.values() for row in rows[: self.photos]]
        clean = references.select([row for row, name in enumerate(references.identity) if name in rows_of])
        judged = sorted({faces.identity[row] for row in fold.judged})
        names = [faces.identity[row] for row in taught]
        lessons = Lessons(collected.published[taught], names, clean.images, clean.identity, judged)
        inputs = {
            "protected": [tensor_digest(lessons.veiled), names],
            "clean": [tensor_digest(lessons.clean), list(lessons.clean_names)],
            "seed": collected.seed,
        }

        seed, device = collected.seed, collected.device
        weights = learn(inputs, lambda reached, keep: self.learner.learn(target, lessons, seed, device, reached, keep))
        return self.learner.pupil(target, weights, device)
