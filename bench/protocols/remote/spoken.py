"""`AnswerSheet`: what a service said about the photos of a chunk, as numbers.

A failure is never among them: a chunk in which one question failed has no sheet, and is asked about again by the next
run. ``no_face`` and ``bad_picture`` are results, and are kept as statuses without a score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cloakbench.datasets.attribute_task import AttributeTask, TaskAttribute
from cloakbench.models.services import ATTRIBUTES, COMPARE, RESULTS, SEARCH, STATUSES, ServiceAnswer, Thresholds
from cloakbench.models.vocabulary import Reading, Vocabulary

NOT_ASKED = -1.0
"""Stands for the status of a question that the plan leaves out."""
COMMON = ("status", "date", "calls")
"""First numbers of every answer: place in `STATUSES`, seconds since 1970, requests that were sent for it."""
FIELDS: Mapping[str, tuple[str, ...]] = {
    COMPARE: (*COMMON, "score", "recommended"),
    SEARCH: (*COMMON, "rank", "faces"),
    ATTRIBUTES: COMMON,
}
"""What is kept of an answer; behind it, a comparison has a threshold for each false accept rate, then those that were
calibrated, and what was read off a face the class of each attribute."""
VERSION = "_version"
"""Behind an operation: name of the tensor with the vendor's model versions."""
_VERSION_BYTES = 48


@dataclass(frozen=True)
class Form:
    """What a sheet has room for.

    Attributes:
        columns: questions about each photo, by operation.
        fars: false accept rates whose thresholds are kept.
        attributes: names of those whose classes are kept.
        calibrated: calibrated thresholds are kept, too, one for each false accept rate.
    """

    columns: Mapping[str, int]
    fars: Sequence[float]
    attributes: Sequence[str] = ()
    calibrated: bool = False

    def width(self, operation: str) -> int:
        """How many numbers are kept of an answer."""
        more = {COMPARE: len(self.fars) * (1 + self.calibrated), ATTRIBUTES: len(self.attributes)}
        return len(FIELDS[operation]) + more.get(operation, 0)


class AnswerSheet:
    """The answers about the photos of a chunk.

    Args:
        photos: how many.
        form: what there is room for.
    """

    def __init__(self, photos: int, form: Form) -> None:
        self._said: dict[str, NDArray[np.float64]] = {}
        self._versions: dict[str, NDArray[np.uint8]] = {}
        for operation, count in form.columns.items():
            said = np.full((photos, count, form.width(operation)), np.nan)
            said[:, :, 0] = NOT_ASKED
            self._said[operation] = said
            self._versions[operation] = np.zeros((photos, count, _VERSION_BYTES), np.uint8)

    def put(self, photo: int, column: int, answer: ServiceAnswer, numbers: Sequence[float]) -> None:
        """Note a result; ``numbers`` follow those of `COMMON`."""
        at = datetime.fromisoformat(answer.date).timestamp() if answer.date else np.nan
        row = [float(STATUSES.index(answer.status)), at, float(answer.calls), *numbers]
        self._said[answer.operation][photo, column, : len(row)] = row
        version = answer.model_version.encode()[:_VERSION_BYTES]
        self._versions[answer.operation][photo, column, : len(version)] = list(version)

    def tensors(self) -> dict[str, Tensor]:
        """By operation ``[N, C, W]`` float64, and versions ``[N, C, 48]``: UTF-8, filled up with zeros."""
        return {
            **{operation: torch.from_numpy(said) for operation, said in self._said.items()},
            **{f"{operation}{VERSION}": torch.from_numpy(one) for operation, one in self._versions.items()},
        }


def nothing_said(photos: int, form: Form) -> dict[str, Tensor]:
    """What stands for the answers that a chunk lacks: NaN."""
    empty = AnswerSheet(photos, form).tensors()
    return {name: torch.full(tensor.shape, torch.nan, dtype=torch.float64) for name, tensor in empty.items()}


def compared(answer: ServiceAnswer, documented: Thresholds | None, fars: Sequence[float]) -> list[float]:
    """Score, recommended threshold and thresholds of a comparison; those that an answer carries are for it alone."""
    found = answer.thresholds or documented or Thresholds()
    recommended = np.nan if found.recommended is None else found.recommended
    by_far = [next((one for known, one in found.by_far.items() if np.isclose(known, far)), np.nan) for far in fars]
    return [np.nan if answer.score is None else answer.score, recommended, *by_far]


def searched(answer: ServiceAnswer, own: str, mates: frozenset[str]) -> list[float]:
    """Rank of the first mate among the faces that are not the photo itself, 0 for none, and how many these are."""
    if answer.status not in RESULTS or not answer.matches:
        return [0.0, 0.0]
    others = [match.face for match in answer.matches if match.face != own]
    scores = {match.face: match.score for match in answer.matches}
    assert all(scores[one] >= scores[other] for one, other in pairwise(others)), "matches come best first"
    rank = next((place for place, face in enumerate(others, 1) if face in mates), 0)
    return [float(rank), float(len(others))]


def classes_read(readings: Mapping[str, Reading], vocabulary: Vocabulary, task: AttributeTask) -> list[float]:
    """Class of each attribute of a task; NaN for what was not said, or is no class of it.

    Args:
        readings: in the service's words.
        vocabulary: what these mean.
        task: whose classes they become.
    """
    said: Mapping[str, Reading] = {**readings, **vocabulary.task_words(readings)}
    return [_class_of(one, next((said[name] for name in one.called if name in said), None)) for one in task.attributes]


def _class_of(attribute: TaskAttribute, said: Reading | None) -> float:
    if isinstance(said, str):
        places = {word: place for place, one in enumerate(attribute.classes) for word in one.called}
        return float(places.get(said.lower(), np.nan))
    if isinstance(said, float) and attribute.bins is not None:
        return float(attribute.classes_of(torch.tensor([said]))[0])
    return np.nan


def version_names(versions: NDArray[np.float64]) -> NDArray[np.object_]:
    """Model versions ``[N, C]`` of their bytes ``[N, C, 48]``; empty where nothing was said."""
    names = np.empty(versions.shape[:2], dtype=object)
    for place in np.ndindex(names.shape):
        names[place] = bytes(int(one) for one in np.nan_to_num(versions[place]) if one).decode("utf-8", "replace")
    return names


def day(seconds: float) -> str:
    """A date as tables print it."""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
