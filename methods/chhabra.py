"""Chhabra et al.: the smallest change under which chosen attributes are misread and others are read as before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import at_least, positive, whole
from cloakbench.methods.base import Goal, Protector, Scope
from cloakbench.methods.context import CountedNetwork, Need, ProtectContext
from cloakbench.methods.parts.attributes.matcher import FaceMatcher
from cloakbench.methods.parts.attributes.own_answers import OwnAnswers
from cloakbench.methods.photo_batch import PhotoBatch

_INSIDE = 1 - 1e-6
"""How near to the ends of the range the inverse of tanh is taken."""
_MOST = 1e10
_ROW = (-1, 1, 1, 1)


class Chhabra(Protector):
    """``x' = (1 + tanh(artanh(2x - 1) + w)) / 2`` with the w that minimises the squared change and missed margins.

    Per photo, by Adam from w = 0: ``|x' - x|^2 + c (sum_hide max(z_y - max_j z_j, -m) + sum_keep max(max_j z_j - z_y,
    -m)) + v |f(x') - f(x)|^2``, z the scores of an attribute, y the answer to the clean photo, f a recogniser. c begins
    small; where nothing was found it is ten times as large in the next search, or halfway to one that found something,
    and halfway down where something was. Of all photos on the way under which every attribute to hide is misread, and
    none to keep, the nearest is returned, and the clean photo where there is none (``success: no``).

    Paper: Chhabra, Singh, Vatsa and Gupta, "Anonymizing k-Facial Attributes via Adversarial Perturbations", IJCAI 2018.
    Official settings: no code; Yang et al., "Invisible-Face", TIFS 2025, say that it draws on the attack of Carlini and
    Wagner, whose search this is.
    Deviations: 200 steps of 0.01, five searches from c = 0.01 and margin 0 are ours. Margins are read off the photo in
    8 bits, as it is published, since the nearest photo lies at the border and rounding would take it back; its slope
    passes the rounding unchanged. Labels are the surrogates' own answers.

    Args:
        matcher: f; used where ``identity_weight`` is not 0.
        keep: attributes that are to be read as before; all others are hidden.
        searches: values of c tried for each photo.
        search_steps: steps of each search.
        learning_rate: of Adam, in w.
        first_weight: c of the first search.
        margin: m, in scores.
        identity_weight: v.

    Raises:
        ValueError: a parameter is out of range; at use, ``keep`` names an attribute that is not there, or all of them.
    """

    name: ClassVar[str] = "chhabra"
    scope: ClassVar[Scope] = "image"
    goal: Goal = "hide attributes"
    paper: ClassVar[str] = "Chhabra et al., Anonymizing k-Facial Attributes via Adversarial Perturbations, IJCAI 2018"
    official_settings: ClassVar[str] = "no code; after the L2 attack of Carlini and Wagner"
    deviations: ClassVar[str] = "steps and weights are ours; margins are read in 8 bits; labels are surrogates' answers"
    needs = frozenset({Need.ATTRIBUTE_SURROGATES})
    max_change_255 = 255.0

    def __init__(
        self,
        matcher: FaceMatcher,
        *,
        keep: Sequence[str] = (),
        searches: int = 5,
        search_steps: int = 200,
        learning_rate: float = 0.01,
        first_weight: float = 0.01,
        margin: float = 0.0,
        identity_weight: float = 0.0,
    ) -> None:
        self.matcher = matcher
        self.keep = tuple(keep)
        self.searches, self.search_steps = whole("searches", searches), whole("search_steps", search_steps)
        self.learning_rate = positive("learning_rate", learning_rate)
        self.first_weight = positive("first_weight", first_weight)
        self.margin = at_least("margin", margin)
        self.identity_weight = at_least("identity_weight", identity_weight)

    def files_read(self, image_id: Sequence[str]) -> Mapping[str, str]:
        return {"matcher": self.matcher.fingerprint()} if self.identity_weight else {}

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        own = OwnAnswers.of(batch.images, context)
        self._check_names(own)
        likeness = Likeness.of(batch.images, self.matcher, context) if self.identity_weight else None
        found = Nearest(batch.images)
        weights = Weights(len(batch.images), self.first_weight, context.device)
        for _ in range(self.searches):
            weights.after(self._search(batch.images, own, likeness, weights.tried, found))
        success = found.squares.isfinite().tolist()
        answers = {name: "yes" if good else "no" for name, good in zip(batch.image_id, success, strict=True)}
        context.facts.update(success=answers, converged=all(success))
        return found.photos

    def _search(
        self, images: Tensor, own: OwnAnswers, likeness: Likeness | None, weights: Tensor, found: Nearest
    ) -> Tensor:
        """One search, which leaves the nearest photos in ``found``; which photos it hid, ``[N]``."""
        origin = (_INSIDE * (2 * images - 1)).atanh()
        moved = torch.zeros_like(images).requires_grad_()
        optimiser = torch.optim.Adam([moved], lr=self.learning_rate)
        hidden = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        for _ in range(self.search_steps):
            photos = (1 + (origin + moved).tanh()) / 2
            published = photos + ((255 * photos).round() / 255 - photos).detach()
            missed, wrong = self.margins(own, published)
            loss = (photos - images).square().sum(dim=(1, 2, 3)) + weights * missed
            if likeness is not None:
                loss = loss + self.identity_weight * likeness.distance(published)
            hidden |= wrong
            found.offer(published.detach(), wrong)
            (moved.grad,) = torch.autograd.grad(loss.sum(), moved)
            optimiser.step()
        return hidden

    def margins(self, own: OwnAnswers, photos: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of missed margins ``[N]``, the mean over surrogates, and whether all have what is wanted, ``[N]``."""
        sums, all_wrong = [], torch.ones(len(photos), dtype=torch.bool, device=photos.device)
        for model, labels in zip(own.surrogates, own.classes, strict=True):
            terms = []
            for name, scores in model.logits(photos).items():
                place = labels[name].unsqueeze(1)
                others = scores.scatter(1, place, -torch.inf).amax(dim=1)
                ahead = scores.gather(1, place).squeeze(1) - others
                ahead = -ahead if name in self.keep else ahead
                terms.append(ahead.clamp(min=-self.margin))
                all_wrong &= (ahead < 0) & (ahead <= -self.margin)
            sums.append(torch.stack(terms).sum(dim=0))
        return torch.stack(sums).mean(dim=0), all_wrong.detach()

    def _check_names(self, own: OwnAnswers) -> None:
        names = tuple(own.classes[0])
        if unknown := [name for name in self.keep if name not in names]:
            raise ValueError(f"{self.name}: keep names {unknown[0]}, and the attributes are {', '.join(names)}")
        if set(self.keep) == set(names):
            raise ValueError(f"{self.name}: keep names all attributes ({', '.join(names)}); leave one to hide")


class Nearest:
    """For each photo the nearest one offered so far that was good; the photo itself as long as there is none.

    Args:
        images: the photos ``[N, 3, H, W]``.

    Attributes:
        photos: the nearest ones.
        squares: their squared distances ``[N]``; infinite where there is none.
    """

    def __init__(self, images: Tensor) -> None:
        self._images = images
        self.photos = images.clone()
        self.squares = images.new_full((len(images),), torch.inf)

    def offer(self, photos: Tensor, good: Tensor) -> None:
        """Take those that are good and nearer than what there is."""
        squares = (photos - self._images).square().sum(dim=(1, 2, 3))
        better = good & (squares < self.squares)
        self.squares = torch.where(better, squares, self.squares)
        self.photos = torch.where(better.view(_ROW), photos, self.photos)


class Weights:
    """Search by halves for the smallest c of each photo that hides it.

    Args:
        photos: how many.
        first: what is tried first.
        device: of the values.

    Attributes:
        tried: c of the search at hand, ``[N]``.
    """

    def __init__(self, photos: int, first: float, device: torch.device) -> None:
        self.tried = torch.full((photos,), first, device=device)
        self._low, self._high = torch.zeros_like(self.tried), torch.full_like(self.tried, _MOST)

    def after(self, hidden: Tensor) -> None:
        """The next c, given which photos ``[N]`` the last one hid."""
        self._high = torch.where(hidden, torch.minimum(self._high, self.tried), self._high)
        self._low = torch.where(hidden, self._low, torch.maximum(self._low, self.tried))
        middle = (self._low + self._high) / 2
        self.tried = torch.where(self._high < _MOST, middle, 10 * self.tried)


@dataclass(frozen=True)
class Likeness:
    """What a recogniser made of the clean photos."""

    matcher: CountedNetwork
    known: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, images: Tensor, matcher: FaceMatcher, context: ProtectContext) -> Likeness:
        """Of clean photos ``[N, 3, H, W]``."""
        loaded = matcher.load(context)
        return cls(loaded, loaded.embed(images))

    def distance(self, photos: Tensor) -> Tensor:
        """Squared distance of embeddings, ``[N]``."""
        return (self.matcher.embed(photos) - self.known).square().sum(dim=1)
