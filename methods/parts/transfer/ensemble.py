"""Gradients of several networks as one: of random views, each network with an equal voice, filtered.

Sources: Liu et al., "Delving into Transferable Adversarial Examples and Black-box Attacks", ICLR 2017, section 5
(ensembles of networks; there their probabilities are added up, here gradients are); views and filters have theirs in
`cloakbench.methods.parts.transfer.views` and `cloakbench.methods.parts.transfer.gradient_filter`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Literal, get_args

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import one_of
from cloakbench.methods.context import CountedNetwork
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.objectives import input_gradient, unit_mean
from cloakbench.methods.parts.transfer.gradient_filter import GradientFilter
from cloakbench.methods.parts.transfer.views import RandomViews

Ensemble = Literal["mean", "normalised"]
"""``mean``: of the networks' gradients, so that the one with the steepest loss decides. ``normalised``: each is first
divided by its mean size, for each photo, so that no network outvotes another."""

View = Callable[[Tensor], Tensor]
"""What a network is shown of photos ``[N, 3, H, W]``, differentiable in these."""


class Transfer:
    """How gradients are taken that shall hold for networks nobody has; the defaults change nothing.

    Args:
        views: what networks are shown instead of the photos; None for the photos themselves.
        gradient_filter: over the gradient of all networks together; None for none.
        ensemble: see `Ensemble`.

    Raises:
        SettingError: a parameter is out of range.
    """

    def __init__(
        self,
        views: RandomViews | None = None,
        gradient_filter: GradientFilter | None = None,
        ensemble: Ensemble = "mean",
    ) -> None:
        self.views = views
        self.gradient_filter = gradient_filter
        self.ensemble: Ensemble = one_of("ensemble", ensemble, get_args(Ensemble))

    def begin(self, streams: ItemStreams, networks: Sequence[CountedNetwork]) -> Gradients:
        """The gradients of one call by the networks of a kind, for photos whose random streams are given."""
        return Gradients(self, streams, networks)


class Gradients:
    """Gradients of the same photos, again and again, at every call through other views.

    Views that all networks share are drawn from the streams themselves. Those that each network has of its own come
    from streams named by the digest of its weights, so that the order of networks decides nothing, and networks without
    a digest share theirs.

    Args:
        rule: how they are taken.
        streams: one for each photo.
        networks: that are asked.
    """

    def __init__(self, rule: Transfer, streams: ItemStreams, networks: Sequence[CountedNetwork]) -> None:
        self._rule, self._streams, self._networks = rule, streams, networks
        self._own: list[ItemStreams] = []
        if rule.views is not None and rule.views.for_each_network:
            cards = [getattr(network.model, "card", None) for network in networks]
            self._own = [streams.branch("views", getattr(card, "weights_sha256", "")) for card in cards]

    def __call__(self, photos: Tensor, loss: Callable[[int, Tensor], Tensor]) -> Tensor:
        """The gradient in ``photos``, ``[N, 3, H, W]``; one forward and one backward pass for each recogniser.

        Args:
            photos: not changed, and safe to change in place afterwards.
            loss: scalar of the number of a recogniser and its embeddings ``[N, D]``.
        """

        def slope(place: int, view: View | None) -> Tensor:
            return input_gradient(photos, [self._networks[place]], lambda _, seen: loss(place, seen), view)

        return self.combined(slope)

    def combined(self, slope: Callable[[int, View | None], Tensor]) -> Tensor:
        """The gradient ``[N, 3, H, W]`` of networks of any kind.

        Args:
            slope: the gradient by the network of a number, which is shown a view of the photos, or the photos.
        """
        views, count = self._rule.views, len(self._networks)
        shared = None if views is None or self._own else self._streams.uniform(views.numbers)
        total = reduce(torch.add, (self._voice(slope(place, self._view(place, shared))) for place in range(count)))
        if self._rule.ensemble == "mean" and count > 1:
            total = total / count
        return total if self._rule.gradient_filter is None else self._rule.gradient_filter(total)

    def _view(self, place: int, shared: Tensor | None) -> View | None:
        views = self._rule.views
        if views is None:
            return None
        draws = shared if shared is not None else self._own[place].uniform(views.numbers)
        return partial(views.see, draws=draws)

    def _voice(self, gradient: Tensor) -> Tensor:
        return unit_mean(gradient) if self._rule.ensemble == "normalised" else gradient
