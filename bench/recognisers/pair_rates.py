"""Face verification over a list of labelled pairs: accuracy by LFW's protocol, and the ROC curve.

Accuracy (Huang et al., "Labeled Faces in the Wild", UMass Amherst TR 07-49, 2007, View 2): the pairs come in folds; for
each fold the threshold is the one that is best on all other folds, and the result is the mean over folds with its
standard error, the sample standard deviation of the fold accuracies over the square root of their number. Where
several thresholds are equally good, the middle one is taken.

A pair is accepted when its cosine is strictly above the threshold. A pair of which a photo failed has no cosine: it is
left out of every rate, or, in ``accuracy_failed_wrong``, counted as decided wrongly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cloakbench.bench.core.status import OK, UNAVAILABLE
from cloakbench.bench.engine.rates import MEASUREMENT_FIELDS
from cloakbench.bench.protocols.verification.calibration import FARS, MIN_ACCEPTED_PAIRS
from cloakbench.bench.protocols.verification.protocol import far_label
from cloakbench.bench.statistics.intervals import identity_weights, percentile_interval, wilson

FOLDS = 10
PAIR_FIELDS = (*MEASUREMENT_FIELDS[:4], "standard_error", *MEASUREMENT_FIELDS[4:])

_MIN_IDENTITIES = 5
_DRAWN_PAIRS_AT_ONCE = 2_000_000

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class ScoredPairs:
    """What a recogniser says about labelled pairs; P entries each.

    Attributes:
        score: cosine, NaN where a photo of the pair failed.
        same: both photos show one person.
        fold: the fold of each pair.
        left, right: the person of each photo, as integers (`people_of_pairs`).
    """

    score: Floats
    same: Bools
    fold: Ints
    left: Ints
    right: Ints

    def usable(self) -> ScoredPairs:
        """The pairs that have a score."""
        keep = ~np.isnan(self.score)
        return ScoredPairs(self.score[keep], self.same[keep], self.fold[keep], self.left[keep], self.right[keep])


def people_of_pairs(left: Sequence[str], right: Sequence[str], same: Bools) -> tuple[Ints, Ints]:
    """The person in each photo of a pair list, as integers ``[P]`` for either side.

    Lists name photos, not people. Photos of one same-person pair are one person; so are photos of one folder, unless
    the list says of two of them that they are not (a folder is then no person, and only same-person pairs count).
    """
    names, place = np.unique(np.array([*left, *right]), return_inverse=True)
    a, b = place[: len(left)], place[len(left) :]
    folders = [str(PurePosixPath(name).parent) for name in names]
    first = {folder: row for row, folder in reversed(list(enumerate(folders)))}
    first.pop(".", None)
    by_folder = np.array([first.get(folder, row) for row, folder in enumerate(folders)])

    def linked(starts: Ints, ends: Ints) -> Ints:
        graph = coo_array((np.ones(len(starts)), (starts, ends)), shape=(len(names), len(names)))
        return connected_components(graph, directed=False)[1].astype(np.int64)

    person = linked(np.concatenate([a[same], np.arange(len(names))]), np.concatenate([b[same], by_folder]))
    if (person[a] == person[b])[~same].any():
        person = linked(a[same], b[same])
    return person[a], person[b]


def folds_by_order(same: Bools, folds: int = FOLDS) -> Ints:
    """Folds for a list without any: the first tenth of the same-person and of the different-person pairs are fold 0,
    and so on, as in LFW's list. Unlike there, a person may be in two folds."""
    fold = np.zeros(len(same), dtype=np.int64)
    for kind in (same, ~same):
        fold[kind] = np.arange(kind.sum()) * folds // max(1, kind.sum())
    return fold


def area_under_curve(genuine: NDArray[np.floating], impostor: NDArray[np.floating]) -> float:
    """Probability that a same-person pair scores above another pair, ties counted half (Mann-Whitney); NaN without
    pairs of either kind."""
    if not len(genuine) or not len(impostor):
        return float("nan")
    ordered = np.sort(impostor)
    below, up_to = (np.searchsorted(ordered, genuine, side) for side in ("left", "right"))
    return float((below + up_to).mean() / 2 / len(impostor))


