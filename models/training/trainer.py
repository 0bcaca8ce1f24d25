"""The training loop: deterministic on the CPU, and continued after a kill as if nothing had happened.

Every draw is named by what it is for: the order of an epoch by (seed, epoch), flips and adversarial starts by
(seed, step). A checkpoint therefore needs no random state, and the step at which a run was killed cannot matter.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.datasets.base import FaceSet
from cloakbench.models.base import InputSpec
from cloakbench.models.heads import Head
from cloakbench.models.training import checkpoint
from cloakbench.models.training.recipe import Recipe

Report = Callable[[int, int, float], None]
"""Called with (steps done, all steps, loss)."""

CHECKPOINT_SECONDS = 20.0
"""Process time between two checkpoints; a kill repeats at most this much."""
REPORT_EVERY = 10
"""Steps between two calls of the progress callback, each of which reads the loss back from the device."""


def one_step_adversaries(
    network: nn.Module, head: Head, inputs: InputSpec, images: Tensor, *, labels: Tensor, epsilon: float, start: Tensor
) -> Tensor:
    """Images ``[N, 3, H, W]`` in [0, 1] moved by at most ``epsilon`` against the head's full loss.

    One signed step of size ``epsilon`` from ``images + epsilon * start``, ``start`` in [-1, 1]; the network is judged
    in eval mode, as an attacker would see it, and left in training mode.
    """
    network.eval()
    moved = (images + epsilon * start).clamp(0, 1).requires_grad_()
    (slope,) = torch.autograd.grad(head(network(inputs.prepare(moved)), labels), moved)
    network.train()
    change = (moved.detach() - images + epsilon * slope.sign()).clamp(-epsilon, epsilon)
    return (images + change).clamp(0, 1)


class Trainer:
    """Trains one network with one head on one set of faces.

    Args:
        network: embeds what ``inputs`` prepares; trained in place.
        head: loss; its centres are trained along.
        inputs: how pixels reach the network.
        faces: uint8 training faces, possibly memory-mapped.
        recipe: schedule and step sizes.
        seed: names the random streams.
        recipe_digest: identifies the settings; a checkpoint of other settings is not continued.
        checkpoint_path: where unfinished work is kept.
        device: where the network runs; drawing always happens on the CPU.
    """

    def __init__(
        self,
        *,
        network: nn.Module,
        head: Head,
        inputs: InputSpec,
        faces: FaceSet,
        recipe: Recipe,
        seed: int,
        recipe_digest: str,
        checkpoint_path: Path,
        device: torch.device,
    ) -> None:
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.head = head.to(device)
        self.inputs, self.faces, self.recipe, self.seed = inputs, faces, recipe, seed
        self.recipe_digest, self.checkpoint_path, self.device = recipe_digest, checkpoint_path, device
        self.labels = faces.labels()
        self.steps_per_epoch = recipe.steps_per_epoch(len(faces))
        self.steps = round(recipe.epochs * self.steps_per_epoch)
        self.optimiser = torch.optim.SGD(
            [p for part in (network, head) for p in part.parameters() if p.requires_grad],
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=True,
        )
        self.step = 0
        self.core_seconds = 0.0

    @property
    def images_seen(self) -> int:
        """Training images used so far, each epoch counted."""
        return self.step * self.recipe.batch_size

    def run(self, report: Report) -> None:
        """Trains to the end, continuing from the checkpoint if there is one.

        Raises:
            FloatingPointError: the loss is no longer finite.
        """
        self._restore()
        self.network.train()
        started = saved = time.process_time()
        before = self.core_seconds
        order = torch.empty(0, dtype=torch.long)
        epoch = -1
        while self.step < self.steps:
            if self.step // self.steps_per_epoch != epoch:
                epoch = self.step // self.steps_per_epoch
                order = torch.randperm(len(self.faces), generator=generator(self.seed, "order", epoch))
            place = self.step % self.steps_per_epoch * self.recipe.batch_size
            loss = self._advance(order[place : place + self.recipe.batch_size])
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

    def _advance(self, rows: Tensor) -> Tensor:
        """One optimiser step on the faces at ``rows``; returns the loss."""
        recipe, step = self.recipe, self.step
        draws = generator(self.seed, "step", step)
        images = self.faces.images[rows].to(self.device, torch.float32).div_(255)
        labels = self.labels[rows].to(self.device)
        if recipe.flip:
            mirrored = (torch.rand(len(rows), generator=draws) < 0.5).to(self.device)
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        images = images.contiguous(memory_format=torch.channels_last)
        attacked = recipe.adversarial_images(step, self.steps)
        if attacked:
            start = torch.empty(attacked, *images.shape[1:]).uniform_(-1, 1, generator=draws).to(self.device)
            epsilon = recipe.adversarial_epsilon_255 / 255
            images[:attacked] = one_step_adversaries(
                self.network,
                self.head,
                self.inputs,
                images[:attacked].clone(),
                labels=labels[:attacked],
                epsilon=epsilon,
                start=start,
            )
        for group in self.optimiser.param_groups:
            group["lr"] = recipe.rate(step, self.steps)
        loss = self.head(self.network(self.inputs.prepare(images)), labels, recipe.ramp(step, self.steps))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    def save(self) -> None:
        """Writes the checkpoint."""
        states = {
            "network": self.network.state_dict(),
            "head": self.head.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        progress = checkpoint.Progress(self.recipe_digest, self.step, self.core_seconds, states)
        checkpoint.save(self.checkpoint_path, progress)

    def _restore(self) -> None:
        progress = checkpoint.load(self.checkpoint_path, self.recipe_digest, self.device)
        if progress is None:
            return
        self.network.load_state_dict(progress.states["network"])
        self.head.load_state_dict(progress.states["head"])
        self.optimiser.load_state_dict(progress.states["optimiser"])
        self.step, self.core_seconds = progress.step, progress.core_seconds
