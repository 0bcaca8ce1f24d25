"""Thresholds: the cosine above which a pair is accepted, from pairs of different people, and how well it is known.

A pair is accepted when its cosine is strictly above the threshold. A calibrated threshold is the smallest one at which
the share of accepted impostor pairs is at most the false accept rate.

Earlier papers take theirs from one table of four networks, measured once on LFW and copied from project to project
since (Adv-Makeup, AMT-GAN, CLIP2Protect, DiffAM, DiffProtect and others). These *legacy* constants are kept on the
model cards; what they really accept on given faces is `false_accept_rates`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from cloakbench.bench.core.status import OK, UNAVAILABLE
from cloakbench.bench.protocols.recognition.responses import answered
from cloakbench.bench.statistics.intervals import identity_weights, percentile_interval, wilson

FARS = (1e-1, 1e-2, 1e-3)
"""False accept rates that are reported unless a configuration says otherwise."""

THRESHOLD_COLUMNS = ("far", "threshold", "low", "high", "n_pairs", "n_identities", "status", "note")

LEGACY_FARS = (1e-1, 1e-2, 1e-3)
"""The false accept rates that the legacy constants of a model card are said to have, in the card's order."""

LEGACY_COLUMNS = ("legacy", "legacy_far", "legacy_far_low", "legacy_far_high")

MIN_ACCEPTED_PAIRS = 10
"""A threshold that fewer impostor pairs exceed is noise (relative error above 30 %), so it is a gap."""

_MIN_IDENTITIES = 5
_MAX_PHOTOS = 4096
_TAIL = 5
_TAIL_PAIRS = 20_000


