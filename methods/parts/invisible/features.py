"""Feature maps of an attribute surrogate, which stand for those of AlexNet and VGG where these cannot be had."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_SIDES = (4, 14)
"""Least and most positions a side: with more a contextual loss of a batch takes gigabytes."""


class SurrogateFeatures:
    """The last map of each size that a network makes, from its own passes.

    Args:
        network: anything that has ``logits(images)``; of several networks inside it that answer one after the other,
            the last one's maps of a size count.
        images: any, of the size that will be given, ``[N, 3, H, W]``.

    Raises:
        ValueError: it makes no map of a fitting size.
    """

    def __init__(self, network: nn.Module, images: Tensor) -> None:
        sizes: dict[tuple[int, int], nn.Module] = {}

        def look(module: nn.Module, given: tuple[Tensor, ...], answer: object) -> None:
            if isinstance(answer, Tensor) and answer.ndim == 4 and _SIDES[0] <= max(answer.shape[-2:]) <= _SIDES[1]:
                sizes[answer.shape[-2], answer.shape[-1]] = module

        hooks = [module.register_forward_hook(look) for module in network.modules()]
        try:
            with torch.no_grad():
                network.logits(images)  # type: ignore[operator]
        finally:
            for hook in hooks:
                hook.remove()
        if not sizes:
            raise ValueError(
                f"{type(network).__name__} makes no feature maps of {_SIDES[0]} to {_SIDES[1]} positions a side, which "
                "the semantic loss compares: set method.weights.semantic=0"
            )
        self._modules = tuple(dict.fromkeys(sizes.values()))

    @contextmanager
    def kept(self) -> Iterator[list[Tensor]]:
        """Collects the maps ``[N, C, h, w]`` of the passes inside, in the order of layers."""
        found: dict[nn.Module, Tensor] = {}
        collected: list[Tensor] = []

        def keep(module: nn.Module, given: tuple[Tensor, ...], answer: Tensor) -> None:
            found[module] = answer

        hooks = [module.register_forward_hook(keep) for module in self._modules]
        try:
            yield collected
        finally:
            for hook in hooks:
                hook.remove()
            collected.extend(found[module] for module in self._modules if module in found)
