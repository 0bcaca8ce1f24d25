"""Thresholds of a service that publishes no false accept rates, from its own scores of pairs of different people.

A pair counts as accepted when its score is at or above a threshold. A calibrated threshold is the smallest score above
one that was given, at which the share of accepted impostor pairs is at most the false accept rate. As for recognisers,
one that fewer than ten pairs reach is noise, and a gap; unlike there each pair is a call, so the pairs are a sample of
all, in which everybody occurs equally often.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.hashing import tensor_digest
from cloakbench.bench.core.status import OK, UNAVAILABLE
from cloakbench.bench.protocols.remote.remote_settings import RemoteSettings
from cloakbench.bench.protocols.verification.calibration import MIN_ACCEPTED_PAIRS, THRESHOLD_COLUMNS
from cloakbench.bench.report.estimate import records
from cloakbench.bench.statistics.intervals import identity_weights, percentile_interval
from cloakbench.datasets.base import FaceSet
from cloakbench.models.services import COMPARE, ServiceCard

_FEWEST_PEOPLE = 5
"""Under so many people a threshold has no interval."""
_DRAWS_AT_ONCE = 100


@dataclass(frozen=True)
class Impostors:
    """Pairs of clean photos of different people, who play no other part.

    Attributes:
        faces: of the role ``impostor``.
        pairs: rows of ``faces``, two and two.
    """

    faces: FaceSet
    pairs: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, faces: FaceSet, most: int) -> Impostors:
        """At most so many pairs, each once: neighbours in a circle of all people first, then those next to these, and
        so on; then the same with everybody's next photo."""
        return cls(faces, tuple(itertools.islice(_in_circles(list(faces.rows_by_identity().values())), most)))

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def inputs(self) -> list[object]:
        """What decides the scores, beside service and pictures: pixels by name, and the pairs."""
        return [tensor_digest(self.faces.images), list(self.faces.image_id), len(self.pairs)]

    def people(self) -> NDArray[np.int64]:
        """Both people of each pair as numbers ``[P, 2]``."""
        number = {person: place for place, person in enumerate(dict.fromkeys(self.faces.identity))}
        found = [[number[self.faces.identity[row]] for row in pair] for pair in self.pairs]
        return np.array(found, dtype=np.int64).reshape(-1, 2)


def _in_circles(rows: Sequence[Sequence[int]]) -> Iterator[tuple[int, int]]:
    people, seen = len(rows), set[tuple[int, int]]()
    for turn in range(max(map(len, rows), default=0)):
        for step in range(1, people // 2 + 1):
            for place in range(people):
                one, other = rows[place], rows[(place + step) % people]
                pair = one[turn % len(one)], other[turn % len(other)]
                if (ordered := (min(pair), max(pair))) not in seen:
                    seen.add(ordered)
                    yield ordered


def publishes_rates(card: ServiceCard) -> bool:
    """Whether comparisons have thresholds with a false accept rate: published ones, or some in each answer."""
    known = card.thresholds.get(COMPARE)
    return known is not None and (bool(known.by_far) or known.source == "answer")


def require_budget(card: ServiceCard, pairs: int, remote: RemoteSettings) -> None:
    """Refuse a calibration that the limits of a run do not allow.

    Raises:
        ConfigError: so it is; one line.
    """
    calls = math.ceil(pairs * card.requests_each.get(COMPARE, 1))
    cost = calls * card.price_per_call.get(COMPARE, 0.0)
    advice = "raise it, or ask about fewer with protocols.remote.impostor_pairs"
    asked = f"service {card.name}: remote.calibrate compares {pairs} impostor pairs"
    if remote.max_calls is not None and calls > remote.max_calls:
        raise ConfigError(f"{asked} in {calls} calls, and remote.max_calls={remote.max_calls}: {advice}")
    if remote.max_cost is not None and cost > remote.max_cost + 1e-9:
        told = f"{cost:.2f} {card.currency}".strip()
        raise ConfigError(f"{asked} for {told}, and remote.max_cost={remote.max_cost:g}: {advice}")


def thresholds_of(
    scores: ArrayLike, people: ArrayLike, fars: Iterable[float], resamples: int, seed: int
) -> pd.DataFrame:
    """Thresholds from impostor scores.

    The interval resamples people: a pair counts as often as both its people were drawn.

    Args:
        scores: of the service ``[P]``; NaN for pairs without one, as of photos in which it saw no face.
        people: both people of each pair as numbers ``[P, 2]``.
        fars: false accept rates.
        resamples, seed: of the bootstrap.

    Returns:
        One row per rate with the columns of `calibrate`; ``threshold`` is the smallest score that is accepted, NaN
        where there are too few pairs.
    """
    given = np.asarray(scores, dtype=np.float64)
    known = ~np.isnan(given)
    order = np.argsort(-given[known], kind="stable")
    ordered, pairs = given[known][order], np.asarray(people)[known][order].reshape(-1, 2)
    names, numbers = np.unique(pairs, return_inverse=True)
    numbers = numbers.reshape(-1, 2)
    lost = f"{(~known).sum()} pairs without a score left out" if not known.all() else ""
    rows = []
    for far in fars:
        row: dict[str, object] = {"far": far, "threshold": np.nan, "low": np.nan, "high": np.nan}
        row |= {"n_pairs": len(ordered), "n_identities": len(names), "status": OK, "note": lost}
        if len(ordered) * far < MIN_ACCEPTED_PAIRS:
            needed = math.ceil(MIN_ACCEPTED_PAIRS / far)
            gap = f"{len(ordered)} impostor pairs, a false accept rate of {far:g} needs {needed}"
            rows.append(row | {"status": UNAVAILABLE, "note": "; ".join(filter(None, (gap, lost)))})
            continue
        row["threshold"] = _above(ordered[int(far * len(ordered) * (1 + 1e-12))])
        if len(names) >= _FEWEST_PEOPLE:
            row["low"], row["high"] = _interval(ordered, numbers, len(names), far, resamples, seed)
        rows.append(row)
    return pd.DataFrame(rows, columns=list(THRESHOLD_COLUMNS))


def _interval(
    scores: NDArray[np.float64], pairs: NDArray[np.int64], people: int, far: float, resamples: int, seed: int
) -> tuple[float, float]:
    """95 % interval of a threshold; ``scores`` descend."""
    found = []
    for weights in identity_weights(people, resamples, seed):
        for drawn in np.array_split(weights, max(1, len(weights) // _DRAWS_AT_ONCE)):
            count = (drawn[:, pairs[:, 0]] * drawn[:, pairs[:, 1]]).cumsum(axis=1)
            place = (count <= far * count[:, -1:]).sum(axis=1).clip(max=len(scores) - 1)
            found.append(np.where(count[:, -1] > 0, scores[place], np.nan))
    low, high = percentile_interval(np.concatenate(found).astype(np.float64))
    return _above(float(low)), _above(float(high))


def _above(score: float) -> float:
    """The smallest number above a score, which a pair of that score does not reach."""
    return float(np.nextafter(score, math.inf))


def thresholds_in_words(table: pd.DataFrame) -> str:
    """For the setup of a report: ``61.20 [58.00, 63.10] at FAR 0.01; from 1000 impostor pairs of 60 people``."""
    lines = records(table)
    known = [
        f"{line['threshold']:.2f} [{line['low']:.2f}, {line['high']:.2f}] at FAR {line['far']:g}"
        for line in lines
        if line["status"] == OK
    ]
    pairs, people = lines[0]["n_pairs"], lines[0]["n_identities"]
    return f"{', '.join(known) or 'none'}; from {pairs} impostor pairs of {people} people"
