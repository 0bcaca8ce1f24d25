"""One random stream per photo or person, drawn in step: what a row gets never depends on its neighbours."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from cloakbench.bench.core.random_streams import generator


class ItemStreams:
    """Independent streams for the rows of a batch (invariant 6 of ``docs/architecture.md``).

    Args:
        items: one name per row; rows with equal names draw equal numbers.
        name: what the streams are for, such as the seed and the method.
        device: where the numbers go. They are drawn on the CPU, so that devices agree.
    """

    def __init__(self, items: Iterable[str], *name: object, device: torch.device) -> None:
        self._items, self._name, self._device = tuple(items), name, device
        self._generators = [generator(*name, item) for item in self._items]

    def branch(self, *purpose: object) -> ItemStreams:
        """Streams of the same rows for something else, at their beginning."""
        return ItemStreams(self._items, *self._name, *purpose, device=self._device)

    def repeated(self, times: int) -> ItemStreams:
        """Streams for so many rows instead of each, side by side, at their beginning."""
        if times == 1:
            return self
        items = [f"{item}\x1f{place}" for item in self._items for place in range(times)]
        return ItemStreams(items, *self._name, device=self._device)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Float32 ``[rows, *shape]`` in ``[low, high)``; the next numbers of every row's stream."""
        numbers = torch.empty(len(self._generators), *shape)
        for row, stream in zip(numbers, self._generators, strict=True):
            row.uniform_(low, high, generator=stream)
        return numbers.to(self._device)

    def normal(self, *shape: int) -> Tensor:
        """Float32 ``[rows, *shape]``, mean 0 and deviation 1; the next numbers of every row's stream."""
        numbers = torch.empty(len(self._generators), *shape)
        for row, stream in zip(numbers, self._generators, strict=True):
            row.normal_(generator=stream)
        return numbers.to(self._device)