def calibrate(
    embeddings: Tensor, identity: Tensor, fars: Iterable[float] = FARS, resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Cosine thresholds from all pairs of photos of different people.

    The interval resamples people: a pair counts as often as both its people were drawn, and two draws of one person
    make no impostor pair. It looks at the pairs above five times the false accept rate, thinned evenly to 20 000,
    each standing for those left out; a draw that needs pairs further down gets the lowest of these.

    Args:
        embeddings: unit embeddings ``[N, D]``; rows that are not finite are left out and named in ``note``. Of more
            than 4096 photos, the first ones of every person in turn are used (8.4 million pairs).
        identity: person of each photo, integers ``[N]``.
        fars: false accept rates, each in (0, 1).
        resamples: bootstrap draws.
        seed: names the draws.

    Returns:
        One row per rate with the columns `THRESHOLD_COLUMNS`. ``threshold`` is NaN, and ``status`` is
        ``unavailable``, where fewer than ten pairs would be accepted; ``low`` and ``high`` are NaN under five people.
    """
    pairs, photos, failed = _impostors(embeddings, identity)
    n_pairs = len(pairs.scores)
    note = f"{failed} photos without an embedding left out" if failed else ""

    rows = []
    for far in fars:
        if not 0 < far < 1:
            raise ValueError(f"a false accept rate lies between 0 and 1, got {far}")
        row: dict[str, object] = {"far": far, "threshold": np.nan, "low": np.nan, "high": np.nan}
        row |= {"n_pairs": n_pairs, "n_identities": len(photos)}
        if n_pairs * far < MIN_ACCEPTED_PAIRS:
            needed = math.ceil(MIN_ACCEPTED_PAIRS / far)
            gap = f"{n_pairs} impostor pairs, a false accept rate of {far:g} needs {needed}"
            rows.append(row | {"status": UNAVAILABLE, "note": "; ".join(filter(None, (gap, note)))})
            continue
        # Rounding must not turn 0.1 * 30 pairs into 2.
        row["threshold"] = float(pairs.scores[int(far * n_pairs * (1 + 1e-12))])
        if len(photos) >= _MIN_IDENTITIES:
            row["low"], row["high"] = _threshold_interval(pairs, photos, far, resamples, seed)
        rows.append(row | {"status": OK, "note": note})
    return pd.DataFrame(rows, columns=list(THRESHOLD_COLUMNS))


def add_legacy(
    thresholds: pd.DataFrame,
    embeddings: Tensor,
    identity: Tensor,
    constants: tuple[float, float, float] | None,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """`calibrate`'s table with what the legacy constants of a network really accept on the same faces.

    Adds the columns `LEGACY_COLUMNS`: the constant that is said to have the row's rate, the share of impostor pairs it
    accepts, and the interval of that share. NaN where the card has no constant for a rate, or there is no pair.
    """
    constant = dict(zip(LEGACY_FARS, constants, strict=True)) if constants else {}
    legacy = [constant.get(float(far), np.nan) for far in thresholds["far"]]
    measured = false_accept_rates(embeddings, identity, legacy, resamples, seed)
    columns = dict(zip(LEGACY_COLUMNS, (legacy, *np.array(measured).reshape(-1, 3).T), strict=True))
    return thresholds.assign(**columns)


def false_accept_rates(
    embeddings: Tensor, identity: Tensor, thresholds: Sequence[float], resamples: int = 1000, seed: int = 0
) -> list[tuple[float, float, float]]:
    """Share of impostor pairs above each threshold with its 95 % interval, over the pairs that `calibrate` looks at.

    The interval resamples people as `calibrate` does; where every draw agrees it is Wilson's with the people as
    trials. NaN for a threshold that is NaN and where there is no pair; no interval under five people.
    """
    if all(math.isnan(threshold) for threshold in thresholds):
        return [(np.nan, np.nan, np.nan)] * len(thresholds)
    pairs, photos, _ = _impostors(embeddings, identity)
    people = len(photos)
    total = np.outer(photos, photos)
    np.fill_diagonal(total, 0)
    weights = list(identity_weights(people, resamples, seed)) if people >= _MIN_IDENTITIES else []
    rates = []
    for threshold in thresholds:
        if math.isnan(threshold) or not len(pairs.scores):
            rates.append((np.nan, np.nan, np.nan))
            continue
        above = int((pairs.scores > threshold).sum())  # descending, so these come first
        accepted = np.zeros((people, people))
        np.add.at(accepted, (pairs.left[:above].numpy(), pairs.right[:above].numpy()), 1)
        accepted += accepted.T
        value, low, high = above / len(pairs.scores), np.nan, np.nan
        if weights:
            with np.errstate(invalid="ignore"):  # 0 / 0: all draws fell on one person, who makes no pair
                draws = [((w @ accepted) * w).sum(axis=1) / ((w @ total) * w).sum(axis=1) for w in weights]
            low, high = (float(end) for end in percentile_interval(np.concatenate(draws)))
            if high - low < 1e-9:
                low, high = wilson(value * people, people)
        rates.append((value, low, high))
    return rates


def _impostors(embeddings: Tensor, identity: Tensor) -> tuple[_Pairs, NDArray[np.float64], int]:
    """The impostor pairs that thresholds rest on, photos of each person, and how many photos have no embedding."""
    valid = answered(embeddings)
    kept = _spread(identity[valid])
    people, person = identity[valid][kept].unique(return_inverse=True)
    photos = person.bincount(minlength=len(people)).double().numpy()
    return _impostor_pairs(embeddings[valid][kept], person), photos, int((~valid).sum())


def _spread(identity: Tensor) -> Tensor:
    """At most `_MAX_PHOTOS` row numbers, ascending: everybody's first photo, then everybody's second, and so on."""
    order = identity.argsort(stable=True)
    _, sizes = identity[order].unique_consecutive(return_counts=True)
    turn = torch.empty_like(order)
    turn[order] = torch.arange(len(order)) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    return turn.argsort(stable=True)[:_MAX_PHOTOS].sort().values


class _Pairs(NamedTuple):
    """Unordered pairs of photos of different people: cosines, descending, and the two people, ``[P]`` each."""

    scores: Tensor
    left: Tensor
    right: Tensor


def _impostor_pairs(embeddings: Tensor, person: Tensor) -> _Pairs:
    scores = (embeddings.double() @ embeddings.double().T).float()
    cross = (person[:, None] != person[None, :]).triu(diagonal=1)
    left, right = cross.nonzero(as_tuple=True)
    ordered, order = scores[left, right].sort(descending=True, stable=True)
    return _Pairs(ordered, person[left[order]], person[right[order]])


def _threshold_interval(
    pairs: _Pairs, photos: NDArray[np.float64], far: float, resamples: int, seed: int
) -> tuple[float, float]:
    """95 % identity bootstrap interval of the threshold; ``photos`` counts those of each person."""
    tail = min(len(pairs.scores), math.ceil(_TAIL * far * len(pairs.scores)))
    step = math.ceil(tail / _TAIL_PAIRS)
    places = torch.arange(step // 2, tail, step)
    scores, left, right = (column[places].numpy() for column in pairs)
    thresholds = []
    for weights in identity_weights(len(photos), resamples, seed):
        for drawn in np.array_split(weights, max(1, len(weights) // 50)):
            drawn_photos = drawn * photos
            total = (drawn_photos.sum(axis=1) ** 2 - (drawn_photos**2).sum(axis=1)) / 2
            accepted = (drawn[:, left] * drawn[:, right] * step).cumsum(axis=1)
            place = (accepted <= far * total[:, None]).sum(axis=1).clip(max=len(scores) - 1)
            thresholds.append(np.where(total > 0, scores[place], np.nan))
    low, high = percentile_interval(np.concatenate(thresholds).astype(np.float64))
    return float(low), float(high)
