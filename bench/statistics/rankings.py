"""Rankings: the methods at one budget on one surrogate, best first, by the mean of their rates over the judges.

With several surrogates there is one more ranking per budget, by the mean over surrogates of these means, of the methods
that ran on just the surrogates that most methods share (``surrogate`` is `ALL`). A method without a budget is in the
rankings of every budget, one without a surrogate in those of every surrogate, over the same judges as the others. There
are no partial means: a method that lacks a cell of a ranking is not in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cloakbench.bench.statistics.intervals import Floats, Interval
from cloakbench.bench.statistics.joint_intervals import joint_interval
from cloakbench.bench.statistics.photo_trials import ROW
from cloakbench.bench.statistics.small_samples import is_small

ALL = "all"
"""Stands for the surrogate in a ranking by the mean over surrogates."""
AXES = ("metric", "ranking_epsilon_255", "ranking_surrogate")
"""Columns that name a ranking."""
MEAN_COLUMNS = (*AXES, "rank", *ROW, "value", "low", "high", "small", "n_photos", "n_identities")


@dataclass(frozen=True)
class Sampling:
    """How rates are resampled.

    Attributes:
        resamples: bootstrap draws.
        seed: names the draws.
        bounded: the metric is a rate in [0, 1].
    """

    resamples: int
    seed: int
    bounded: bool = True


@dataclass(frozen=True)
class Contender:
    """One method in a ranking.

    Attributes:
        name: its method, variant and budget (`ROW`).
        events, trials: ``[N, K]`` over the photos and cells of the ranking.
        interval: of the mean over the cells.
    """

    name: tuple[object, ...]
    events: Floats
    trials: Floats
    interval: Interval

    @property
    def n_photos(self) -> int:
        """Photos in the denominator: of the cell that has the fewest."""
        return fewest(self.trials > 0)


@dataclass(frozen=True)
class Ranking:
    """Methods that compete over the same cells.

    Attributes:
        epsilon_255: budget, NaN where no method has one.
        surrogate: surrogate key, empty where no method uses one, or `ALL`.
        contenders: best first, equal ones by name.
        identity: the person of each photo, ``[N]``.
        weights: of the cells in the mean, ``[K]``.
    """

    epsilon_255: float
    surrogate: str
    contenders: tuple[Contender, ...]
    identity: NDArray[np.object_]
    weights: tuple[float, ...]

    @cached_property
    def small(self) -> tuple[bool, ...]:
        """Which contenders stand on too few photos to have a rank."""
        people = [contender.interval.n_identities for contender in self.contenders]
        return tuple(is_small([contender.n_photos for contender in self.contenders], people).tolist())

    @property
    def ranked(self) -> list[Contender]:
        """Contenders that have a rank, best first."""
        return [contender for contender, small in zip(self.contenders, self.small, strict=True) if not small]

    def axes(self, metric: str) -> dict[str, object]:
        """Values of `AXES`."""
        return dict(zip(AXES, (metric, self.epsilon_255, self.surrogate), strict=True))

    def lines(self, metric: str) -> list[dict[str, object]]:
        """One line per contender with `MEAN_COLUMNS`; ``rank`` counts from 1 and is None for small rows."""
        ranks = iter(range(1, len(self.contenders) + 1))
        return [
            self.axes(metric)
            | dict(zip(ROW, contender.name, strict=True))
            | {"rank": None if small else next(ranks), "small": small}
            | {"value": contender.interval.value, "low": contender.interval.low, "high": contender.interval.high}
            | {"n_photos": contender.n_photos, "n_identities": contender.interval.n_identities}
            for contender, small in zip(self.contenders, self.small, strict=True)
        ]


def rankings(photos: pd.DataFrame, sampling: Sampling, *, higher_is_better: bool = True) -> Iterator[Ranking]:
    """All rankings of one metric, by budget.

    Args:
        photos: of `photo_trials` or `photo_values`, cut to the cells that the means run over (say, the black-box ones).
        sampling: how intervals are made.
        higher_is_better: for the person protected.
    """
    for epsilon in sorted(set(photos["epsilon_255"].dropna().tolist())) or [np.nan]:
        at_budget = photos.loc[photos["epsilon_255"].isna() | (photos["epsilon_255"] == epsilon)]
        for label, surrogates in _surrogate_sets(at_budget):
            judges = {s: sorted(set(at_budget.loc[at_budget["surrogate"] == s, "judge"].tolist())) for s in surrogates}
            cells = [(surrogate, judge) for surrogate in surrogates for judge in judges[surrogate]]
            weights = tuple(1 / len(judges[surrogate]) for surrogate, _ in cells)
            image_id, first = np.unique(at_budget["image_id"].to_numpy(dtype=object), return_index=True)
            identity = at_budget["identity"].to_numpy(dtype=object)[first]
            contenders = []
            for name, (events, trials) in _numbers(at_budget, image_id, cells):
                interval = joint_interval(
                    events,
                    trials,
                    identity,
                    sampling.resamples,
                    sampling.seed,
                    weights=weights,
                    bounded=sampling.bounded,
                )
                contenders.append(Contender(name, events, trials, interval))
            sign = -1 if higher_is_better else 1
            contenders.sort(key=lambda contender: (sign * contender.interval.value, str(contender.name)))
            yield Ranking(epsilon, label, tuple(contenders), identity, weights)


def joint_means(
    photos: pd.DataFrame, metric: str, sampling: Sampling, *, higher_is_better: bool = True
) -> pd.DataFrame:
    """The mean of every method in every ranking with its joint interval, `MEAN_COLUMNS`; nothing is compared."""
    found = rankings(photos, sampling, higher_is_better=higher_is_better)
    lines = [line for ranking in found for line in ranking.lines(metric)]
    return pd.DataFrame(lines, columns=list(MEAN_COLUMNS)).astype({"rank": "Int64"})


def fewest(counted: NDArray[np.bool_]) -> int:
    """Photos of the cell that has the fewest; bool ``[N, K]``."""
    return int(counted.sum(axis=0).min(initial=len(counted)))


def _surrogate_sets(photos: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """Every surrogate, and those that most methods share, if these are several."""
    used: dict[str, set[str]] = {}
    for *name, surrogate in photos[[*ROW, "surrogate"]].drop_duplicates().to_numpy(dtype=object):
        if surrogate:
            used.setdefault(str(name), set()).add(surrogate)
    sets = [sorted(names) for names in used.values()]
    shared = max(sets, key=lambda names: (sets.count(names), len(names), names), default=[])
    alone = [(name, [name]) for name in sorted(set().union(*used.values()))] or [("", [""])]
    return alone + [(ALL, shared)] * (len(shared) > 1)


def _numbers(
    photos: pd.DataFrame, image_id: NDArray[np.object_], cells: list[tuple[str, str]]
) -> Iterator[tuple[tuple[object, ...], Floats]]:
    """Events and trials ``[2, N, K]`` of every method that has all of the cells."""
    for name, own in photos.groupby(list(ROW), dropna=False, sort=False):
        by_cell = dict(iter(own.groupby(["surrogate", "judge"], sort=False)))
        # A method without a surrogate has one cell per judge, which stands in the ranking of every surrogate.
        found = [by_cell.get(cell, by_cell.get(("", cell[1]))) for cell in cells]
        known = [cell for cell in found if cell is not None]
        if cells and len(known) == len(cells):
            numbers = np.zeros((2, len(image_id), len(cells)))
            for place, cell in enumerate(known):
                at = np.searchsorted(image_id, cell["image_id"].to_numpy(dtype=object))
                numbers[:, at, place] = cell[["events", "trials"]].to_numpy(dtype=np.float64).T
            yield tuple(name) if isinstance(name, tuple) else (name,), numbers
