"""A classifier of a closed set of people: any backbone and a linear layer, pixels in [0, 1] in, class scores out."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


class Classifier(nn.Module):
    """Images ``[N, 3, H, W]`` in [0, 1] to logits ``[N, classes]``, in training and in eval mode alike.

    The face script of the EM authors gives its network tensors in [0, 1] without mean or standard deviation, and so
    does this class. Their network answers with embeddings in eval mode unless a flag is set; this one has no such flag.

    Args:
        backbone: makes the embedding network from ``embedding_size`` and ``input_size``, which it must accept.
        embedding_size: length of the embedding before the linear layer.
        classes: people.
        size: height and width of the photos.
    """

    def __init__(
        self, backbone: Callable[..., nn.Module], embedding_size: int, *, classes: int, size: tuple[int, int]
    ) -> None:
        super().__init__()
        self.backbone = backbone(embedding_size=embedding_size, input_size=size)
        self.logits = nn.Linear(embedding_size, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits(self.backbone(images))