def fold_accuracies(pairs: ScoredPairs) -> tuple[Floats, Floats]:
    """Share of right decisions in each fold, and the threshold it was decided with, which the other folds chose.

    Raises:
        ValueError: a single fold, or folds without pairs of both kinds beside them.
    """
    accuracies, thresholds = [], []
    for number in np.unique(pairs.fold):
        held_out = pairs.fold == number
        threshold = best_threshold(pairs.score[~held_out], pairs.same[~held_out])
        accuracies.append(((pairs.score[held_out] > threshold) == pairs.same[held_out]).mean())
        thresholds.append(threshold)
    return np.array(accuracies), np.array(thresholds)


def best_threshold(score: Floats, same: Bools) -> float:
    """The threshold with most right decisions, half way between two scores; the middle one of equals.

    Raises:
        ValueError: not both kinds of pairs.
    """
    if same.all() or not same.any():
        raise ValueError("a threshold needs pairs of one person and of two")
    values, place = np.unique(score, return_inverse=True)
    signs = np.bincount(place, np.where(same, -1.0, 1.0))
    # Below all scores every pair is accepted; each value that is passed loses its genuine pairs and gains the others.
    right = same.sum() + np.concatenate([[0.0], signs.cumsum()])
    candidates = np.concatenate([[values[0] - 1], (values[:-1] + values[1:]) / 2, [values[-1]]])
    best = np.flatnonzero(right == right.max())
    return float(candidates[best[len(best) // 2]])


def pair_rates(pairs: ScoredPairs, resamples: int, seed: int, fars: Sequence[float] = FARS) -> pd.DataFrame:
    """Every rate with the columns `PAIR_FIELDS`.

    ``accuracy`` and ``accuracy_failed_wrong`` have a standard error over folds; ``auc``, ``eer`` and ``tar_far_*`` a
    95 % interval from a bootstrap over people, in which a pair counts as often as both its people were drawn. ``n`` is
    pairs in the denominator, ``n_failed`` pairs without a score that are not in it.
    """
    usable = pairs.usable()
    n_failed = len(pairs.score) - len(usable.score)
    people = np.unique(np.concatenate([usable.left, usable.right]))
    common = {"n": len(usable.score), "n_failed": n_failed, "n_identities": len(people)}
    rows = [
        common | row for row in (*_accuracy_rows(pairs, usable), *_curve_rows(usable, people, resamples, seed, fars))
    ]
    return pd.DataFrame(rows).reindex(columns=list(PAIR_FIELDS))


def _accuracy_rows(pairs: ScoredPairs, usable: ScoredPairs) -> list[dict[str, object]]:
    names = ("accuracy", "accuracy_failed_wrong")
    kinds = [usable.same.sum(), (~usable.same).sum()]
    folds = np.unique(usable.fold)
    others = [usable.same[usable.fold != fold] for fold in folds]
    if len(folds) < 2 or any(same.all() or not same.any() for same in others):
        gap = f"{kinds[0]} same and {kinds[1]} different pairs in {len(folds)} folds are too few"
        return [{"metric": name, "status": UNAVAILABLE, "note": gap, "n": 0} for name in names]
    accuracies, thresholds = fold_accuracies(usable)
    right = dict(zip(folds, accuracies * [(usable.fold == fold).sum() for fold in folds], strict=True))
    failed_wrong = np.array([right.get(fold, 0) / (pairs.fold == fold).sum() for fold in np.unique(pairs.fold)])
    notes = (
        f"{len(folds)} folds, thresholds {thresholds.min():.4f} to {thresholds.max():.4f}",
        f"{len(pairs.score) - len(usable.score)} failed pairs counted as decided wrongly",
    )
    rows: list[dict[str, object]] = [
        {
            "metric": name,
            "value": values.mean(),
            "standard_error": values.std(ddof=1) / np.sqrt(len(values)),
            "status": OK,
            "note": note,
        }
        for name, values, note in zip(names, (accuracies, failed_wrong), notes, strict=True)
    ]
    rows[1] |= {"n": len(pairs.score), "n_failed": 0}
    return rows


def _curve_rows(
    pairs: ScoredPairs, people: Ints, resamples: int, seed: int, fars: Sequence[float]
) -> list[dict[str, object]]:
    names = ["auc", "eer", *(f"tar_far_{far_label(far)}" for far in fars)]
    impostors = int((~pairs.same).sum())
    if pairs.same.all() or not pairs.same.any():
        gap = "the usable pairs are all of one kind"
        return [{"metric": name, "status": UNAVAILABLE, "note": gap, "n": 0} for name in names]
    curve = _Curve(pairs)
    values = curve.rates(np.ones((1, len(pairs.score))), fars)[0]
    low, high = np.full_like(values, np.nan), np.full_like(values, np.nan)
    if len(people) >= _MIN_IDENTITIES:
        left, right = (np.searchsorted(people, side) for side in (pairs.left, pairs.right))
        draws = [
            # A pair of one person counts as often as that person was drawn, not as the square of it.
            curve.rates(np.where(left == right, drawn[:, left], drawn[:, left] * drawn[:, right]), fars)
            for block in identity_weights(len(people), resamples, seed)
            for drawn in np.array_split(block, max(1, len(block) * len(left) // _DRAWN_PAIRS_AT_ONCE))
        ]
        low, high = percentile_interval(np.concatenate(draws))
    rows: list[dict[str, object]] = []
    for name, far, value, start, end in zip(names, (np.inf, np.inf, *fars), values, low, high, strict=True):
        allowed = int(impostors * far * (1 + 1e-12)) if far < 1 else impostors
        if not allowed:
            gap = f"{impostors} different pairs, a false accept rate of {far:g} needs {round(1 / far)}"
            rows.append({"metric": name, "status": UNAVAILABLE, "note": gap, "n": 0})
            continue
        notes = [f"rests on {allowed} accepted different pairs"] * (far < 1 and allowed < MIN_ACCEPTED_PAIRS)
        row: dict[str, object] = {"metric": name, "value": value, "low": start, "high": end}
        if end - start < 1e-9:
            row["low"], row["high"] = (np.nan, np.nan) if name == "auc" else wilson(value * len(people), len(people))
            notes.append("every draw of people agrees")
        rows.append(row | {"status": OK, "note": "; ".join(notes)})
    return rows


class _Curve:
    """The ROC curve of scored pairs under any weights of the pairs."""

    def __init__(self, pairs: ScoredPairs) -> None:
        self._order = np.argsort(-pairs.score, kind="stable")
        scores = pairs.score[self._order]
        self._ends = np.flatnonzero(np.append(np.diff(scores) != 0, True))  # equal scores are accepted together
        self._same = pairs.same[self._order]

    def rates(self, weights: NDArray[np.number], fars: Sequence[float]) -> Floats:
        """AUC, EER and TAR at each FAR ``[R, 2 + F]`` for weights ``[R, P]``; NaN without pairs of either kind."""
        ordered = weights[:, self._order].astype(np.float64)
        tar, far = (self._share(ordered * kind) for kind in (self._same, ~self._same))
        auc = (np.diff(far, axis=1) * (tar[:, 1:] + tar[:, :-1])).sum(axis=1) / 2
        columns = [auc, _equal_error(far, 1 - tar)]
        for allowed in fars:
            last = (far <= allowed * (1 + 1e-12)).sum(axis=1) - 1
            columns.append(np.take_along_axis(tar, last[:, None], axis=1)[:, 0])
        valid = ~np.isnan(far[:, -1]) & ~np.isnan(tar[:, -1])
        return np.where(valid[:, None], np.stack(columns, axis=1), np.nan)

    def _share(self, weights: Floats) -> Floats:
        """Accepted share ``[R, T + 1]`` as the threshold falls from above the highest score to below the lowest."""
        accepted = weights.cumsum(axis=1)[:, self._ends]
        with np.errstate(invalid="ignore"):  # a draw may have no pair of a kind
            return np.pad(accepted, ((0, 0), (1, 0))) / accepted[:, -1:]


def _equal_error(far: Floats, frr: Floats) -> Floats:
    """Where the two error rates cross, linear between neighbouring thresholds, ``[R]``."""
    at = (far >= frr).argmax(axis=1)[:, None]
    before = np.maximum(at - 1, 0)
    far_0, far_1, frr_0, frr_1 = (
        np.take_along_axis(rate, place, axis=1)[:, 0] for rate in (far, frr) for place in (before, at)
    )
    span = (frr_0 - far_0) + (far_1 - frr_1)
    share = np.divide(frr_0 - far_0, span, out=np.zeros_like(span), where=span > 0)
    return far_0 + share * (far_1 - far_0)
