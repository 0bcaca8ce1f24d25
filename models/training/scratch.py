"""The attacker of poisoning: trains a classifier of some people from scratch on the photos they published.

Deterministic on the CPU: initial weights and dropout come from a stream of the seed, the order of an epoch from (seed,
epoch), views and adversarial starts from (seed, step). Batches are laid out plainly, [N, C, H, W]: channels-last is a
quarter faster here, but oneDNN (torch 2.15, AVX-512) then crashes in the backward pass of a strided 1x1 convolution of
8 channels, as slim networks have.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator, layers_draw_from
from cloakbench.bench.core.ranges import at_least, positive, share, share_below_one, whole
from cloakbench.models.base import Attacker, BatchRule


class ScratchAttacker(Attacker):
    """SGD on the cross-entropy; the network after the last epoch is the one that answers.

    The recipe of the EM authors' face experiment, whose 50 epochs and batch of 64 are the survey's: rate 0.05, momentum
    0.9, weight decay 5e-4, rate times 0.1 after epochs 30 and 40, gradient norm cut to 5, pixels in [0, 1].

    Args:
        network: makes the classifier from ``classes`` and ``size``.
        family: architecture family, for marking attackers that share one with a surrogate.
        epochs: passes over the published photos.
        batch_size: photos per step; a single left-over photo is passed over.
        learning_rate, momentum, weight_decay: of SGD.
        milestones: shares of the epochs after which the rate is multiplied by ``decay``.
        decay: see ``milestones``.
        clip_norm: the gradient of all weights together is cut to this L2 norm.

    Raises:
        ValueError: a value is out of range.
    """

    def __init__(
        self,
        network: Callable[..., nn.Module],
        family: str,
        *,
        epochs: int,
        batch_size: int,
        learning_rate: float,
        momentum: float,
        weight_decay: float,
        milestones: tuple[float, ...],
        decay: float,
        clip_norm: float,
    ) -> None:
        self.network = network
        self.family = family
        self.epochs, self.batch_size = whole("epochs", epochs), whole("batch_size", batch_size, 2)
        self.learning_rate = positive("learning_rate", learning_rate)
        self.momentum = share_below_one("momentum", momentum)
        self.weight_decay = at_least("weight_decay", weight_decay)
        self.milestones = tuple(share("milestones", milestone) for milestone in milestones)
        self.decay, self.clip_norm = positive("decay", decay), positive("clip_norm", clip_norm)

    def train(
        self, photos: Tensor, labels: Tensor, classes: int, regime: BatchRule, seed: object, device: torch.device
    ) -> nn.Module:
        with layers_draw_from(seed, "attacker layers"):
            made = self.network(classes=classes, size=tuple(photos.shape[-2:]))
            network = made.to(device)
            self._fit(network.train(), photos, labels, regime, seed, device)
        return network.eval().requires_grad_(False)

    def _fit(
        self, network: nn.Module, photos: Tensor, labels: Tensor, regime: BatchRule, seed: object, device: torch.device
    ) -> None:
        optimiser = torch.optim.SGD(
            network.parameters(), lr=self.learning_rate, momentum=self.momentum, weight_decay=self.weight_decay
        )
        milestones = [round(share * self.epochs) for share in self.milestones]
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones, gamma=self.decay)
        step = 0
        for epoch in range(self.epochs):
            order = torch.randperm(len(photos), generator=generator(seed, "attacker order", epoch))
            for rows in order.split(self.batch_size):
                if len(rows) == 1:
                    continue
                images = photos[rows].to(device, torch.float32).div_(255)
                right = labels[rows].to(device)
                images = regime(network, images, right, generator(seed, "attacker step", step)).contiguous()
                loss = F.cross_entropy(network(images), right)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), self.clip_norm)
                optimiser.step()
                step += 1
                if not math.isfinite(loss.item()):
                    raise FloatingPointError(f"the loss is {loss.item()} at step {step}; lower the learning_rate")
            schedule.step()
