"""The Linf ball around photos, in the two forms that methods step in: of photos, and of what is added to them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LinfBall:
    """All valid photos within the budget of given ones: values in [0, 1] between ``low`` and ``high``.

    Attributes:
        low, high: ``[N, 3, H, W]``.
    """

    low: Tensor
    high: Tensor

    @classmethod
    def around(cls, images: Tensor, epsilon: float | Tensor) -> LinfBall:
        """The ball of radius ``epsilon``, on the scale of [0, 1], around images in [0, 1]; or with one for each pixel,
        in a shape that broadcasts to them."""
        return cls((images - epsilon).clamp_(min=0), (images + epsilon).clamp_(max=1))

    def project_(self, photos: Tensor) -> Tensor:
        """The nearest photos in the ball, in place; what is not finite stays so."""
        return photos.clamp_(self.low, self.high)


def project_noise_(noise: Tensor, epsilon: float) -> Tensor:
    """The nearest noise or mask of at most ``epsilon``, in place; whether the sum is a valid photo is not looked at."""
    return noise.clamp_(-epsilon, epsilon)
