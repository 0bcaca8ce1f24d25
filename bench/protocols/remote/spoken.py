"""`Sheet`: what a service said about the photos of a chunk, as numbers.

A failure is never among them: a chunk in which one question failed has no sheet, and is asked about again by the next
run. ``no_face`` and ``bad_picture`` are results, and are kept as statuses without a score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cloakbench.models.services import ATTRIBUTES, COMPARE, RESULTS, SEARCH, STATUSES, ServiceAnswer, Thresholds
from cloakbench.models.vocabulary import EXPRESSIONS, GENDERS

NOT_ASKED = -1.0
"""Stands for the status of a question that the plan leaves out."""
COMMON = ("status", "date", "calls")
"""First numbers of every answer: place in `STATUSES`, seconds since 1970, requests that were sent for it."""
FIELDS: Mapping[str, tuple[str, ...]] = {
    COMPARE: (*COMMON, "score", "recommended"),
    SEARCH: (*COMMON, "rank", "faces"),
    ATTRIBUTES: (*COMMON, "gender", "age", "expression"),
}
"""What is kept of an answer; a comparison has a threshold for each false accept rate behind them."""
VERSION = "_version"
"""Behind an operation: name of the tensor with the vendor's model versions."""
_VERSION_BYTES = 48


def width(operation: str, fars: Sequence[float]) -> int:
    """How many numbers are kept of an answer."""
    return len(FIELDS[operation]) + (len(fars) if operation == COMPARE else 0)


class Sheet:
    """The answers about the photos of a chunk.

    Args:
        photos: how many.
        columns: questions about each photo, by operation.
        fars: false accept rates whose thresholds are kept.
    """

    def __init__(self, photos: int, columns: Mapping[str, int], fars: Sequence[float]) -> None:
        self._fars = fars
        self._said: dict[str, NDArray[np.float64]] = {}
        self._versions: dict[str, NDArray[np.uint8]] = {}
        for operation, count in columns.items():
            said = np.full((photos, count, width(operation, fars)), np.nan)
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


def nothing_said(photos: int, columns: Mapping[str, int], fars: Sequence[float]) -> dict[str, Tensor]:
    """What stands for the answers that a chunk lacks: NaN."""
    empty = Sheet(photos, columns, fars).tensors()
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


def read(said: Mapping[str, str | float]) -> list[float]:
    """Gender and expression as places in their classes, and the age in years; NaN for what was not said."""
    gender, age, expression = (said.get(name) for name in ("gender", "age", "expression"))
    return [
        float(GENDERS.index(str(gender))) if gender is not None else np.nan,
        float(age) if age is not None else np.nan,
        float(EXPRESSIONS.index(str(expression))) if expression is not None else np.nan,
    ]


def version_names(versions: NDArray[np.float64]) -> NDArray[np.object_]:
    """Model versions ``[N, C]`` of their bytes ``[N, C, 48]``; empty where nothing was said."""
    names = np.empty(versions.shape[:2], dtype=object)
    for place in np.ndindex(names.shape):
        names[place] = bytes(int(one) for one in np.nan_to_num(versions[place]) if one).decode("utf-8", "replace")
    return names


def day(seconds: float) -> str:
    """A date as tables print it."""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
