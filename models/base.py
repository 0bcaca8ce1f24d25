"""The recogniser contract: images in [0, 1] go in, unit embeddings come out, gradients flow back.

And the contract of somebody who has no recogniser yet and trains a classifier on photos that were published.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class InputSpec:
    """How a network wants its pixels. Everything is applied inside the recogniser, never by a method.

    Attributes:
        size: height and width the network takes; other sizes are resized bilinearly.
        mean: subtracted from pixels in [0, 1]; one value for all channels or three.
        std: divides after the mean is gone; ``mean=0.5, std=0.5`` gives [-1, 1], ``mean=0, std=1/255`` raw 0..255.
        channel_order: ``rgb`` or ``bgr``.
        crop: optional ``(top, left, height, width)`` cut from a 112x112 aligned face before resizing.
    """

    size: tuple[int, int] = (112, 112)
    mean: float | tuple[float, float, float] = 0.5
    std: float | tuple[float, float, float] = 0.5
    channel_order: str = "rgb"
    crop: tuple[int, int, int, int] | None = None

    def __post_init__(self) -> None:
        if self.channel_order not in ("rgb", "bgr"):
            raise ValueError(f"channel_order must be 'rgb' or 'bgr', got {self.channel_order!r}")
        if 0 in _three(self.std):
            raise ValueError(f"std must not be 0, got {self.std!r}: pixels are divided by it")

    def prepare(self, images: Tensor) -> Tensor:
        """``[N, 3, H, W]`` RGB in [0, 1] to what the network takes; differentiable."""
        if self.crop is not None:
            top, left, height, width = self.crop
            images = images[..., top : top + height, left : left + width]
        if tuple(images.shape[-2:]) != tuple(self.size):
            images = F.interpolate(images, size=list(self.size), mode="bilinear", antialias=True)
        if self.channel_order == "bgr":
            images = images.flip(1)
        mean = images.new_tensor(self.mean).view(-1, 1, 1)
        if isinstance(self.std, Sequence):
            return (images - mean) / images.new_tensor(self.std).view(-1, 1, 1)
        return torch.add(-mean / self.std, images, alpha=1 / self.std)  # one pass over the pixels there, and one back

    def settings(self) -> dict[str, Any]:
        """The rule as plain values, equal for all spellings of it: a number for three channels is three numbers, and
        each is the float32 that pixels meet, so that 0, 0.0 and [0, 0, 0] are one setting."""
        return {
            "size": [int(side) for side in self.size],
            "mean": _three(self.mean),
            "std": _three(self.std),
            "channel_order": self.channel_order,
            "crop": None if self.crop is None else [int(side) for side in self.crop],
        }


def _three(value: float | Sequence[float]) -> list[float]:
    given = list(value) if isinstance(value, Sequence) else [value] * 3
    return (torch.tensor(given, dtype=torch.float32) + 0.0).tolist()  # and -0.0 is 0.0


@dataclass(frozen=True)
class ModelCard:
    """What a reader of a table needs to know about a recogniser.

    Attributes:
        name: key of the model in configs, records and tables.
        family: architecture family; two models of one family are marked as such in transfer tables.
        backbone, head, training_set: what was trained, with which loss, on which faces.
        embedding_size: D of the embeddings.
        weights_sha256: digest of the weight file, the part of the card that enters every cache key.
        licence_code, licence_weights, licence_training_data: short licence names; ``unknown`` when not published.
        clean_top1: measured rank-1 rate on identities that chose nothing, in [0, 1]; None when not measured.
        stands_for: the full-size network a slim one stands for.
        robust: adversarially hardened.
        page: where the weights and their terms are published.
        legacy_thresholds: cosine thresholds at false accept rates 0.1, 0.01 and 0.001 that earlier papers used for this
            network; None when there are none.
        note: what else a reader must know.
    """

    name: str
    family: str
    backbone: str
    head: str
    training_set: str
    embedding_size: int
    weights_sha256: str
    licence_code: str = "unknown"
    licence_weights: str = "unknown"
    licence_training_data: str = "unknown"
    clean_top1: float | None = None
    stands_for: str = ""
    robust: bool = False
    page: str = ""
    legacy_thresholds: tuple[float, float, float] | None = None
    note: str = ""


class Recogniser(nn.Module):
    """A frozen face embedder.

    Parameters have ``requires_grad=False`` and the network stays in eval mode whatever ``train()`` is called with,
    so attacking it never pays for weight gradients and never moves a batch statistic.
    """

    def __init__(self, network: nn.Module, inputs: InputSpec, card: ModelCard) -> None:
        super().__init__()
        self.network = network
        self.inputs = inputs
        self.card = card
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Recogniser:
        """Stays in eval mode: a recogniser is judged, not trained."""
        return super().train(False)

    def embed(self, images: Tensor) -> Tensor:
        """Unit embeddings ``[N, D]`` of float RGB images ``[N, 3, H, W]`` in [0, 1]; differentiable in the images."""
        return F.normalize(self.network(self.inputs.prepare(images)).flatten(1), dim=1)

    def forward(self, images: Tensor) -> Tensor:
        return self.embed(images)


@torch.no_grad()
def embed_in_batches(model: Recogniser, images: Tensor, batch_size: int, device: torch.device) -> Tensor:
    """Embeddings ``[N, D]`` on the CPU of uint8 images ``[N, 3, H, W]``, ``batch_size`` at a time.

    The batch size is part of the plan, not of the machine: which images share a forward pass decides the last bits.
    """
    parts = [
        model.embed(batch.to(device=device, dtype=torch.float32) / 255).cpu() for batch in images.split(batch_size)
    ]
    return torch.cat(parts) if parts else torch.empty(0, model.card.embedding_size)


BatchRule = Callable[[nn.Module, Tensor, Tensor, torch.Generator], Tensor]
"""What a training regime does to a batch in [0, 1] before a step: ``(network, images, labels, draws)`` to images."""


class Attacker(ABC):
    """Somebody who collects published photos of people and trains a classifier of these people on them, from scratch.

    Attributes:
        family: architecture family.
        batch_size: photos per forward pass; decides the last bits of an answer.
    """

    family: str
    batch_size: int

    @abstractmethod
    def train(
        self, photos: Tensor, labels: Tensor, classes: int, regime: BatchRule, seed: object, device: torch.device
    ) -> nn.Module:
        """A frozen classifier, images in [0, 1] to logits ``[N, classes]``; a function of the arguments alone.

        Args:
            photos: uint8 ``[N, 3, H, W]``, as published.
            labels: long ``[N]`` in 0 .. classes - 1.
            classes: people.
            regime: prepares each batch.
            seed: names every random stream.
            device: where to train.

        Raises:
            FloatingPointError: the loss is no longer finite.
        """


@torch.no_grad()
def classify_in_batches(network: nn.Module, photos: Tensor, batch_size: int, device: torch.device) -> Tensor:
    """Best class of each uint8 photo ``[N, 3, H, W]``, long ``[N]`` on the CPU; -1 where a score is not finite."""
    answers = []
    for batch in photos.split(batch_size):
        logits = network(batch.to(device=device, dtype=torch.float32) / 255)
        answers.append(torch.where(logits.isfinite().all(dim=1), logits.argmax(dim=1), -1).cpu())
    return torch.cat(answers) if answers else torch.empty(0, dtype=torch.long)


class Purifier(nn.Module):
    """A frozen network that takes protection out of photos, at a strength.

    Args:
        network: photos ``[N, 3, H, W]`` in [0, 1] to cleaned ones of that shape.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Purifier:
        """Stays in eval mode."""
        return super().train(False)

    def purify(self, images: Tensor, strength: Tensor | None = None) -> Tensor:
        """Cleaned photos, float ``[N, 3, H, W]`` in [0, 1]; differentiable in the images.

        Args:
            images: float ``[N, 3, H, W]`` in [0, 1].
            strength: s of ``(1 - s) z + s U(z)``, ``[N]`` in [0, 1]; None is 1 for all.
        """
        cleaned = self.network(images).clamp(0, 1)
        return cleaned if strength is None else torch.lerp(images, cleaned, strength.view(-1, 1, 1, 1))

    def forward(self, images: Tensor, strength: Tensor | None = None) -> Tensor:
        return self.purify(images, strength)
