"""The numbers of a training of the embedded generator."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cloakbench.bench.core.ranges import at_least, positive, share, whole


@dataclass(frozen=True)
class ViewRecipe:
    """Adam with warm-up and cosine decay, and what each part of the loss weighs.

    Attributes:
        steps: optimiser steps.
        batch_size: pairs of photos of one person each step.
        learning_rate: the highest rate.
        warmup_share: share of the steps in which rate and ``divergence`` rise linearly from zero.
        identity: weight of one minus the cosine of a view to what it should be for the critic: the other photo where
            its code was read off that photo, the person's centre where the code was drawn.
        divergence: weight of the divergence of the codes read from the codes drawn, in nats.
        noise_255: standard deviation of the noise on views before the critic, in grey levels, so that they cannot
            please it with faint patterns.

    Raises:
        ValueError: a value outside its range.
    """

    steps: int
    batch_size: int
    learning_rate: float
    warmup_share: float
    identity: float
    divergence: float
    noise_255: float

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            whole(f"training.{name}", getattr(self, name))
        positive("training.learning_rate", self.learning_rate)
        share("training.warmup_share", self.warmup_share)
        for name in ("identity", "divergence", "noise_255"):
            at_least(f"training.{name}", getattr(self, name))

    def rise(self, step: int) -> float:
        """Share of the warm-up that is done at ``step``, from 0."""
        return min(1.0, (step + 1) / (self.warmup_share * self.steps)) if self.warmup_share else 1.0

    def rate(self, step: int) -> float:
        """Learning rate of ``step``, from 0."""
        warmup = self.warmup_share * self.steps
        done = max(0.0, (step - warmup) / max(1.0, self.steps - warmup))
        return self.learning_rate * self.rise(step) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))
