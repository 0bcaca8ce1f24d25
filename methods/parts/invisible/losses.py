"""The losses of Invisible-Face's generator: Yang et al., TIFS 2025, equations 12 to 20, read so that all are minimised.

What the paper prints and what is here:

- 12 and 19, adversarial and resilient: minimised is ``-sum_k log(1 - p_k)``, p_k what is left for the clean answer;
- 14: the square of the discrepancy, with 1/N^2, between the photos of a batch and the protected ones, shrunk;
- 15: the variation of the protected photo, since that of the clean one has no gradient; an option takes the mask's;
- 17: the mean over layers of ``-log CX``, where the sum stands inside of the logarithm;
- 20: its five weights, and one for the game with the discriminator, which the sum forgets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.core.ranges import at_least, one_of
from cloakbench.methods.parts.mmd import median_squared_distance, mmd
from cloakbench.methods.parts.variation import total_variation

VariationOf = Literal["protected", "mask"]

_NEVER_CERTAIN = 1e-6
_SHRUNK_PX = 28
_BANDWIDTHS = (0.5, 1.0, 2.0)
_SHARPNESS = 0.5
"""h of the contextual loss."""
_TINY = 1e-5


@dataclass(frozen=True)
class LossWeights:
    """What each term of equation 20 weighs; one of weight 0 is not computed.

    Attributes:
        adversarial, perturbation, naturalness, semantic, resilient: Lambda, in the paper's order.
        gan: of fooling the discriminator.
        discrepancy, variation: inside of naturalness.
        perceptual, contextual: inside of semantic.
        variation_of: of the protected photo, or of the mask.

    Raises:
        SettingError: a weight is below 0.
    """

    adversarial: float = 0.4
    perturbation: float = 0.1
    naturalness: float = 0.15
    semantic: float = 0.15
    resilient: float = 0.2
    gan: float = 0.1
    discrepancy: float = 1.0
    variation: float = 1e-4
    perceptual: float = 0.5
    contextual: float = 0.5
    variation_of: VariationOf = "protected"

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "variation_of":
                at_least(name, value)
        one_of("variation_of", self.variation_of, get_args(VariationOf))


def adversarial_loss(scores: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> Tensor:
    """Equations 12 and 19: ``-sum_k log(1 - p_k + 1e-6)``, the mean over photos.

    Args:
        scores: attribute to ``[N, C]``.
        labels: attribute to the clean answers, long ``[N]``.
    """
    terms = []
    for name, given in scores.items():
        left = given.softmax(dim=1).gather(1, labels[name].unsqueeze(1)).squeeze(1)
        terms.append(-(1 - left + _NEVER_CERTAIN).log())
    return torch.stack(terms).sum(dim=0).mean()


def perturbation_loss(mask: Tensor) -> Tensor:
    """Equation 13: the mean L2 norm of masks ``[N, 3, H, W]`` on the scale of [0, 1]."""
    return torch.linalg.vector_norm(mask.flatten(1), dim=1).mean()


def naturalness_loss(clean: Tensor, protected: Tensor, mask: Tensor, weights: LossWeights) -> Tensor:
    """Equations 14 to 16, of photos ``[N, 3, H, W]`` in [0, 1]."""
    total = protected.new_zeros(())
    if weights.discrepancy:
        total = total + weights.discrepancy * discrepancy(clean, protected)
    if weights.variation:
        of = protected if weights.variation_of == "protected" else mask
        everywhere = of.new_ones(1, 1, *of.shape[-2:])
        total = total + weights.variation * total_variation(of, everywhere).mean()
    return total


def discrepancy(clean: Tensor, protected: Tensor) -> Tensor:
    """Equation 14: the squared discrepancy of two sets of photos, shrunk to 28 px, summed over three Gaussian kernels
    whose widths are a half, one and two of the median squared distance of clean photos."""
    size = (min(_SHRUNK_PX, clean.shape[-2]), min(_SHRUNK_PX, clean.shape[-1]))
    # Grey levels, as `cloakbench.methods.parts.mmd` has them.
    ours, theirs = (
        255 * F.interpolate(photos, size=size, mode="area").flatten(1).unsqueeze(0) for photos in (protected, clean)
    )
    median = median_squared_distance(theirs)
    return mmd(ours, theirs, median.unsqueeze(1) * median.new_tensor([_BANDWIDTHS])).squeeze(0)


def feature_distance(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
    """The form of LPIPS (Zhang et al., CVPR 2018, equation 1) with every channel weighted one, the mean over photos.

    Args:
        ours, theirs: maps ``[N, C, h, w]`` of each layer.
    """
    terms = [
        (F.normalize(one, dim=1) - F.normalize(other, dim=1)).square().sum(dim=1).mean()
        for one, other in zip(ours, theirs, strict=True)
    ]
    return torch.stack(terms).sum()


def contextual_loss(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
    """Equation 17: the mean over layers and photos of ``-log CX``.

    Source of CX: Mechrez, Talmi and Zelnik-Manor, "The Contextual Loss", ECCV 2018, equations 1 to 4.

    Args:
        ours, theirs: maps ``[N, C, h, w]`` of each layer.
    """
    return torch.stack([-similarity(one, other).log().mean() for one, other in zip(ours, theirs, strict=True)]).mean()


def similarity(ours: Tensor, theirs: Tensor) -> Tensor:
    """CX of two maps ``[N, C, h, w]``, in (0, 1], ``[N]``: how well positions of the second are found in the first."""
    centre = theirs.mean(dim=(0, 2, 3), keepdim=True)
    one, other = (F.normalize((maps - centre).flatten(2), dim=1) for maps in (ours, theirs))
    distance = (1 - one.mT @ other).clamp(min=0)  # [N, positions of ours, of theirs]
    relative = distance / (distance.amin(dim=2, keepdim=True) + _TINY)
    weights = ((1 - relative) / _SHARPNESS).exp()
    shares = weights / weights.sum(dim=2, keepdim=True)
    return shares.amax(dim=1).mean(dim=1)


def generator_game_loss(looks: Tensor) -> Tensor:
    """Equation 5 as least squares (Mao et al., ICCV 2017), for the generator: the discriminator takes x' for real."""
    return (looks - 1).square().mean() / 2


def discriminator_loss(of_clean: Tensor, of_protected: Tensor) -> Tensor:
    """Equation 5 as least squares, for the discriminator."""
    return ((of_clean - 1).square().mean() + of_protected.square().mean()) / 2
