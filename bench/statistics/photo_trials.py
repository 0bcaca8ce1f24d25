"""Photo trials: the events and trials of one metric for each photo in each cell, all that decisions need of a protocol.

A *cell* is one method at one budget on one surrogate before one judge. Its numbers come from the protocol's own reading
of its records, so a comparison counts what the tables count.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cloakbench.bench.core.axes import BudgetSize
from cloakbench.bench.statistics.intervals import Floats


class TrialCell(NamedTuple):
    """Who was asked about whose photos; ``method`` is what a row is called, a variant its own; ``surrogate`` and
    ``judge`` may be empty."""

    method: str
    budget: BudgetSize
    surrogate: str
    judge: str


_AXES = ["method", "epsilon_255", "surrogate", "judge"]
"""Columns of records that say which cell a record is of."""


class EventsAndTrials(Protocol):
    """What a protocol says of one metric, per record: the metric is the sum of events over the sum of trials."""

    @property
    def events(self) -> NDArray[np.float64]:
        """Events of each record, ``[N]``; for a mean its values. A record without trials may hold NaN."""
        ...

    @property
    def trials(self) -> NDArray[np.float64]:
        """Trials of each record, ``[N]``; 0 where it does not count."""
        ...


@dataclass(frozen=True)
class PhotoTrials:
    """One metric under one condition.

    Attributes:
        cells: to their columns.
        identity: the person of each photo, ``[N]``.
        events, trials: ``[N, C]``; without trials where a cell lacks a photo.
    """

    cells: Mapping[TrialCell, int]
    identity: NDArray[np.generic]
    events: Floats
    trials: Floats

    def columns(self, cells: Iterable[TrialCell]) -> list[int]:
        """Places of cells; what has no trial at all is left out by `has`."""
        return [self.cells[cell] for cell in cells]

    def has(self, cells: Iterable[TrialCell]) -> bool:
        """Whether every one of the cells has trials."""
        return all(cell in self.cells and bool(self.trials[:, self.cells[cell]].any()) for cell in cells)


def photo_trials(
    records: pd.DataFrame, numbers: Mapping[str, EventsAndTrials], metrics: Iterable[str]
) -> Iterator[tuple[str, PhotoTrials]]:
    """Photo trials metric by metric, so that few are in memory at a time.

    Args:
        records: of one protocol under one condition, with method, epsilon_255, surrogate, judge, image_id, identity. A
            photo that a cell has several times, as for several seeds, has the sum of its records.
        numbers: events and trials of every metric, an entry per record.
        metrics: the wanted ones; those that are not in ``numbers`` are left out.
    """
    axes = records[_AXES].fillna({"surrogate": "", "judge": ""})
    grouped = axes.groupby(_AXES, dropna=False, sort=False)
    column = grouped.ngroup().to_numpy()
    first = axes.loc[~pd.Series(column, index=axes.index).duplicated()]
    cells = {
        TrialCell(str(method), BudgetSize.of(epsilon), str(surrogate), str(judge)): number
        for number, (method, epsilon, surrogate, judge) in enumerate(first.itertuples(index=False))
    }
    photo, names = pd.factorize(records["image_id"])
    _, at = np.unique(photo, return_index=True)
    identity = records["identity"].to_numpy()[at]
    place, shape = photo * len(cells) + column, (len(names), len(cells))
    for metric in metrics:
        if metric in numbers:
            counted = np.asarray(numbers[metric].trials, dtype=np.float64)
            happened = np.where(counted > 0, np.asarray(numbers[metric].events, dtype=np.float64), 0.0)
            events, trials = (
                np.bincount(place, part, math.prod(shape)).astype(np.float64).reshape(shape)
                for part in (happened, counted)
            )
            yield metric, PhotoTrials(cells, identity, events, trials)
