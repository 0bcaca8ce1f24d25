"""The network that unlearnable noise is made against: a classifier of the very people whose photos are protected.

EM and REM train it together with the noise. Everything here happens in a canonical order, photos by name and people by
name, so that noise belongs to a photo wherever it stands in a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.core.ranges import at_least, positive, share_below_one
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.photo_batch import PhotoBatch

Network = Callable[..., nn.Module]
"""Makes a classifier from ``classes`` and ``size`` (height and width): images in [0, 1] to logits ``[N, classes]``."""


@dataclass(frozen=True)
class TrainingPhotos:
    """The photos of a chunk in canonical order.

    Attributes:
        images: float ``[N, 3, H, W]`` in [0, 1].
        labels: long ``[N]``, the place of each photo's owner among the sorted names.
        classes: people.
        place: long ``[N]``, for each photo of the chunk its row here.
    """

    images: Tensor
    labels: Tensor
    classes: int
    place: Tensor

    @classmethod
    def of(cls, batch: PhotoBatch) -> TrainingPhotos:
        """Sort the photos of a chunk by name, and number its people by name."""
        device = batch.images.device
        order = torch.tensor(sorted(range(len(batch.image_id)), key=batch.image_id.__getitem__), device=device)
        names = sorted(range(len(batch.identities)), key=batch.identities.__getitem__)
        number = torch.tensor(names, device=device).argsort()
        return cls(batch.images[order], number[batch.owner[order]], len(names), order.argsort())

    def batches(self, size: int, *stream: object) -> Iterator[Tensor]:
        """Rows, ``size`` at a time, in an endless walk through fresh permutations of all photos.

        A single left-over photo is passed over: batch norm cannot be trained on one.
        """
        epoch = 0
        while True:
            order = torch.randperm(len(self.images), generator=generator(*stream, "epoch", epoch))
            whole = [rows for rows in order.to(self.images.device).split(size) if len(rows) > 1]
            if not whole:
                raise ValueError("unlearnable noise needs at least two photos and a batch_size of at least 2")
            yield from whole
            epoch += 1


def checked_sgd(learning_rate: float, momentum: float, weight_decay: float, clip_norm: float) -> dict[str, float]:
    """Settings of a classifier's optimiser by name.

    Raises:
        SettingError: one is out of range.
    """
    return {
        "learning_rate": positive("learning_rate", learning_rate),
        "momentum": share_below_one("momentum", momentum),
        "weight_decay": at_least("weight_decay", weight_decay),
        "clip_norm": positive("clip_norm", clip_norm),
    }


class BilevelClassifier:
    """A classifier that learns by SGD and is otherwise frozen in eval mode.

    Batches are laid out plainly: channels-last makes oneDNN crash on some slim networks (torch 2.15).

    Args:
        network: the factory.
        training: what it will see.
        context: counts its passes.
        learning_rate, momentum, weight_decay: of SGD.
        clip_norm: the gradient of all weights together is cut to this L2 norm.

    Raises:
        ValueError: the network's answer is not one score per person. An embedding in the place of logits would run
            and mean nothing.
    """

    def __init__(
        self,
        network: Network,
        training: TrainingPhotos,
        context: ProtectContext,
        *,
        learning_rate: float,
        momentum: float,
        weight_decay: float,
        clip_norm: float,
    ) -> None:
        made = network(classes=training.classes, size=tuple(training.images.shape[-2:]))
        made = made.to(training.images.device)
        self.network = context.counted(made.eval())
        self.clip_norm = clip_norm
        self.optimiser = torch.optim.SGD(
            made.parameters(), lr=learning_rate, momentum=momentum, weight_decay=weight_decay
        )
        self.network.requires_grad_(False)
        with torch.no_grad():
            answer = self.network(training.images[:1])
        if tuple(answer.shape) != (1, training.classes):
            raise ValueError(f"the network must give [N, {training.classes}] logits, it gives {list(answer.shape)}")

    def __call__(self, images: Tensor) -> Tensor:
        """Logits of the frozen network."""
        return self.network(images)

    def step(self, images: Tensor, labels: Tensor) -> None:
        """One step of SGD on the mean cross-entropy, in training mode."""
        self.network.train().requires_grad_(True)
        loss = F.cross_entropy(self.network(images.contiguous()), labels)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.clip_norm)
        self.optimiser.step()
        self.network.eval().requires_grad_(False)

    def slope(self, images: Tensor, labels: Tensor) -> Tensor:
        """Gradient of the mean cross-entropy in ``images``."""
        leaf = images.detach().contiguous().requires_grad_()
        (slope,) = torch.autograd.grad(F.cross_entropy(self.network(leaf), labels), leaf)
        return slope

    @torch.no_grad()
    def error(self, images: Tensor, labels: Tensor, batch_size: int) -> float:
        """Share of the photos that it names wrongly."""
        wrong = [
            int((self.network(some).argmax(dim=1) != right).sum())
            for some, right in zip(images.split(batch_size), labels.split(batch_size), strict=True)
        ]
        return sum(wrong) / len(images)
