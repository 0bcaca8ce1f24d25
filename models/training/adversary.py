"""The adversary of adversarial training: ascends a classifier's loss inside a small ball around each image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.bench.core.ranges import grey_levels, whole


class Ascent:
    """Projected gradient ascent on the cross-entropy, Linf ball, uniform random start (Madry et al., ICLR 2018).

    Args:
        radius_255: of the ball, in grey levels.
        step_255: grey levels per step.
        steps: gradient steps; 0 leaves the images as they are.
        random_start: begin at a uniform draw from the ball.

    Raises:
        ValueError: a value is out of range.
    """

    def __init__(self, radius_255: float, step_255: float, steps: int, random_start: bool = True) -> None:
        self.radius_255, self.step_255 = grey_levels("radius_255", radius_255), grey_levels("step_255", step_255)
        self.steps, self.random_start = whole("steps", steps, 0), random_start

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor, draws: torch.Generator) -> Tensor:
        """Images in [0, 1] that the network, in the mode it is in, finds harder; no gradient reaches the input."""
        images = images.detach()
        if not self.steps:
            return images
        radius, step = self.radius_255 / 255, self.step_255 / 255
        low, high = (images - radius).clamp_(min=0), (images + radius).clamp_(max=1)
        moved = images
        if self.random_start:
            start = torch.empty(images.shape).uniform_(-radius, radius, generator=draws)
            moved = (images + start.to(images.device)).clamp_(low, high)
        for _ in range(self.steps):
            moved.requires_grad_()
            (slope,) = torch.autograd.grad(F.cross_entropy(network(moved), labels), moved)
            moved = torch.add(moved.detach(), slope.sign(), alpha=step).clamp_(low, high)
        return moved
