"""`OwnAnswers`: what attribute surrogates say about clean photos, which methods move photos away from.

The answers are the labels, for every method: what a data set says about a photo never reaches a method, since whoever
protects a photo knows what a network answers, and nothing more is needed to change it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.methods.context import CountedNetwork, ProtectContext
from cloakbench.methods.parts.objectives import unit_mean

Labels = Mapping[str, Tensor]
"""Attribute to class numbers, long ``[N]``."""


@dataclass(frozen=True)
class OwnAnswers:
    """Attribute surrogates and the class that each gave each clean photo.

    Attributes:
        surrogates: more than one is an ensemble, whose losses are averaged.
        classes: for each surrogate its answers.
    """

    surrogates: tuple[CountedNetwork, ...]
    classes: tuple[Labels, ...]

    @classmethod
    @torch.no_grad()
    def of(cls, images: Tensor, context: ProtectContext) -> OwnAnswers:
        """The answers to clean photos ``[N, 3, H, W]``, one pass through each network.

        Raises:
            ValueError: an answer is not finite, so that there is nothing to move away from.
        """
        surrogates = context.attribute_surrogates
        return cls.read(surrogates, [model.logits(images) for model in surrogates])

    @classmethod
    def read(cls, surrogates: Sequence[CountedNetwork], answers: Sequence[Mapping[str, Tensor]]) -> OwnAnswers:
        """From the scores that each surrogate gave the clean photos, attribute to ``[N, C]``.

        Raises:
            ValueError: as `of`.
        """
        for name, scores in ((name, scores) for answer in answers for name, scores in answer.items()):
            if bad := int((~scores.isfinite()).any(dim=1).sum()):
                raise ValueError(
                    f"an attribute surrogate's answer to {name} is not finite for {bad} of {len(scores)} clean photos: "
                    "check its weights and its input scale"
                )
        classes = [{name: scores.argmax(dim=1) for name, scores in answer.items()} for answer in answers]
        return cls(tuple(surrogates), tuple(classes))

    def distance(self, photos: Tensor) -> Tensor:
        """J: how far photos ``[N, 3, H, W]`` are from being answered as they were, ``[N]``.

        The mean over attributes of the cross-entropy of the clean answer, and over surrogates (Yang et al., TIFS 2025,
        section VI-A: "adapted" to several attributes).
        """
        terms = [
            attribute_losses(model, model.logits(photos), labels).mean(dim=0)
            for model, labels in zip(self.surrogates, self.classes, strict=True)
        ]
        return torch.stack(terms).mean(dim=0)

    def gradient(
        self,
        surrogate: int,
        photos: Tensor,
        transform: Callable[[Tensor], Tensor] | None = None,
        *,
        per_attribute_l1: bool = False,
    ) -> Tensor:
        """Gradient of minus one surrogate's J in the photos, so that going against it changes answers.

        Args:
            surrogate: its number; an ensemble is `cloakbench.methods.parts.transfer.ensemble.Gradients`'s affair.
            photos: ``[N, 3, H, W]``; not changed, and safe to change in place afterwards.
            transform: differentiable, applied to the photos before the surrogate.
            per_attribute_l1: each attribute's gradient has the same mean size before they are added, per photo; else
                one that is answered confidently has next to none, and another decides every sign.
        """
        leaf = photos.detach().requires_grad_()
        terms = self._terms(surrogate, leaf, transform)
        if not per_attribute_l1:
            return torch.autograd.grad(-terms.mean(), leaf)[0]
        return -torch.stack([unit_mean(part) for part in _each(terms, leaf)]).mean(dim=0)

    def attribute_gradients(self, photos: Tensor) -> Tensor:
        """Gradient of each attribute's loss in the photos, ``[K, N, 3, H, W]``: going along it changes the answer.

        The mean over surrogates.
        """
        total = torch.zeros(())
        for surrogate in range(len(self.surrogates)):
            leaf = photos.detach().requires_grad_()
            total = total + torch.stack(list(_each(self._terms(surrogate, leaf, None), leaf)))
        return total / len(self.surrogates)

    def _terms(self, surrogate: int, leaf: Tensor, transform: Callable[[Tensor], Tensor] | None) -> Tensor:
        """The loss of each attribute by one surrogate, summed over photos, ``[K]``."""
        model = self.surrogates[surrogate]
        scores = model.logits(leaf if transform is None else transform(leaf))
        return attribute_losses(model, scores, self.classes[surrogate]).sum(dim=1)


def _each(terms: Tensor, leaf: Tensor) -> Iterator[Tensor]:
    """The gradient of each of several terms, one after the other."""
    for place, term in enumerate(terms):
        yield torch.autograd.grad(term, leaf, retain_graph=place + 1 < len(terms))[0]


def attribute_losses(model: CountedNetwork, scores: Mapping[str, Tensor], labels: Labels) -> Tensor:
    """Loss of each attribute for each photo, ``[K, N]``: the cross-entropy of the labels.

    Where a network answers by a value it is the squared error against the middle of the labelled bin, in bin widths.

    Args:
        model: whose scores they are; it says which attributes are answered by a value.
        scores: attribute to ``[N, C]``, see `cloakbench.models.attribute_surrogate.AttributeSurrogate`.
        labels: classes of the attributes.
    """
    by_value = getattr(model.model, "by_value", frozenset())
    terms = []
    for name, given in scores.items():
        kept = given if name in by_value else F.log_softmax(given, dim=1)
        terms.append(-kept.gather(1, labels[name].unsqueeze(1)).squeeze(1))
    return torch.stack(terms)
