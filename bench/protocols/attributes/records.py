"""Records of attribute privacy: what a network said of each photo, attribute by attribute, and what the photo shows.

MOSR is Yang et al.'s multi-attribute obfuscation success rate (Eq. 21): the share of photos of which *every* attribute
is answered wrongly. What a network misses on clean photos counts, so the clean row stands beside every other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from cloakbench.bench.core.status import OK, TARGET_FAILED
from cloakbench.bench.engine.means import Values
from cloakbench.bench.engine.rates import Trials
from cloakbench.bench.protocols.attributes.metrics import (
    MOSR,
    MOSR_CHANGED,
    MOSR_GIVEN_CLEAN,
    asr_name,
    drop_name,
    first_name,
    inversion_name,
)
from cloakbench.datasets.attribute_task import UNLABELLED, AttributeTask

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AttributeAnswers:
    """What one network says about one set of photos.

    Attributes:
        protected: probabilities of the classes of each attribute side by side, in the order of the task,
            ``[N, sum C]``; a row that is not finite is no answer.
        clean: the same of the photos before protection.
        labels: attribute to class numbers, long ``[N]``; `UNLABELLED` where nobody said.
        image_id, identity, status: N each; ``status`` is what became of a photo before it reached the network.
        pictures: name of an image metric to its values ``[N]``.
    """

    protected: Tensor
    clean: Tensor
    labels: Mapping[str, Tensor]
    image_id: Sequence[str]
    identity: Sequence[str]
    status: Sequence[str]
    pictures: Mapping[str, Floats] = field(default_factory=dict)


def attribute_records(task: AttributeTask, given: AttributeAnswers) -> pd.DataFrame:
    """One row per photo: image_id, identity, status, note, the image metrics, and for each attribute ``A_label``,
    ``A_class`` and ``A_confidence`` in it, ``A_clean_class`` and ``A_clean_confidence``, and ``A_kept_confidence``, the
    protected photo's in the clean class.

    Where there is no answer everything but the label is null.
    """
    status = np.array(list(given.status), dtype=object)
    silent = ~(given.protected.isfinite().all(dim=1) & given.clean.isfinite().all(dim=1)).numpy()
    note = np.where((status == OK) & silent, "an answer is not finite", "").astype(object)
    status[(status == OK) & silent] = TARGET_FAILED
    known = status == OK
    columns: dict[str, object] = {
        "image_id": list(given.image_id),
        "identity": list(given.identity),
        "status": status,
        "note": note,
        **{name: np.where(known, values, np.nan) for name, values in given.pictures.items()},
    }
    sizes = list(task.sizes)
    parts = zip(task.names, given.protected.split(sizes, dim=1), given.clean.split(sizes, dim=1), strict=True)
    for name, protected, clean in parts:
        before, now = (torch.nan_to_num(one, nan=-1.0).argmax(dim=1) for one in (clean, protected))
        label = given.labels[name].numpy()
        columns |= {
            f"{name}_label": _whole(label, label != UNLABELLED),
            f"{name}_class": _whole(now.numpy(), known),
            f"{name}_confidence": _of(protected, now, known),
            f"{name}_clean_class": _whole(before.numpy(), known),
            f"{name}_clean_confidence": _of(clean, before, known),
            f"{name}_kept_confidence": _of(protected, before, known),
        }
    return pd.DataFrame(columns)


def attribute_trials(task: AttributeTask, counts: Sequence[int], records: pd.DataFrame) -> dict[str, Trials]:
    """Events and trials of every rate, one entry per record."""
    read = {name: _numbers(records, name) for name in task.names}
    answered = np.ones(len(records), dtype=bool)
    labelled = np.ones(len(records), dtype=bool)
    for label, now, before in read.values():
        answered &= ~(np.isnan(now) | np.isnan(before))
        labelled &= ~np.isnan(label)
    wrong = {name: now != label for name, (label, now, _) in read.items()}
    known = np.all([before == label for label, _, before in read.values()], axis=0)
    changed = np.all([now != before for _, now, before in read.values()], axis=0)
    every = np.all(list(wrong.values()), axis=0)
    asked = answered & labelled
    none = "no photo has a label of every attribute"
    trials = {
        MOSR: _rate(every, asked, none),
        MOSR_GIVEN_CLEAN: _rate(every, asked & known, "no clean photo is answered rightly in every attribute"),
        MOSR_CHANGED: _rate(changed, answered, "no photo is answered"),
    }
    for count in counts:
        trials[first_name(count)] = _rate(np.all(list(wrong.values())[:count], axis=0), asked, none)
    return trials | {asr_name(name): _rate(events, asked, none) for name, events in wrong.items()}


def attribute_values(task: AttributeTask, records: pd.DataFrame) -> dict[str, Values]:
    """The values of every mean: loss of confidence in the clean answer, and how little a binary answer gives away.

    The latter is 1 - |2 p - 1|: 1 for a toss of a coin, 0 for an answer that is sure. Somebody who knows that photos
    are protected turns a sure wrong answer round.
    """
    values: dict[str, Values] = {}
    for one in task.attributes:
        before, kept = (_floats(records, f"{one.name}_{part}_confidence") for part in ("clean", "kept"))
        values[drop_name(one.name)] = Values(before - kept)
    for one in task.attributes:
        if len(one.classes) == 2:
            sure = np.abs(2 * _floats(records, f"{one.name}_confidence") - 1)
            values[inversion_name(one.name)] = Values(1 - sure)
    return values


def _floats(records: pd.DataFrame, column: str) -> Floats:
    return records[column].to_numpy(dtype=np.float64)


def _of(probabilities: Tensor, classes: Tensor, known: NDArray[np.bool_]) -> Floats:
    return np.where(known, probabilities.gather(1, classes[:, None])[:, 0].double().numpy(), np.nan)


def _whole(numbers: NDArray[np.int64], known: NDArray[np.bool_]) -> pd.Series:
    return pd.Series(np.where(known, numbers, np.nan)).astype("Int64")


def _numbers(records: pd.DataFrame, name: str) -> tuple[Floats, Floats, Floats]:
    """Label, answer and clean answer of an attribute; NaN where there is none."""
    label, now, before = (
        records[f"{name}_{part}"].to_numpy(dtype=np.float64, na_value=np.nan)
        for part in ("label", "class", "clean_class")
    )
    return label, now, before


def _rate(events: NDArray[np.bool_], trials: NDArray[np.bool_], empty: str) -> Trials:
    return Trials((events & trials).astype(np.float64), trials.astype(np.float64), empty=empty)
