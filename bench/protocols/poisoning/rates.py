"""Poisoning: does a classifier that was trained on protected photos name clean photos of the same people?

The survey's protocol (its Fig. 2): most photos of N people are protected and train a classifier from scratch, the
others stay clean and test it. PSR is the share of clean test photos that it names wrongly. It counts what the attacker
would have got wrong anyway, so the clean row belongs to every other row, and a classifier that knows nothing has
``1 - 1/N``, where N counts everybody it was trained on.

A training is repeated over seeds. A photo's event is the share of seeds that name it wrongly, photos are the trials
and people the resampling unit, so a seed is no extra photo. When one seed has no answer the rate is a gap: there are no
partial means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cloakbench.bench.core.status import OK, TARGET_FAILED
from cloakbench.bench.engine.rates import MEASUREMENT_FIELDS, Trials
from cloakbench.bench.report.metric import Metric
from cloakbench.bench.statistics.intervals import ratio_intervals

PSR, SEED_SD, TRAIN_ACCURACY = "psr_poisoning", "psr_poisoning_seed_sd", "train_accuracy"

METRICS = (
    Metric(PSR, "PSR", "clean test photos of the people whose other photos were protected"),
    Metric(
        SEED_SD,
        "Seed sd",
        "trainings, one per seed; sample standard deviation of their PSR",
        higher_protects=None,
    ),
    Metric(
        TRAIN_ACCURACY,
        "Train accuracy",
        "photos that the classifier was trained on, all seeds",
        higher_protects=None,
    ),
)
"""Every metric of this protocol, in the order of `poisoning_measurements`."""


@dataclass(frozen=True)
class Training:
    """What one training gave.

    Attributes:
        predicted: for each test photo the class it was given, -1 where the classifier did not answer.
        train_accuracy: share of the photos it was trained on that the classifier names rightly, in [0, 1].
        status: other than ``ok``, the training failed and the fields above mean nothing.
        note: why.
    """

    predicted: Sequence[int]
    train_accuracy: float = float("nan")
    status: str = OK
    note: str = ""


def chance_psr(people: int) -> float:
    """PSR of an attacker who draws one of the people he was trained on, in [0, 1]."""
    return 1 - 1 / people


def poisoning_records(
    trainings: Mapping[int | None, Training], labels: Sequence[int], image_id: Sequence[str], identity: Sequence[str]
) -> pd.DataFrame:
    """One row per test photo and seed: image_id, identity, seed, label, predicted, wrong, train_accuracy (of the
    training), status, note.

    ``predicted`` and ``wrong`` are null where ``status`` is not ``ok``.

    Raises:
        ValueError: a training answered for another number of photos.
    """
    frames = []
    right = np.asarray(labels)
    for seed, answer in trainings.items():
        given = np.asarray(answer.predicted if answer.status == OK else np.full(len(right), -1))
        if given.shape != right.shape:
            raise ValueError(f"seed {seed} answered for {given.shape} of {len(right)} test photos")
        status = np.where(given >= 0, OK, TARGET_FAILED if answer.status == OK else answer.status)
        note = answer.note or "the classifier's scores are not finite"
        frames.append(
            pd.DataFrame(
                {
                    "image_id": list(image_id),
                    "identity": list(identity),
                    "seed": seed,
                    "label": right,
                    "predicted": pd.array(np.where(given >= 0, given, 0), dtype="Int64"),
                    "wrong": pd.array((given != right).astype(int), dtype="Int64"),
                    "train_accuracy": answer.train_accuracy,
                    "status": status,
                    "note": np.where(given >= 0, "", note),
                }
            )
        )
        frames[-1].loc[given < 0, ["predicted", "wrong"]] = pd.NA
    return pd.concat(frames, ignore_index=True)


def poisoning_trials(records: pd.DataFrame) -> dict[str, Trials]:
    """PSR: a photo has an event and a trial for each seed that answered."""
    wrong = records["wrong"].to_numpy(dtype=np.float64, na_value=np.nan)
    return {PSR: Trials(wrong, (~np.isnan(wrong)).astype(np.float64))}


def poisoning_measurements(records: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
    """One row per metric with the columns `MEASUREMENT_FIELDS`; one seed has no spread.

    Args:
        records: of `poisoning_records`, in its order: seed by seed, photos in one order.
        resamples, seed: of the identity bootstrap.
    """
    status = records["status"].to_numpy(dtype=object)
    train_accuracy = records.groupby("seed", sort=False)["train_accuracy"].first().to_numpy()
    seeds = len(train_accuracy)
    metrics = [metric.name for metric in METRICS if seeds > 1 or metric.name != SEED_SD]
    lost = status != OK
    if lost.any():
        failed = len(set(records["seed"].to_numpy()[lost]))
        notes = sorted(set(records["note"].to_numpy(dtype=object)[lost]) - {""})
        gap = {"value": np.nan, "low": np.nan, "high": np.nan, "n": 0, "n_identities": 0, "status": status[lost][0]}
        gap |= {"n_failed": len(set(records["image_id"].to_numpy(dtype=object)[lost]))}
        gap |= {"note": "; ".join([f"{failed} of {seeds} trainings failed", *notes])}
        return pd.DataFrame([{"metric": metric, **gap} for metric in metrics], columns=list(MEASUREMENT_FIELDS))
    wrong = records["wrong"].to_numpy(dtype=np.float64).reshape(seeds, -1)
    events = wrong.mean(axis=0)[:, None]
    identity = records["identity"].to_numpy()[: wrong.shape[1]]
    [interval] = ratio_intervals(events, np.ones_like(events), identity, resamples, seed)
    by_seed = wrong.mean(axis=1)
    nowhere = (np.nan, np.nan)
    values = {
        PSR: (interval.value, interval.low, interval.high, wrong.shape[1]),
        SEED_SD: (float(by_seed.std(ddof=1)) if seeds > 1 else np.nan, *nowhere, seeds),
        TRAIN_ACCURACY: (float(np.mean(train_accuracy)), *nowhere, seeds),
    }
    shared = {"n_failed": 0, "n_identities": interval.n_identities, "status": OK, "note": ""}
    rows = [
        {"metric": name, **dict(zip(("value", "low", "high", "n"), values[name], strict=True)), **shared}
        for name in metrics
    ]
    return pd.DataFrame(rows, columns=list(MEASUREMENT_FIELDS))
