"""Surrogates that see a crop as it will look after the way through the full photo, or in a black-and-white one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.models.base import Recogniser

_BELL = (0.25, 0.5, 0.25)


class BlurredRecogniser(Recogniser):
    """A recogniser behind a 3 x 3 binomial blur; it shares the network of the one it is made from.

    Pasting a change into a photo and aligning the face again interpolates it twice, and what is finer than about two
    crop pixels is lost on the way. A method whose surrogates are blurred alike spends its budget on what survives. The
    blur belongs to no method and no paper; benchmarks of methods do without it. Measured at 8/255 on
    ``mobilefacenet_y1``, cosine to the original under ``mobilefacenet_casia`` in the saved photo: PGD 0.47 with it
    and 0.60 without it (45 photos of 10 people), OPOM-ConvexHull 0.44 and 0.57 (28 photos of 5 people).

    Methods that keep a face known to recognisers see them with and without it, since they are to be right for whoever
    looks: a veil for ``mobilefacenet_y1`` (T = 300, 150 beside it) on 8 large photos of one person had a cosine to the
    original of 0.12 to 0.35 in the saved photo with the blur alone, 0.49 to 0.71 without it, 0.64 to 0.89 with both.
    """

    def __init__(self, model: Recogniser) -> None:
        super().__init__(model.network, model.inputs, model.card)
        bell = torch.tensor(_BELL)
        self.register_buffer("kernel", (bell[:, None] * bell).expand(3, 1, -1, -1).clone(), persistent=False)
        self.kernel: Tensor
        self.to(next((parameter.device for parameter in model.parameters()), torch.device("cpu")))

    def embed(self, images: Tensor) -> Tensor:
        """As `Recogniser.embed`, of the blurred images."""
        return super().embed(F.conv2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), self.kernel, groups=3))


class GreyRecogniser(Recogniser):
    """A recogniser that sees black and white; it shares the network of the one it is made from.

    Its gradient is the same in all channels, so that a method spends its budget on what a black-and-white photo can
    show. A change that was made in colour loses most of itself when the colour goes.
    """

    def __init__(self, model: Recogniser) -> None:
        super().__init__(model.network, model.inputs, model.card)
        self.seeing = model

    def embed(self, images: Tensor) -> Tensor:
        """As `Recogniser.embed`, of the images without colour."""
        return self.seeing.embed(without_colour(images))


def without_colour(images: Tensor) -> Tensor:
    """Every channel the mean of the three, ``[..., 3, H, W]``."""
    return images.mean(dim=-3, keepdim=True).expand_as(images)
