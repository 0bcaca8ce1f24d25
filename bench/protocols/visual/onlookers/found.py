"""`found_records`: is a person found by what an onlooker made of a photo? And the names of what is measured of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cloakbench.bench.core.status import OK
from cloakbench.bench.engine.rates import Trials
from cloakbench.bench.protocols.identification.protocol import Identification
from cloakbench.bench.protocols.quality.image_metric import ImageMetric
from cloakbench.bench.protocols.recognition.responses import Responses
from cloakbench.bench.protocols.visual.onlookers.base import Onlooker
from cloakbench.bench.report.metric import Metric

TOO_FEW = "too few"
"""In place of the status of a photo beside which there are not as many as an onlooker must hold: it is no trial."""
FOUND, SEEN = "found", "seen"
"""First words of what is measured: a person is found, a picture is seen."""


def found_name(key: str) -> str:
    """Column of the records, and name of the rate over photos that no veil has seen."""
    return f"{FOUND}_{key}"


def seen_name(key: str, metric: ImageMetric) -> str:
    """The same of an image metric of the pictures that an onlooker makes."""
    return f"{SEEN}_{key}_{metric.described.name}"


def found_metric(key: str, onlooker: Onlooker) -> Metric:
    """The rate at which an onlooker names people; the less, the better for them."""
    denominator = "published photos of people with a clean photo in the gallery that the attacker does not hold"
    return Metric(found_name(key), f"Found by {onlooker.title.lower()}", denominator, higher_protects=False)


def seen_metric(key: str, onlooker: Onlooker, metric: ImageMetric) -> Metric:
    """The mean of an image metric on pairs of original and the attacker's picture."""
    described = metric.described
    title = f"{described.title}, {onlooker.title.lower()}"
    denominator = "pictures that the attacker made, one pair (original, picture) each"
    way = described.higher_protects
    return replace(
        described,
        name=seen_name(key, metric),
        title=title,
        denominator=denominator,
        higher_protects=None if way is None else not way,
    )


def found_records(
    key: str,
    *,
    pictures: Tensor,
    clean: Tensor,
    identity: Sequence[str],
    image_id: Sequence[str],
    status: Sequence[str],
    mates: Tensor,
    mate_identity: Sequence[str],
    gallery: Tensor,
) -> pd.DataFrame:
    """One row per photo: 1 where a clean photo of the person comes first among these and all distractors.

    Args:
        key: of the onlooker.
        pictures: what it compares, unit vectors ``[N, D]``.
        clean: the same of the clean photos themselves.
        identity, image_id, status: of the photos; `TOO_FEW` for one that is no trial.
        mates: clean photos that the onlooker does not hold, ``[M, D]``.
        mate_identity: whom each shows.
        gallery: distractors ``[G, D]``.
    """
    of_person: dict[str, list[int]] = {}
    for row, name in enumerate(mate_identity):
        of_person.setdefault(name, []).append(row)
    own = [of_person.get(name, []) for name in identity]
    responses = Responses(
        protected=pictures,
        clean=clean,
        identity=torch.arange(len(identity)),  # a person each: other published photos are nobody's mates here
        image_id=image_id,
        gallery=gallery,
        status=status,
        references=mates[[row for rows in own for row in rows]],
        reference_identity=torch.tensor([place for place, rows in enumerate(own) for _ in rows], dtype=torch.long),
    )
    records = Identification([1], "all").records(responses)
    rank = records["p2_rank"].to_numpy(dtype=np.float64, na_value=np.nan)
    found = np.where(np.isnan(rank), np.nan, rank < 1)
    kept = records[["image_id", "status", "note", "gallery_size", "best_mate_similarity", "best_distractor_similarity"]]
    state = np.where(kept["status"] == TOO_FEW, OK, kept["status"])
    return kept.assign(identity=list(identity), status=state, **{found_name(key): found})


def found_trials(records: pd.DataFrame) -> Mapping[str, Trials]:
    """Events and trials of every rate of onlookers that records hold."""
    return {str(name): _trials(records, str(name)) for name in records.columns if str(name).startswith(f"{FOUND}_")}


def _trials(records: pd.DataFrame, name: str) -> Trials:
    values = records[name].to_numpy(dtype=np.float64)
    size = max(records["gallery_size"].tolist(), default=0)
    gap = "" if size >= 1 else "the gallery has no distractor"
    known = (~np.isnan(values)).astype(np.float64)
    return Trials(np.nan_to_num(values), known, gap, empty="nobody has so many photos and another one in the gallery")
