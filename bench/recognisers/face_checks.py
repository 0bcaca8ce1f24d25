"""Face checks of a recogniser: it tells people apart, and does so best with the input convention it is given.

A wrong pixel scale, range or channel order still runs and gives worse embeddings, which then look like weak recognition
or strong protection. So the convention is tried against the usual wrong ones. What is compared is d', the distance
between the mean cosines of same-person and different-person pairs in units of their pooled standard deviation (Green
and Swets, Signal Detection Theory and Psychophysics, 1966): the area under the ROC curve is so close to 1 for good
networks that it cannot tell RGB from BGR.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cloakbench.bench.core.checks import CheckResult, NotApplicableError, require, run_check
from cloakbench.bench.protocols.recognition.responses import answered
from cloakbench.bench.recognisers.pair_rates import area_under_curve
from cloakbench.bench.statistics.intervals import identity_weights, percentile_interval, ratio_interval
from cloakbench.datasets.base import FaceSet
from cloakbench.models.base import InputSpec, Recogniser, embed_in_batches

MIN_PEOPLE = 10
"""Fewer people with two photos say nothing about a recogniser."""
MIN_TOP1 = 0.9
"""What a usable recogniser reaches where its card states no Top-1; wrong pixel scales stay below."""
SAME_ANSWER = 1e-4
"""Embeddings closer than this are one answer: the network does not notice the change."""
PHOTOS_MOST = 5
"""Photos of one person that are looked at: more mates make Top-1 easier, and cards were measured with five."""
_PEOPLE_MOST = 60
_SEARCH_ROWS = 512

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Faces:
    """Faces to try a recogniser on.

    Attributes:
        known: several photos of each of a number of people; who has one photo only is looked for by nobody, but stays
            in the gallery.
        others: more people for the gallery.
    """

    known: FaceSet
    others: FaceSet | None = None


@dataclass(frozen=True)
class CheckSettings:
    """How faces are embedded and intervals drawn; see the keys of ``conf/recogniser.yaml``."""

    batch: int = 100
    device: str = "cpu"
    resamples: int = 1000
    seed: int = 0

    def embed(self, model: Recogniser, faces: FaceSet | None) -> Tensor:
        """Embeddings ``[N, D]`` on the CPU; of nobody ``[0, D]``.

        Raises:
            ValueError: an embedding is not finite.
        """
        if faces is None or not len(faces):
            return torch.empty(0, model.card.embedding_size)
        embeddings = embed_in_batches(model, faces.images, self.batch, torch.device(self.device))
        if lost := int((~answered(embeddings)).sum()):
            raise ValueError(f"{lost} of {len(embeddings)} faces have no finite embedding: check weights, mean and std")
        return embeddings


def check_on_faces(
    model: Recogniser, faces: Faces | None, reason: str = "", settings: CheckSettings | None = None
) -> list[CheckResult]:
    """Colour order, input scale and range, and clean Top-1.

    Args:
        model: the recogniser, on the device of ``settings``.
        faces: what to try it on; None skips every check.
        reason: why there are no faces.
        settings: how; the defaults otherwise.
    """
    settings = settings or CheckSettings()
    trial = _Trial(model, faces, reason, settings)
    checks: dict[str, Callable[[], str]] = {
        name: lambda wrong=wrong: trial.compare(wrong) for name, wrong in wrong_inputs(model.inputs).items()
    }
    checks["clean Top-1"] = trial.top1
    return [run_check(name, check) for name, check in checks.items()]


def wrong_inputs(inputs: InputSpec) -> dict[str, InputSpec]:
    """Name of the check to the usual wrong convention: swapped channels, the IR-50 trap (public code feeds one set of
    weights with scales that differ by ten), and [0, 1] for [-1, 1] or the other way round."""

    def times(factor: float) -> float | tuple[float, float, float]:
        if isinstance(inputs.std, float | int):
            return inputs.std * factor
        red, green, blue = inputs.std
        return (red * factor, green * factor, blue * factor)

    centred = float(np.mean(inputs.mean)) > 0.25
    return {
        "colour order": replace(inputs, channel_order="rgb" if inputs.channel_order == "bgr" else "bgr"),
        "input scale, not 10 times": replace(inputs, std=times(0.1)),
        "input scale, not a tenth": replace(inputs, std=times(10)),
        "input range": replace(inputs, mean=0.0, std=times(2)) if centred else replace(inputs, mean=0.5),
    }


@dataclass(frozen=True)
class Separation:
    """How far same-person and different-person cosines lie apart.

    ``replicates`` holds d' of each bootstrap draw of people.
    """

    d_prime: float
    gap: float
    auc: float
    replicates: Floats

    def __str__(self) -> str:
        return f"d' {self.d_prime:.2f} (gap {self.gap:.3f}, AUC {self.auc:.4f})"


def separation(embeddings: Tensor, person: Tensor, resamples: int, seed: int) -> Separation:
    """Of all pairs of ``embeddings`` ``[N, D]``; ``person`` holds integers ``[N]``, everybody with two photos or more.

    Resampling draws people: a pair counts as often as the product of the draws of its two people.
    """
    people, place = person.unique(return_inverse=True)
    member = torch.nn.functional.one_hot(place, len(people)).double()
    cosines = embeddings.double() @ embeddings.double().T
    # Sums over the pairs of every two people of 1, cosine and squared cosine: all that means and variances need.
    sums = torch.stack([member.T @ power @ member for power in (torch.ones_like(cosines), cosines, cosines**2)])
    own = torch.stack([member.T @ power for power in (torch.ones(len(person)).double(), *[cosines.diagonal()] * 2)])
    within = ((sums.diagonal(dim1=1, dim2=2) - own) / 2).numpy()
    between = sums.numpy()
    between[:, range(len(people)), range(len(people))] = 0

    def moments(weights: Floats) -> tuple[Floats, Floats]:
        """Gap and d' under weights of people ``[R, P]``."""
        stats = []
        genuine = weights @ within.T
        impostor = np.einsum("rp,kpq,rq->rk", weights, between, weights, optimize=True)
        for count, total, squares in (genuine.T, impostor.T):
            mean = total / count
            stats.append((mean, np.maximum(squares / count - mean**2, 1e-12)))
        (mean, spread), (other_mean, other_spread) = stats
        return mean - other_mean, (mean - other_mean) / np.sqrt((spread + other_spread) / 2)

    [gap], [d_prime] = moments(np.ones((1, len(people))))
    draws = [moments(weights.astype(np.float64))[1] for weights in identity_weights(len(people), resamples, seed)]
    scores = cosines.triu(diagonal=1)
    pairs = torch.ones_like(cosines, dtype=torch.bool).triu(diagonal=1)
    same = place[:, None] == place[None]
    auc = area_under_curve(scores[pairs & same].numpy(), scores[pairs & ~same].numpy())
    return Separation(float(d_prime), float(gap), auc, np.concatenate(draws))


