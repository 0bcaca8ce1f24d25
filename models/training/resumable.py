"""A training step by step: what was reached is kept, and a killed run goes on as if nothing had happened."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cloakbench.models.training import checkpoint

Report = Callable[[int, int, float], None]
"""Called with (steps done, all steps, loss)."""

CHECKPOINT_SECONDS = 20.0
"""Process time between two checkpoints; a kill repeats at most this much."""
REPORT_EVERY = 10
"""Steps between two calls of the progress callback, each of which reads the loss back from the device."""


class ResumableTraining(ABC):
    """Steps until there are enough, each a function of what was reached and of its number alone.

    Every draw of a step is named by (seed, step) or (seed, epoch). A checkpoint therefore needs no random state, and
    the step at which a run was killed cannot matter.

    Args:
        steps: of the whole training.
        recipe_digest: identifies the settings; a checkpoint of other settings is not continued.
        checkpoint_path: where unfinished work is kept.
        device: where the networks run; drawing always happens on the CPU.
    """

    def __init__(self, steps: int, recipe_digest: str, checkpoint_path: Path, device: torch.device) -> None:
        self.steps, self.device = steps, device
        self.recipe_digest, self.checkpoint_path = recipe_digest, checkpoint_path
        self.step = 0
        self.core_seconds = 0.0

    @abstractmethod
    def parts(self) -> dict[str, Any]:
        """Everything that training changes, by name: modules and optimisers."""

    @abstractmethod
    def advance(self) -> Tensor:
        """One optimiser step, number ``self.step`` from 0; returns the loss."""

    def run(self, report: Report) -> None:
        """Trains to the end, continuing from the checkpoint if there is one.

        Raises:
            FloatingPointError: the loss is no longer finite.
        """
        self._restore()
        started = saved = time.process_time()
        before = self.core_seconds
        while self.step < self.steps:
            loss = self.advance()
            self.step += 1
            self.core_seconds = before + time.process_time() - started
            if self.step % REPORT_EVERY == 0 or self.step == self.steps:
                value = loss.item()
                if not math.isfinite(value):
                    raise FloatingPointError(f"loss {value} at step {self.step}; lower training.learning_rate")
                report(self.step, self.steps, value)
            if time.process_time() - saved > CHECKPOINT_SECONDS:
                self.save()
                saved = time.process_time()
        self.save()

    def save(self) -> None:
        """Writes the checkpoint."""
        states = {name: part.state_dict() for name, part in self.parts().items()}
        progress = checkpoint.Progress(self.recipe_digest, self.step, self.core_seconds, states)
        checkpoint.save(self.checkpoint_path, progress)

    def _restore(self) -> None:
        progress = checkpoint.load(self.checkpoint_path, self.recipe_digest, self.device)
        if progress is None:
            return
        for name, part in self.parts().items():
            part.load_state_dict(progress.states[name])
        self.step, self.core_seconds = progress.step, progress.core_seconds
