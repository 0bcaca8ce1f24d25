"""Gradients of several networks as one: of random views, each network with an equal voice, filtered.

Sources: Liu et al., "Delving into Transferable Adversarial Examples and Black-box Attacks", ICLR 2017, section 5
(ensembles of networks; there their probabilities are added up, here gradients are); views and filters have theirs in
`cloakbench.methods.parts.transfer.views` and `cloakbench.methods.parts.transfer.gradient_filter`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial, reduce
from typing import Literal, get_args

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import one_of, whole
from cloakbench.methods.context import CountedNetwork
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.objectives import input_gradient, mean_size, unit_mean
from cloakbench.methods.parts.transfer.convolutions import after_convolutions
from cloakbench.methods.parts.transfer.dropout import SurrogateDropout
from cloakbench.methods.parts.transfer.feature_loss import FeatureLoss, Features
from cloakbench.methods.parts.transfer.gradient_filter import GradientFilter
from cloakbench.methods.parts.transfer.views import RandomViews, ViewsInTurn

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
        colours: views in another light, under the others; None for none.
        cut_outs: views with something missing, over the others; None for none.
        views_per_step: how many views each network is shown at a step, whose gradients are added up; each is a pass.
        features: a loss of what recognisers see halfway, instead of the objective's or beside it; None for none.
        dropout: inside the networks; None for none.

    Raises:
        SettingError: a parameter is out of range.
    """

    def __init__(
        self,
        views: RandomViews | None = None,
        gradient_filter: GradientFilter | None = None,
        ensemble: Ensemble = "mean",
        colours: RandomViews | None = None,
        cut_outs: RandomViews | None = None,
        views_per_step: int = 1,
        features: FeatureLoss | None = None,
        dropout: SurrogateDropout | None = None,
    ) -> None:
        self.views = views
        self.gradient_filter = gradient_filter
        self.ensemble: Ensemble = one_of("ensemble", ensemble, get_args(Ensemble))
        self.colours, self.cut_outs = colours, cut_outs
        self.views_per_step = whole("views_per_step", views_per_step)
        self.features, self.dropout = features, dropout

    @property
    def looks(self) -> ViewsInTurn | None:
        """What networks are shown, all kinds of views together; None for the photos themselves."""
        kinds = [views for views in (self.colours, self.views, self.cut_outs) if views is not None]
        return ViewsInTurn(kinds) if kinds else None

    def begin(self, streams: ItemStreams, networks: Sequence[CountedNetwork], clean: Tensor) -> Gradients:
        """The gradients of one call by the networks of a kind.

        Args:
            streams: random ones, for each photo.
            networks: that are asked.
            clean: the photos as they are, ``[N, 3, H, W]``.
        """
        return Gradients(self, streams, networks, clean)


class Gradients:
    """Gradients of the same photos, again and again, at every call through other views.

    Views that all networks share are drawn from the streams themselves. Those that each network has of its own come
    from streams named by the digest of its weights, so that the order of networks decides nothing, and networks without
    a digest share theirs. So do dropout and what feature losses draw.

    Args:
        rule: how they are taken.
        streams: one for each photo.
        networks: that are asked.
        clean: the photos as they are, ``[N, 3, H, W]``.
    """

    def __init__(self, rule: Transfer, streams: ItemStreams, networks: Sequence[CountedNetwork], clean: Tensor) -> None:
        self._rule, self._streams, self._networks, self._looks = rule, streams, networks, rule.looks
        own = self._looks is not None and self._looks.for_each_network
        self._own = self._apart("views") if own else []
        self._thinned = self._apart("dropout") if rule.dropout else []
        self._features: list[Features] = []
        if rule.features:
            kept = zip(networks, self._apart("features"), strict=True)
            self._features = [rule.features.begin(network, clean, own) for network, own in kept]

    def __call__(self, photos: Tensor, loss: Callable[[int, Tensor], Tensor]) -> Tensor:
        """The gradient in ``photos``, ``[N, 3, H, W]``; one forward and one backward pass for each recogniser and view.

        Args:
            photos: not changed, and safe to change in place afterwards.
            loss: scalar of the number of a recogniser and its embeddings ``[N, D]``.
        """

        def slope(place: int, view: View | None) -> Tensor:
            if not self._features:
                return input_gradient(photos, [self._networks[place]], lambda _, seen: loss(place, seen), view)
            features, maps = self._features[place], list[Tensor]()
            wanted = features.loss_of(place, loss, view, maps)
            with after_convolutions(self._networks[place].model, features.keep(maps)):
                return input_gradient(photos, [self._networks[place]], lambda _, seen: wanted(place, seen), view)

        return self._combined(slope)

    def combined(self, slope: Callable[[int, View | None], Tensor]) -> Tensor:
        """The gradient ``[N, 3, H, W]`` of networks of any kind.

        Args:
            slope: the gradient by the network of a number, which is shown a view of the photos, or the photos.

        Raises:
            ValueError: there is a feature loss, which is one of recognisers.
        """
        if self._features:
            raise ValueError("a feature loss is for objectives of recognisers: set method.transfer.features=null")
        return self._combined(slope)

    def _combined(self, slope: Callable[[int, View | None], Tensor]) -> Tensor:
        views, count, times = self._looks, len(self._networks), self._rule.views_per_step
        shared = [None if views is None or self._own else self._streams.uniform(views.numbers) for _ in range(times)]

        def through_views(place: int) -> Tensor:
            with self._thin(place):
                return reduce(torch.add, (slope(place, self._view(place, draws)) for draws in shared))

        slopes = (through_views(place) for place in range(count))
        if self._rule.ensemble == "normalised":
            total = unit_mean(next(slopes))
            for gradient in slopes:
                total.addcdiv_(gradient, mean_size(gradient))
        else:
            total = reduce(torch.add, slopes)
            if count > 1:
                total = total / count
        return total if self._rule.gradient_filter is None else self._rule.gradient_filter(total)

    def _apart(self, purpose: str) -> list[ItemStreams]:
        """Streams of each network's own."""
        cards = [getattr(network.model, "card", None) for network in self._networks]
        return [self._streams.branch(purpose, getattr(card, "weights_sha256", "")) for card in cards]

    def _view(self, place: int, shared: Tensor | None) -> View | None:
        if self._looks is None:
            return None
        draws = shared if shared is not None else self._own[place].uniform(self._looks.numbers)
        return partial(self._looks.see, draws=draws)

    def _thin(self, place: int) -> AbstractContextManager[None]:
        if self._rule.dropout is None:
            return nullcontext()
        return self._rule.dropout.active(self._networks[place].model, self._thinned[place])
