"""The numbers of a training run, and the schedules that follow from them."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """SGD with Nesterov momentum, warm-up and cosine decay; a margin that grows; optionally one-step adversaries.

    Attributes:
        epochs: passes over the training faces; the schedule spans all of them.
        batch_size: images per step; an incomplete last batch of an epoch is left out.
        learning_rate: the highest rate, reached after the warm-up.
        warmup_share: share of the steps in which the rate rises linearly from zero.
        floor_share: the rate never falls below this share of ``learning_rate``.
        momentum, weight_decay: of SGD; the decay covers all parameters, the head's too.
        ramp_share: share of the steps in which the margin grows linearly from zero.
        flip: mirror each image with probability one half.
        adversarial_share: share of each batch that is attacked while training, 0 for none (Goodfellow et al.,
            ICLR 2015; with random start, Wong et al., ICLR 2020).
        adversarial_epsilon_255: size of the attack, grey levels.
        adversarial_from: share of the steps after which attacking starts; the embedding must mean something first.

    Raises:
        ValueError: a value outside its range.
    """

    epochs: float
    batch_size: int
    learning_rate: float
    warmup_share: float
    floor_share: float
    momentum: float
    weight_decay: float
    ramp_share: float
    flip: bool
    adversarial_share: float
    adversarial_epsilon_255: float
    adversarial_from: float

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"training.{name} must be positive, got {getattr(self, name)}")
        for name in ("warmup_share", "floor_share", "ramp_share", "adversarial_share", "adversarial_from"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"training.{name} must lie in [0, 1], got {getattr(self, name)}")

    def steps_per_epoch(self, images: int) -> int:
        """Complete batches in ``images``; raises ``ValueError`` when there is none."""
        if images < self.batch_size:
            raise ValueError(f"{images} training images do not fill a batch of {self.batch_size}")
        return images // self.batch_size

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of ``step`` (from 0) of ``steps``."""
        warmup = self.warmup_share * steps
        rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
        done = max(0.0, (step - warmup) / max(1.0, steps - warmup))
        return self.learning_rate * rise * (0.5 * (1 + math.cos(math.pi * done)) + self.floor_share)

    def ramp(self, step: int, steps: int) -> float:
        """Share of the full margin at ``step`` of ``steps``."""
        return min(1.0, step / (self.ramp_share * steps)) if self.ramp_share else 1.0

    def adversarial_images(self, step: int, steps: int) -> int:
        """How many images of the batch at ``step`` are attacked."""
        return round(self.adversarial_share * self.batch_size) if step >= self.adversarial_from * steps else 0
