"""One-to-one verification at calibrated thresholds: is the protected photo still accepted, and as whom?

A pair is accepted when its cosine is strictly above the threshold. Thresholds are calibrated per target on people who
play no other role: the smallest one at which the share of accepted impostor pairs is at most the false accept rate.

Dodging: every ordered pair (protected photo i, clean photo j of the same person) is a trial, won when it is not
accepted; ``given_clean`` keeps only the pairs that the clean photo i wins for the attacker, which takes out the false
rejects that the target makes anyway. Impersonation: a protected photo is one trial, won when it is accepted as
another photo of the person it was pushed towards (FaceCloak Table III, after AMT-GAN).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from cloakbench.bench.protocols.base import (
    OK,
    SKIPPED,
    UNAVAILABLE,
    Mates,
    MetricCard,
    Protocol,
    Responses,
    Trials,
    answered,
    cosine,
    count_rows,
)
from cloakbench.bench.statistics import identity_weights, percentile_interval

FARS = (1e-1, 1e-2, 1e-3)
"""False accept rates that are reported unless a configuration says otherwise."""

THRESHOLD_COLUMNS = ("far", "threshold", "low", "high", "n_pairs", "n_identities", "status", "note")

MIN_ACCEPTED_PAIRS = 10
"""A threshold that fewer impostor pairs exceed is noise (relative error above 30 %), so it is a gap."""

_MIN_IDENTITIES = 5
_MAX_PHOTOS = 4096
_TAIL = 5
_TAIL_PAIRS = 20_000


def far_label(far: float) -> str:
    """A rate as it stands in metric names: 0.01 is ``1e-2``."""
    mantissa, exponent = f"{far:e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


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
    valid = answered(embeddings)
    failed = int((~valid).sum())
    kept = _spread(identity[valid])
    embeddings, identity = embeddings[valid][kept], identity[valid][kept]
    people, person = identity.unique(return_inverse=True)
    pairs = _impostor_pairs(embeddings, person)
    n_pairs = len(pairs.scores)
    photos = person.bincount(minlength=len(people)).double().numpy()
    note = f"{failed} photos without an embedding left out" if failed else ""

    rows = []
    for far in fars:
        if not 0 < far < 1:
            raise ValueError(f"a false accept rate lies between 0 and 1, got {far}")
        row: dict[str, object] = {"far": far, "threshold": np.nan, "low": np.nan, "high": np.nan}
        row |= {"n_pairs": n_pairs, "n_identities": len(people)}
        if n_pairs * far < MIN_ACCEPTED_PAIRS:
            needed = math.ceil(MIN_ACCEPTED_PAIRS / far)
            gap = f"{n_pairs} impostor pairs, a false accept rate of {far:g} needs {needed}"
            rows.append(row | {"status": UNAVAILABLE, "note": "; ".join(filter(None, (gap, note)))})
            continue
        # Rounding must not turn 0.1 * 30 pairs into 2.
        row["threshold"] = float(pairs.scores[int(far * n_pairs * (1 + 1e-12))])
        if len(people) >= _MIN_IDENTITIES:
            row["low"], row["high"] = _threshold_interval(pairs, photos, far, resamples, seed)
        rows.append(row | {"status": OK, "note": note})
    return pd.DataFrame(rows, columns=list(THRESHOLD_COLUMNS))


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


class Verification(Protocol):
    """Dodging and impersonation rates at calibrated thresholds.

    Args:
        fars: false accept rates, each in (0, 1).

    Raises:
        ValueError: a rate outside (0, 1), or none.
    """

    name = "verification"
    version = "1"

    def __init__(self, fars: Iterable[float] = FARS) -> None:
        self.fars = tuple(sorted({float(far) for far in fars}, reverse=True))
        if not self.fars or not all(0 < far < 1 for far in self.fars):
            raise ValueError(f"fars must be rates between 0 and 1, got {list(self.fars)}")

    def _metrics(self) -> Iterator[tuple[str, str, str]]:
        """Name, kind and rate label of every metric in order."""
        for kind in _DENOMINATORS:
            for far in self.fars:
                label = f"far_{far_label(far)}"
                yield f"{kind.split('_')[0]}_{label}" + "_given_clean" * kind.endswith("given_clean"), kind, label

    def cards(self) -> dict[str, MetricCard]:
        return {metric: MetricCard("rate", True, _DENOMINATORS[kind]) for metric, kind, _ in self._metrics()}

    def records(self, responses: Responses) -> pd.DataFrame:
        """One row per probe.

        Columns: image_id, identity, status, note, own_similarity, best_mate_similarity, target_similarity, pairs and,
        for each rate, dodged_far_*, pairs_clean_far_* (pairs accepted with the clean photo), dodged_given_clean_far_*,
        impersonated_far_* (0 or 1). Null where a photo failed, where the threshold is a gap, and, for impersonation,
        without a target. ``target_failed`` marks, as a bool, a target photo that has no embedding.

        Raises:
            ValueError: a false accept rate has no entry in ``responses.thresholds``.
        """
        missing = [far for far in self.fars if far not in responses.thresholds]
        if missing:
            raise ValueError(f"no threshold for false accept rates {missing}; calibrate with the same rates")
        status = responses.row_status()
        usable = torch.from_numpy(status == OK)
        mates = Mates.of(responses.identity, answered(responses.clean))
        similarity = mates.cosines(responses.protected, responses.clean)
        clean_similarity = mates.cosines(responses.clean, responses.clean)
        target, aimed = self._target(responses, usable)

        best_mate = similarity.nan_to_num(nan=-torch.inf).amax(dim=1)
        records = pd.DataFrame({"image_id": list(responses.image_id), "identity": responses.identity.numpy()})
        records = records.assign(status=status, note="")
        records["own_similarity"] = _values(cosine(responses.protected, responses.clean), usable)
        records["best_mate_similarity"] = _values(best_mate, usable & mates.valid.any(dim=1))
        records["target_similarity"] = _values(target, aimed)
        records["target_failed"] = (usable & ~aimed).numpy() & (responses.target_embeddings is not None)
        records["pairs"] = _counts(mates.valid, usable)
        for far in self.fars:
            threshold, label = responses.thresholds[far], f"far_{far_label(far)}"
            known = torch.tensor(not math.isnan(threshold))
            # Written as "not accepted", so that the rule and its complement cannot drift apart.
            dodged = mates.valid & ~(similarity > threshold)
            verified = mates.valid & (clean_similarity > threshold)
            records[f"dodged_{label}"] = _counts(dodged, usable & known)
            records[f"pairs_clean_{label}"] = _counts(verified, usable & known)
            records[f"dodged_given_clean_{label}"] = _counts(dodged & verified, usable & known)
            records[f"impersonated_{label}"] = _counts((target > threshold)[:, None], aimed & known)
        return records

    @staticmethod
    def _target(responses: Responses, usable: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine of each protected photo with its target's photo ``[N]``, and which of them count."""
        if responses.target_embeddings is None:
            return torch.full((len(usable),), torch.nan), torch.zeros_like(usable)
        return cosine(responses.protected, responses.target_embeddings), usable & answered(responses.target_embeddings)

    def trials(self, records: pd.DataFrame) -> dict[str, Trials]:
        def column(name: str) -> NDArray[np.float64]:
            return records[name].to_numpy(dtype=np.float64, na_value=np.nan)

        ok = records["status"].to_numpy(dtype=object) == OK
        target_failed = records["target_failed"].to_numpy(dtype=bool)
        aimed_anywhere = bool(target_failed.any() or records["target_similarity"].notna().any())
        trials: dict[str, Trials] = {}
        for metric, kind, label in self._metrics():
            gap, gap_status = "", UNAVAILABLE
            events = column(f"{_EVENTS[kind]}_{label}")
            if ok.any() and np.isnan(column(f"dodged_{label}")).all():
                gap = "no threshold: too few impostor pairs for this false accept rate"
            if kind == "impersonation":
                total = (~np.isnan(events)).astype(np.float64)
                if ok.any() and not aimed_anywhere:
                    gap, gap_status = "no one to be taken for was assigned", SKIPPED
                failed = ~ok | target_failed
            else:
                total = column(f"pairs_clean_{label}" if kind == "dodging_given_clean" else "pairs")
                failed = ~ok
            empty = "no clean pair is accepted" if kind == "dodging_given_clean" else "no person has two usable photos"
            total = np.where(np.isnan(events), 0.0, total)
            trials[metric] = Trials(np.nan_to_num(events), total, gap, gap_status, failed, empty)
        return trials


_DENOMINATORS = {
    "dodging": "ordered pairs (protected photo, clean photo of the same person)",
    "dodging_given_clean": "ordered pairs (protected photo, clean photo of the same person) that the clean photo wins",
    "impersonation": "protected photos with an assigned target person",
}

_EVENTS = {"dodging": "dodged", "dodging_given_clean": "dodged_given_clean", "impersonation": "impersonated"}


def _values(values: Tensor, valid: Tensor) -> NDArray[np.float64]:
    return np.where(valid.numpy(), values.double().numpy(), np.nan)


def _counts(flags: Tensor, valid: Tensor) -> pd.Series:
    """Number of true flags per row, null where not ``valid``."""
    return pd.Series(np.where(valid.numpy(), count_rows(flags), np.nan)).astype("Int64")
