"""Classes of unequal size weigh the same: the loss that attribute classifiers are trained with, and their accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.bench.core.ranges import share
from cloakbench.models.attribute_surrogate import AttributeSurrogate
from cloakbench.models.attributes import AttributeModel


class BalancedCrossEntropy(nn.Module):
    """Mean over attributes of the cross-entropy in which every class of an attribute has the same weight in all.

    Args:
        labels: class numbers of the training photos, long ``[N, K]``.
        widths: classes of each attribute.
        label_smoothing: share of each label that is spread over all classes; some labels cannot be seen on a photo.

    Raises:
        ValueError: a class that no training photo shows.
    """

    def __init__(self, labels: Tensor, widths: Sequence[int], label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = share("label_smoothing", label_smoothing)
        for place, (column, width) in enumerate(zip(labels.unbind(1), widths, strict=True)):
            counts = column.bincount(minlength=width)
            if not bool((counts > 0).all()):
                raise ValueError(f"attribute {place + 1} has a class that no training photo shows: give more people")
            self.register_buffer(f"weight{place}", len(labels) / (width * counts.float()), persistent=False)

    def forward(self, answers: Sequence[Tensor], labels: Tensor, ramp: float = 1.0) -> Tensor:
        """Loss of logits ``[N, C]`` per attribute for labels ``[N, K]``; there is no margin for ``ramp`` to grow."""
        terms = []
        for place, logits in enumerate(answers):
            weight = self.get_buffer(f"weight{place}")[labels[:, place]]
            each = F.cross_entropy(logits, labels[:, place], reduction="none", label_smoothing=self.label_smoothing)
            terms.append((each * weight).mean())
        return torch.stack(terms).mean()


@torch.no_grad()
def classes_in_batches(
    model: AttributeModel | AttributeSurrogate, images: Tensor, batch_size: int, device: torch.device
) -> dict[str, Tensor]:
    """Attribute to the class that scores highest, long ``[N]`` on the CPU, of uint8 images ``[N, 3, H, W]``."""
    parts = [
        {name: logits.argmax(1).cpu() for name, logits in model.logits(batch.to(device, torch.float32) / 255).items()}
        for batch in images.split(batch_size)
    ]
    return {name: torch.cat([part[name] for part in parts]) for name in (parts[0] if parts else {})}


def balanced_accuracy(found: Tensor, labels: Tensor, width: int) -> float:
    """Mean over classes of the share of their photos that are recognised.

    Raises:
        ValueError: a class of which there is no photo.
    """
    counts = labels.bincount(minlength=width)
    if not bool((counts > 0).all()):
        raise ValueError("balanced accuracy needs a photo of every class: give more people")
    right = labels[found == labels].bincount(minlength=width)
    return float((right / counts).double().mean())


def balanced_accuracies(found: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> dict[str, float]:
    """`balanced_accuracy` of each attribute; the classes are those that the labels have."""
    return {name: balanced_accuracy(found[name], column, int(column.max()) + 1) for name, column in labels.items()}