def leave_one_out_hits(embeddings: Tensor, person: Tensor, others: Tensor) -> Tensor:
    """For each photo whether its nearest other face shows the same person, bool ``[N]``; a tie is no hit.

    Args:
        embeddings: ``[N, D]``, who is looked for and, all but the photo itself, the gallery.
        person: integers ``[N]``.
        others: the rest of the gallery, ``[G, D]``.
    """
    gallery = torch.cat([embeddings, others]).double().T
    names = torch.cat([person, person.new_full((len(others),), -1)])
    hits = []
    for start in range(0, len(embeddings), _SEARCH_ROWS):
        rows = torch.arange(start, min(start + _SEARCH_ROWS, len(embeddings)))
        scores = (embeddings[rows].double() @ gallery).float()
        scores[torch.arange(len(rows)), rows] = -torch.inf
        mate = names[None] == person[rows, None]
        best_mate = scores.masked_fill(~mate, -torch.inf).amax(dim=1)
        hits.append(best_mate > scores.masked_fill(mate, -torch.inf).amax(dim=1))
    return torch.cat(hits)


class _Trial:
    """One recogniser on one set of faces; what every check needs is computed once."""

    def __init__(self, model: Recogniser, faces: Faces | None, reason: str, settings: CheckSettings) -> None:
        self.model, self.faces, self.reason, self.settings = model, faces, reason, settings
        self._configured: tuple[Tensor, Separation] | None = None

    def compare(self, wrong: InputSpec) -> str:
        """The configured convention against a wrong one, on the same faces and draws of people."""
        some = self._some()
        if wrong.channel_order != self.model.inputs.channel_order and _grey(some.images):
            raise NotApplicableError("these faces are grey: their channels are equal")
        if self._configured is None:
            self._configured = self._separation(self.model, some)
        embeddings, right = self._configured
        model = copy.copy(self.model)
        model.inputs = wrong
        try:
            changed, other = self._separation(model, some)
        except ValueError:  # too large for float32, for instance
            return f"{right}; the wrong one gives no finite embeddings"
        if float((embeddings - changed).abs().max()) < SAME_ANSWER:
            raise NotApplicableError("makes no difference to this network's answer")
        low, high = percentile_interval(right.replicates - other.replicates)
        seen = (
            f"{right}; wrong {other}, lower by {right.d_prime - other.d_prime:.2f} [{low:.2f}, {high:.2f}]; "
            f"{len(some)} photos of {len(some.identities())} people"
        )
        require(right.d_prime > other.d_prime, seen)
        return seen

    def top1(self) -> str:
        """Leave-one-out Top-1 with its identity interval, against what the card says."""
        (known, single), settings = self._given(), self.settings
        others = self.faces.others if self.faces else None
        gallery = torch.cat([settings.embed(self.model, faces) for faces in (single, others)])
        hits = leave_one_out_hits(settings.embed(self.model, known), known.labels(), gallery).double().numpy()
        rate = ratio_interval(
            hits, np.ones(len(hits)), np.array(known.identity), self.settings.resamples, self.settings.seed
        )
        seen = (
            f"{rate.value:.2%} [{rate.low:.2%}, {rate.high:.2%}], {int(hits.sum())} of {len(hits)} photos of "
            f"{rate.n_identities} people, {len(gallery)} others in the gallery"
        )
        stated = self.model.card.clean_top1
        if stated is None:
            require(rate.high >= MIN_TOP1, f"{seen}; the card states none, and {MIN_TOP1:.0%} is the least")
            return f"{seen}; the card states none"
        require(rate.high >= stated, f"{seen}; below the card's {stated:.2%}")
        return f"{seen}; " + ("above" if rate.low > stated else "agrees with") + f" the card's {stated:.2%}"

    def _given(self) -> tuple[FaceSet, FaceSet]:
        """The first photos of everybody who has several, and the photos of those who have one."""
        if self.faces is None:
            raise NotApplicableError(self.reason)
        known, single = _split(self.faces.known)
        people = len(known.identities())
        if people < MIN_PEOPLE:
            raise NotApplicableError(f"{people} people with two photos or more, and {MIN_PEOPLE} are needed")
        return known.select([row for rows in known.rows_by_identity().values() for row in rows[:PHOTOS_MOST]]), single

    def _some(self) -> FaceSet:
        """The first people: enough for d', and few enough for five conventions."""
        known, _ = self._given()
        chosen = set(known.identities()[:_PEOPLE_MOST])
        return known.select([row for row, name in enumerate(known.identity) if name in chosen])

    def _separation(self, model: Recogniser, faces: FaceSet) -> tuple[Tensor, Separation]:
        embeddings = self.settings.embed(model, faces)
        return embeddings, separation(embeddings, faces.labels(), self.settings.resamples, self.settings.seed)


def _split(faces: FaceSet) -> tuple[FaceSet, FaceSet]:
    """Photos of people with at least two, and the others."""
    counts = Counter(faces.identity)
    several = torch.tensor([counts[name] > 1 for name in faces.identity], dtype=torch.bool)
    return faces.select(several.nonzero()[:, 0]), faces.select((~several).nonzero()[:, 0])


def _grey(images: Tensor) -> bool:
    return bool((images[:, 0] == images[:, 2]).all())
