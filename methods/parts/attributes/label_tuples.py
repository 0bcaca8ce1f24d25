"""`LabelTuples`: answers that photos may be moved to, several at a time, each wrong about every attribute."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cloakbench.methods.parts.attributes.own_answers import Labels, OwnAnswers, attribute_losses
from cloakbench.methods.parts.item_rng import ItemStreams

_EXACT = 2**24
"""A float32 in [0, 1) names at most so many places; what goes beyond is not drawn from."""


@dataclass(frozen=True)
class LabelTuples:
    """Clean answers, and for each photo tuples of one other class per attribute.

    Attributes:
        own: what photos leave.
        tuples: for each surrogate attribute to classes, long ``[N, m]``.
    """

    own: OwnAnswers
    tuples: tuple[Labels, ...]

    @classmethod
    def drawn(
        cls, own: OwnAnswers, widths: Sequence[Mapping[str, int]], most: int, streams: ItemStreams
    ) -> LabelTuples:
        """Tuples drawn from the streams of the photos; all there are, where there are no more than asked for.

        Args:
            own: what photos leave.
            widths: for each surrogate attribute to its number of classes.
            most: how many to draw.
            streams: one for each photo.
        """
        drawn = streams.uniform(most)
        tuples = tuple(_others(labels, counts, drawn) for labels, counts in zip(own.classes, widths, strict=True))
        return cls(own, tuples)

    @property
    def count(self) -> int:
        """Tuples, m."""
        return next(iter(self.tuples[0].values())).shape[1]

    def answers(self, photos: Tensor) -> list[Mapping[str, Tensor]]:
        """Scores per surrogate, attribute to ``[N, C]``."""
        return [model.logits(photos) for model in self.own.surrogates]

    def loss(self, answers: Sequence[Mapping[str, Tensor]], target: int) -> Tensor:
        """``sum_k CE(M_k, t_k) - CE(M_k, y_k)`` per photo ``[N]``, the mean over surrogates."""
        terms = []
        for model, scores, own, tuples in zip(self.own.surrogates, answers, self.own.classes, self.tuples, strict=True):
            chosen = {name: column[:, target] for name, column in tuples.items()}
            towards, away = (attribute_losses(model, scores, labels) for labels in (chosen, own))
            terms.append((towards - away).sum(dim=0))
        return torch.stack(terms).mean(dim=0)

    def margins(self, photos: Tensor) -> Iterator[Tensor]:
        """``J_y - J_t`` per candidate and tuple, ``[g N, m]``, J the mean cross-entropy over attributes."""
        for model, own, tuples in zip(self.own.surrogates, self.own.classes, self.tuples, strict=True):
            scores = model.logits(photos)
            away = attribute_losses(model, scores, _repeated(own, len(photos))).mean(dim=0)
            towards = [
                attribute_losses(
                    model, scores, _repeated({name: column[:, place] for name, column in tuples.items()}, len(photos))
                ).mean(dim=0)
                for place in range(self.count)
            ]
            yield away.unsqueeze(1) - torch.stack(towards, dim=1)


def _repeated(labels: Labels, rows: int) -> Labels:
    """Labels of N photos for g candidates of each, ``[g N]``."""
    return {name: column.repeat(rows // len(column)) for name, column in labels.items()}


def _others(labels: Labels, widths: Mapping[str, int], drawn: Tensor) -> Labels:
    """Classes ``[N, m]`` other than ``labels``: a number for each tuple, whose digits say how many classes further."""
    possible = math.prod(width - 1 for width in widths.values())
    if possible <= drawn.shape[1]:
        code = torch.arange(possible, device=drawn.device).expand(len(drawn), -1)
    else:
        code = (drawn * min(possible, _EXACT)).long()
    found = {}
    for name, width in widths.items():
        found[name] = (labels[name].unsqueeze(1) + 1 + code % (width - 1)) % width
        code = code // (width - 1)
    return found
