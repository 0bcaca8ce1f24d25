"""Translation-invariant gradients of diverse inputs, with momentum."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.core.ranges import at_least, odd, share
from cloakbench.methods.mi_fgsm import MIFGSM
from cloakbench.methods.parts.gradient import Attack
from cloakbench.methods.parts.objectives import Objective


class TIDIM(MIFGSM):
    """TI-DIM: random resize and padding before the network, a Gaussian blur of the gradient after it, then MI-FGSM.

    Papers: Dong et al., "Evading Defenses to Transferable Adversarial Examples by Translation-Invariant Attacks",
    CVPR 2019, equation 8; Xie et al., "Improving Transferability of Adversarial Examples with Input Diversity",
    CVPR 2019, equation 5.
    Official settings: epsilon 16, 10 steps of epsilon / T, mu 1, kernel 15 on 299-pixel images, probability 0.7,
    sizes 299 to 330, cross-entropy. Public suites: probability 0.5, sizes up to 1.1 times the image, and back.
    Deviations: J as in `FGSM`; random start; kernel 7, as face suites use for 112 pixels; each photo draws its own
    transform (the suites draw one per batch), so that results do not depend on batching; resize, padding and the resize
    back are one bilinear sampling instead of two.
    """

    name: ClassVar[str] = "ti_dim"
    paper: ClassVar[str] = (
        "Dong et al., Translation-Invariant Attacks, CVPR 2019; Xie et al., Input Diversity, CVPR 2019"
    )
    official_settings: ClassVar[str] = "epsilon 16, 10 steps of epsilon/T, mu 1, kernel 15 at 299 px, probability 0.7"
    deviations: ClassVar[str] = "J as in FGSM; random start; kernel 7 at 112 px; one transform per photo"

    def __init__(
        self,
        epsilon_255: float = 8,
        *,
        steps: int = 10,
        step_255: float | None = None,
        objective: Objective = "own",
        random_start: bool = True,
        momentum_decay: float = 1.0,
        transform_probability: float = 0.5,
        resize_rate: float = 1.1,
        kernel_size: int = 7,
    ) -> None:
        super().__init__(
            epsilon_255,
            steps=steps,
            step_255=step_255,
            objective=objective,
            random_start=random_start,
            momentum_decay=momentum_decay,
        )
        self.transform_probability = share("transform_probability", transform_probability)
        self.resize_rate = at_least("resize_rate", resize_rate, 1)
        self.kernel = gaussian_kernel(odd("kernel_size", kernel_size))

    def gradient(self, photos: Tensor, attack: Attack) -> Tensor:
        draws = attack.streams.uniform(4)
        gradient = attack.slope(
            photos, lambda x: resize_and_pad(x, draws, self.transform_probability, self.resize_rate)
        )
        return smooth(gradient, self.kernel.to(gradient))


def gaussian_kernel(size: int) -> Tensor:
    """Weights ``[size]`` of a normal density sampled on [-3, 3], summing to one; sigma is (size - 1) / 6 pixels."""
    weights = torch.linspace(-3, 3, size, dtype=torch.float64).square().mul(-0.5).exp()
    return (weights / weights.sum()).float()


def smooth(images: Tensor, kernel: Tensor) -> Tensor:
    """``images`` ``[N, C, H, W]`` blurred with the outer product of ``kernel`` with itself, zeros outside."""
    height, width = images.shape[-2:]
    return banded(kernel, height) @ images @ banded(kernel, width)  # 6 times as fast on a CPU as convolving channels


def banded(kernel: Tensor, side: int) -> Tensor:
    """The matrix ``[side, side]`` that convolves ``side`` pixels in a row with a symmetric kernel, zeros outside."""
    steps = torch.arange(side, device=kernel.device)
    place = steps - steps[:, None] + len(kernel) // 2
    return torch.where((place >= 0) & (place < len(kernel)), kernel[place.clamp(0, len(kernel) - 1)], 0.0)


def resize_and_pad(photos: Tensor, draws: Tensor, probability: float, rate: float) -> Tensor:
    """Some photos shrunk onto a random place of a black canvas; the canvas is then resized to the photo's size.

    With side S the canvas is ``C = floor(rate * S)`` wide. A photo takes r of its pixels, r uniform in S..C-1, at an
    offset uniform in 0..C-r. Black is 0 in [0, 1], hence before the network's own normalisation.

    Args:
        photos: ``[N, 3, S, S]``.
        draws: uniform ``[N, 4]`` in [0, 1): whether, size, vertical and horizontal offset.
        probability: of a photo being transformed at all.
        rate: canvas side over photo side.
    """
    side = photos.shape[-1]
    canvas = math.floor(rate * side)
    if probability == 0 or canvas == side:
        return photos
    chosen, size, top, left = draws.unbind(dim=1)
    size = side + (size * (canvas - side)).floor()
    top, left = ((offset * (canvas - size + 1)).floor() for offset in (top, left))
    # Where an output pixel at o in [-1, 1] looks in the photo, also in [-1, 1]: canvas place (o + 1) / 2 * C, less the
    # offset, over the size.
    scale, zero = canvas / size, torch.zeros_like(size)
    place = torch.stack(
        [scale, zero, (canvas - 2 * left) / size - 1, zero, scale, (canvas - 2 * top) / size - 1], dim=1
    ).view(-1, 2, 3)
    grid = F.affine_grid(place, list(photos.shape), align_corners=False)
    moved = F.grid_sample(photos, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return torch.where((chosen < probability).view(-1, 1, 1, 1), moved, photos)
