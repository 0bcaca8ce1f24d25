"""Training regimes of a classifier of published photos: as they are, strongly augmented, or against an adversary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Views = Callable[[Tensor, torch.Generator], Tensor]
Adversary = Callable[[nn.Module, Tensor, Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class Regime:
    """What happens to a batch before each step of training.

    Attributes:
        views: random views (`cloakbench.models.training.views`).
        adversary: moves the views against the network in eval mode (`cloakbench.models.training.adversary`), or None.
    """

    views: Views
    adversary: Adversary | None

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor, draws: torch.Generator) -> Tensor:
        """The batch ``[N, 3, H, W]`` in [0, 1] to learn from; the network is left in the mode it was in."""
        images = self.views(images, draws)
        if self.adversary is None:
            return images
        mode = network.training
        network.eval()
        attacked = self.adversary(network, images, labels, draws)
        network.train(mode)
        return attacked
