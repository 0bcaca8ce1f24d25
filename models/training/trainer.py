"""The training of a recogniser: deterministic on the CPU, and continued after a kill as if nothing had happened.

Every draw is named by what it is for: the order of an epoch by (seed, epoch), flips and adversarial starts by
(seed, step).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.datasets.base import FaceSet
from cloakbench.models.base import InputSpec
from cloakbench.models.training.memory_format import learning_format
from cloakbench.models.training.recipe import Recipe
from cloakbench.models.training.resumable import ResumableTraining


def one_step_adversaries(
    network: nn.Module,
    head: nn.Module,
    inputs: InputSpec,
    images: Tensor,
    *,
    labels: Tensor,
    epsilon: float,
    start: Tensor,
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


class Trainer(ResumableTraining):
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
        labels: of the faces, long ``[N]`` or ``[N, K]`` as the head wants them; None for who is on them.
    """

    def __init__(
        self,
        *,
        network: nn.Module,
        head: nn.Module,
        inputs: InputSpec,
        faces: FaceSet,
        recipe: Recipe,
        seed: int,
        recipe_digest: str,
        checkpoint_path: Path,
        device: torch.device,
        labels: Tensor | None = None,
    ) -> None:
        self.steps_per_epoch = recipe.steps_per_epoch(len(faces))
        super().__init__(round(recipe.epochs * self.steps_per_epoch), recipe_digest, checkpoint_path, device)
        self.network = network.to(device, memory_format=learning_format(device))  # type: ignore[call-overload]
        self.network.train()
        self.head = head.to(device)
        self.inputs, self.faces, self.recipe, self.seed = inputs, faces, recipe, seed
        self.labels = faces.labels() if labels is None else labels
        self.optimiser = torch.optim.SGD(
            [p for part in (network, head) for p in part.parameters() if p.requires_grad],
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=True,
        )
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.long)

    @property
    def images_seen(self) -> int:
        """Training images used so far, each epoch counted."""
        return self.step * self.recipe.batch_size

    def parts(self) -> dict[str, Any]:
        return {"network": self.network, "head": self.head, "optimiser": self.optimiser}

    def advance(self) -> Tensor:
        epoch, place = divmod(self.step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = torch.randperm(len(self.faces), generator=generator(self.seed, "order", epoch))
        first = place * self.recipe.batch_size
        return self._advance(self._order[first : first + self.recipe.batch_size])

    def _advance(self, rows: Tensor) -> Tensor:
        """One optimiser step on the faces at ``rows``; returns the loss."""
        recipe, step = self.recipe, self.step
        draws = generator(self.seed, "step", step)
        images = self.faces.images[rows].to(self.device, torch.float32).div_(255)
        labels = self.labels[rows].to(self.device)
        if recipe.flip:
            mirrored = (torch.rand(len(rows), generator=draws) < 0.5).to(self.device)
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        images = images.contiguous(memory_format=learning_format(self.device))
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
