"""Embedding passes: the photos that a judge is asked about, in batches, on a GPU as large as its memory allows.

On a CPU which photos share a pass is fixed by the plan (``plan.embed_batch``, a part of every key): it decides the last
bits of an answer. A GPU's last bits are its own whatever the batch, as they are on another card, and no key holds them;
there passes grow until they fill a share of the memory, and what was taken stands beside each answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cloakbench.bench.core.hashing import Inputs
from cloakbench.models.base import Recogniser, embed_in_batches

log = logging.getLogger(__name__)

_MEMORY_SHARE = 0.4
"""Of a card's memory that a pass may take; its networks and another worker's need room, too."""
_MOST_PHOTOS = 4096
"""In a pass, however large the memory: beyond, a pass is no faster."""


@dataclass(frozen=True)
class Card:
    """The memory of a GPU.

    Attributes:
        total_bytes: how large it is.
        peak_bytes: how much of it a piece of work takes at its peak, beyond what is taken already.
    """

    total_bytes: int
    peak_bytes: Callable[[Callable[[], object]], int]

    @classmethod
    def of(cls, device: torch.device) -> Card | None:
        """The memory of a CUDA device; None for any other, whose passes are as planned."""
        if device.type != "cuda":
            return None

        def peak_bytes(work: Callable[[], object]) -> int:
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
            work()
            return torch.cuda.max_memory_allocated(device) - before

        return cls(torch.cuda.get_device_properties(device).total_memory, peak_bytes)


class EmbeddingPasses:
    """Embeds photos for one worker.

    Args:
        planned: photos of a pass on a CPU, and the least elsewhere unless memory runs out.
        device: where the networks are.
        card: its memory; None makes all passes as planned, with nothing said.
        to_float: stored photos to float32 in [0, 1] on the device.
    """

    def __init__(
        self, planned: int, device: torch.device, card: Card | None, to_float: Callable[[Tensor], Tensor]
    ) -> None:
        self.planned, self.device, self.card, self.to_float = planned, device, card, to_float
        self._sizes: dict[str, int] = {}
        self._halved: set[str] = set()

    def embed(self, key: str, model: Recogniser, images: Tensor) -> tuple[Tensor, Inputs]:
        """Embeddings ``[N, D]`` on the CPU of uint8 images ``[N, 3, H, W]``, and what to note beside them.

        Where memory runs out, passes of this network are halved, once, and the log says so.

        Args:
            key: of the model.
            model: on the device.
            images: on the CPU.

        Raises:
            torch.OutOfMemoryError: half of the photos are too many, too.
        """
        if self.card is None:
            return embed_in_batches(model, images, self.planned, self.device), {}
        try:
            return self._embed(key, model, images, self.card)
        except torch.OutOfMemoryError:
            if key in self._halved:
                raise
        # Only now that the exception, which holds on to the pass that failed, is gone.
        self._halve(key)
        return self._embed(key, model, images, self.card)

    def _halve(self, key: str) -> None:
        before = self._sizes.get(key, self.planned)
        self._sizes[key] = max(1, before // 2)
        self._halved.add(key)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        log.warning(
            "%s: no memory on %s for passes of %d photos: %d from here on, which may change last bits of its answers",
            *(key, self.device, before, self._sizes[key]),
        )

    @torch.no_grad()
    def _embed(self, key: str, model: Recogniser, images: Tensor, card: Card) -> tuple[Tensor, Inputs]:
        size = self._size(key, model, images, card)
        # One copy back at the end: each would make the next batch wait for all passes before it.
        parts = [model.embed(self.to_float(batch)) for batch in images.split(size)]
        return torch.cat(parts).cpu(), {} if size == self.planned else {"photos_per_pass": size}

    def _size(self, key: str, model: Recogniser, images: Tensor, card: Card) -> int:
        """Photos of a pass: the planned number, doubled as often as memory allows; the same on every card of a kind."""
        if key not in self._sizes and len(images) > self.planned:
            few = images[: self.planned]
            each = max(1, card.peak_bytes(lambda: model.embed(self.to_float(few))) // self.planned)
            size = self.planned
            while 2 * size <= min(_MOST_PHOTOS, _MEMORY_SHARE * card.total_bytes / each):
                size *= 2
            self._sizes[key] = size
        return self._sizes.get(key, self.planned)
