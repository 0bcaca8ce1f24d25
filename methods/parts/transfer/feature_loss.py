"""`FeatureLoss`: photos leave what a surrogate sees halfway, instead of what it says in the end.

Layers that are not the last ones look alike in networks that were trained apart, where the last ones follow each
network's own training.

Sources: Wang et al., "Feature Importance-aware Transferable Adversarial Attacks" (FIA), ICCV 2021, equations 3 to 5;
plain distances in Ganeshan et al., "FDA: Feature Disruptive Attack", ICCV 2019, and Naseer et al., "Task-generalizable
Adversarial Attack based on Perceptual Metric" (NRDM), 2018.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import one_of, share, whole
from cloakbench.methods.context import CountedNetwork
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.transfer.convolutions import Convolution, after_convolutions

FeatureKind = Literal["distance", "importance"]
"""``distance``: away from the clean photo's maps, seen through the same view. ``importance``: against the maps' part in
the objective, gathered over copies of the clean photo that lack random pixels."""

Loss = Callable[[int, Tensor], Tensor]
"""Scalar of the number of a network and its embeddings ``[N, D]``, to be minimised."""


class FeatureLoss:
    """A loss of the maps after one convolution of every surrogate.

    FIA's official settings: ``importance``, 30 copies of which each pixel stays with probability 0.9 (0.7 against
    defences), a layer in the middle, no view. Here copies lack the same pixels in all channels, the importance is of
    the method's own objective, and each loss is divided by the sizes of the maps it compares, so that it stands beside
    squared distances of embeddings.

    Passes for each photo and surrogate beside the steps: ``distance`` one forward at each step; ``importance`` as many
    forward and backward as there are copies, and one forward.

    Args:
        kind: see `FeatureKind`.
        depth: which convolution, as a share of all of them in the order of a pass; 1 is the last.
        feature_share: of this loss; the rest is the objective's own.
        copies: of a photo, for ``importance``.
        kept_share: of pixels in each copy, for ``importance``.

    Raises:
        SettingError: a parameter is out of range.
    """

    def __init__(
        self,
        kind: FeatureKind = "distance",
        depth: float = 0.5,
        feature_share: float = 1.0,
        copies: int = 30,
        kept_share: float = 0.9,
    ) -> None:
        self.kind: FeatureKind = one_of("kind", kind, get_args(FeatureKind))
        self.depth = share("depth", depth)
        self.feature_share = share("feature_share", feature_share)
        self.copies = whole("copies", copies)
        self.kept_share = share("kept_share", kept_share)

    def begin(self, network: CountedNetwork, clean: Tensor, streams: ItemStreams) -> Features:
        """What is known of clean photos ``[N, 3, H, W]`` to one network."""
        return Features(self, network, clean, streams)


class Features:
    """The maps of clean photos in one network, and the loss of others beside them.

    Args:
        rule: which maps, and what is asked of them.
        network: whose maps.
        clean: photos ``[N, 3, H, W]``.
        streams: one for each photo, of this network's own.
    """

    def __init__(self, rule: FeatureLoss, network: CountedNetwork, clean: Tensor, streams: ItemStreams) -> None:
        self._rule, self._network, self._clean, self._streams = rule, network, clean, streams
        self._weights: Tensor | None = None

    def loss_of(self, place: int, objective: Loss, view: Callable[[Tensor], Tensor] | None, maps: list[Tensor]) -> Loss:
        """The loss of a pass whose maps are in ``maps`` once it was made, of the network of a number."""
        rule = self._rule
        if rule.kind == "importance" and self._weights is None:
            self._weights = self._importance(place, objective)
        clean = self._maps(self._clean if view is None else view(self._clean)) if rule.kind == "distance" else None

        def loss(number: int, embeddings: Tensor) -> Tensor:
            seen = self._chosen(maps)
            if clean is not None:
                sizes = clean.square().sum(dim=(1, 2, 3))
                feature = -((seen - clean).square().sum(dim=(1, 2, 3)) / sizes.clamp(min=_LEAST)).sum()
            else:
                feature = (seen * self._weights).sum()  # pyright: ignore[reportOperatorIssue]  (made above)
            if rule.feature_share == 1:
                self._network.count_backward(seen)
                return feature
            return rule.feature_share * feature + (1 - rule.feature_share) * objective(number, embeddings)

        return loss

    def keep(self, maps: list[Tensor]) -> Callable[[Convolution, Tensor], Tensor]:
        """What `after_convolutions` is to do to have all maps of a pass in a list."""

        def kept(convolution: Convolution, found: Tensor) -> Tensor:
            maps.append(found)
            return found

        return kept

    def _chosen(self, maps: list[Tensor]) -> Tensor:
        if not maps:
            raise ValueError("a feature loss needs surrogates with convolutions: set method.transfer.features=null")
        return maps[round(self._rule.depth * (len(maps) - 1))]

    @torch.no_grad()
    def _maps(self, photos: Tensor) -> Tensor:
        maps: list[Tensor] = []
        with after_convolutions(self._network.model, self.keep(maps)):
            self._network.embed(photos)
        return self._chosen(maps)

    def _importance(self, place: int, objective: Loss) -> Tensor:
        """The mean gradient of the objective in the maps, over its size and that of the clean photo's maps."""
        total = torch.zeros(())
        for _ in range(self._rule.copies):
            kept = self._streams.uniform(1, *self._clean.shape[2:]) < self._rule.kept_share
            maps: list[Tensor] = []
            with after_convolutions(self._network.model, self.keep(maps)):
                embeddings = self._network.embed((self._clean * kept).requires_grad_())
            total = total + torch.autograd.grad(objective(place, embeddings), self._chosen(maps))[0]
        sizes = [torch.linalg.vector_norm(one.flatten(1), dim=1) for one in (total, self._maps(self._clean))]
        return total / (sizes[0] * sizes[1]).clamp(min=_LEAST).view(-1, 1, 1, 1)


_LEAST = 1e-12
"""Maps of zeros pull nowhere."""
