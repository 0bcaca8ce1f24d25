"""Comparisons: rankings of methods with joint intervals, all pairs compared on common photos, and tie groups.

A *ranking* orders the methods at one budget on one surrogate by the mean of their rates over the judges; with several
surrogates there is one more, over the mean of their means (``surrogate`` is `ALL`). A method without a budget is in the
ranking of every budget, one without a surrogate in that of every surrogate, over the same judges as the others. There
are no partial means: a method that lacks a cell of a ranking is not in it.

All pairs of a ranking are one family for Holm's correction, not only the neighbours. Who is whose neighbour is decided
by the data that decide the comparison, and letters speak of all pairs. The procedure steps down from the clearest pair,
so the many far pairs are out of the way when it comes to the neighbours and cost them next to nothing. Rows of few
photos (`small_samples`) are listed without rank and letters and are compared with nobody: their pairs could not be
decided and would make all others harder to decide.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cloakbench.bench.core.statistics import Floats, Interval
from cloakbench.bench.statistics.joint_intervals import joint_interval
from cloakbench.bench.statistics.paired_comparison import LEVEL, holm, paired_difference
from cloakbench.bench.statistics.photo_trials import ROW
from cloakbench.bench.statistics.small_samples import is_small
from cloakbench.bench.statistics.tie_groups import tie_groups

ALL = "all"
"""Stands for the surrogate in a ranking by the mean over surrogates."""

_RANKING = ("metric", "ranking_epsilon_255", "ranking_surrogate")
ROW_COLUMNS = (*_RANKING, "rank", *ROW, "value", "low", "high", "group", "small", "n_photos", "n_identities")
PAIR_COLUMNS = (
    *_RANKING,
    *(f"{name}_{side}" for side in ("a", "b") for name in ROW),
    *("neighbours", "difference", "low", "high", "p", "p_holm", "decided", "n_photos", "n_identities"),
)


@dataclass(frozen=True)
class Comparisons:
    """All rankings of one metric.

    Attributes:
        rows: `ROW_COLUMNS`, best first within a ranking. Values as in the records (rates in [0, 1]); ``rank`` counts
            from 1 and is missing for small rows, whose ``group`` is empty.
        pairs: `PAIR_COLUMNS`, a before b in the ranking. ``difference`` is a minus b on the photos of both, ``low`` and
            ``high`` its 95 % interval, not corrected; ``decided`` is ``p_holm`` below 5 %.
    """

    rows: pd.DataFrame
    pairs: pd.DataFrame


@dataclass(frozen=True)
class _Row:
    """One method's numbers in a ranking: ``[N, K]`` over the photos and cells of the ranking."""

    name: tuple[object, ...]
    events: Floats
    trials: Floats

    @property
    def n_photos(self) -> int:
        """Photos in the denominator: of the cell that has the fewest."""
        return _fewest(self.trials > 0)


@dataclass(frozen=True)
class _Block:
    """A ranking to be made."""

    axes: dict[str, object]
    rows: list[_Row]
    identity: NDArray[np.object_]
    weights: list[float]


@dataclass(frozen=True)
class _Sampling:
    """How everything is resampled."""

    resamples: int
    seed: int
    bounded: bool


def compare_methods(
    photos: pd.DataFrame,
    metric: str,
    resamples: int,
    seed: int,
    *,
    higher_is_better: bool = True,
    bounded: bool = True,
) -> Comparisons:
    """Rank and compare all methods of a frame.

    Args:
        photos: of `photo_trials` or `photo_values`, cut to the cells that the means run over (say, the black-box ones).
        metric: its name, for the column.
        resamples, seed: as in `joint_interval`.
        higher_is_better: for the person protected; decides the order.
        bounded: the metric is a rate in [0, 1].
    """
    sampling = _Sampling(resamples, seed, bounded)
    lines: dict[str, list[dict[str, object]]] = {"rows": [], "pairs": []}
    for block in _blocks(photos):
        axes = {"metric": metric, **block.axes}
        ranked = _ranked(block, sampling, higher_is_better)
        small = is_small([row.n_photos for row, _ in ranked], [interval.n_identities for _, interval in ranked])
        full = [row for (row, _), few in zip(ranked, small, strict=True) if not few]
        pairs = _paired(block, full, sampling)
        lines["pairs"] += [axes | pair for pair in pairs]
        lines["rows"] += [axes | row for row in _row_lines(ranked, small, _letters(pairs, len(full)))]
    return Comparisons(
        pd.DataFrame(lines["rows"], columns=list(ROW_COLUMNS)).astype({"rank": "Int64"}),
        pd.DataFrame(lines["pairs"], columns=list(PAIR_COLUMNS)),
    )


def _blocks(photos: pd.DataFrame) -> Iterator[_Block]:
    budgets = sorted(set(photos["epsilon_255"].dropna().tolist())) or [np.nan]
    for epsilon in budgets:
        at_budget = photos.loc[photos["epsilon_255"].isna() | (photos["epsilon_255"] == epsilon)]
        for label, surrogates in _surrogate_sets(at_budget):
            yield _block(at_budget, surrogates, {"ranking_epsilon_255": epsilon, "ranking_surrogate": label})


def _surrogate_sets(photos: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """Every surrogate, and those that most methods share, if these are several."""
    used: dict[str, set[str]] = {}
    each = [name for name in dict.fromkeys(photos["surrogate"].tolist()) if name]
    for *name, surrogate in photos[[*ROW, "surrogate"]].drop_duplicates().to_numpy(dtype=object):
        if surrogate:
            used.setdefault(str(name), set()).add(surrogate)
    sets = [sorted(names) for names in used.values()]
    shared = max(sets, key=lambda names: (sets.count(names), len(names), names), default=[])
    alone = [(name, [name]) for name in each] or [("", [""])]
    return alone + [(ALL, shared)] * (len(shared) > 1)


def _block(photos: pd.DataFrame, surrogates: list[str], axes: dict[str, object]) -> _Block:
    judges = {s: list(dict.fromkeys(photos.loc[photos["surrogate"] == s, "judge"].tolist())) for s in surrogates}
    cells = [(surrogate, judge) for surrogate in surrogates for judge in judges[surrogate]]
    image_id, first = np.unique(photos["image_id"].to_numpy(dtype=object), return_index=True)
    rows = []
    for name, own in photos.groupby(list(ROW), dropna=False, sort=False):
        by_cell = dict(iter(own.groupby(["surrogate", "judge"], sort=False)))
        # A method without a surrogate has one cell per judge, which stands in the block of every surrogate.
        found = [by_cell.get(cell, by_cell.get(("", cell[1]))) for cell in cells]
        known = [cell for cell in found if cell is not None]
        if cells and len(known) == len(cells):
            numbers = np.zeros((2, len(image_id), len(cells)))
            for place, cell in enumerate(known):
                at = np.searchsorted(image_id, cell["image_id"].to_numpy(dtype=object))
                numbers[:, at, place] = cell[["events", "trials"]].to_numpy(dtype=np.float64).T
            rows.append(_Row(tuple(name) if isinstance(name, tuple) else (name,), *numbers))
    weights = [1 / len(judges[surrogate]) for surrogate, _ in cells]
    return _Block(axes, rows, photos["identity"].to_numpy(dtype=object)[first], weights)


def _ranked(block: _Block, sampling: _Sampling, higher_is_better: bool) -> list[tuple[_Row, Interval]]:
    """Rows with their joint intervals, best first; equal ones by name."""
    known = [
        (
            row,
            joint_interval(
                row.events,
                row.trials,
                block.identity,
                sampling.resamples,
                sampling.seed,
                weights=block.weights,
                bounded=sampling.bounded,
            ),
        )
        for row in block.rows
    ]
    sign = -1 if higher_is_better else 1
    return sorted(known, key=lambda pair: (sign * pair[1].value, str(pair[0].name)))


def _paired(block: _Block, rows: list[_Row], sampling: _Sampling) -> list[dict[str, object]]:
    """All pairs of ranked rows as lines of `PAIR_COLUMNS`, in the order of `itertools.combinations`."""
    places = list(itertools.combinations(range(len(rows)), 2))
    found = [
        paired_difference(
            (rows[above].events, rows[above].trials),
            (rows[below].events, rows[below].trials),
            block.identity,
            sampling.resamples,
            sampling.seed,
            weights=block.weights,
            bounded=sampling.bounded,
        )
        for above, below in places
    ]
    corrected = holm([difference.p for difference in found]).tolist()
    lines = []
    for (above, below), difference, p_holm in zip(places, found, corrected, strict=True):
        sides = {"a": rows[above], "b": rows[below]}
        lines.append(
            {f"{part}_{side}": value for side, row in sides.items() for part, value in zip(ROW, row.name, strict=True)}
            | {"neighbours": below == above + 1, "difference": difference.value, "p": difference.p}
            | {"low": difference.low, "high": difference.high, "p_holm": p_holm, "decided": p_holm < LEVEL}
            | {"n_photos": _fewest((sides["a"].trials > 0) & (sides["b"].trials > 0))}
            | {"n_identities": difference.n_identities}
        )
    return lines


def _letters(pairs: list[dict[str, object]], count: int) -> list[str]:
    separated = np.zeros((count, count), dtype=bool)
    separated[np.triu_indices(count, 1)] = [bool(pair["decided"]) for pair in pairs]
    return tie_groups(separated | separated.T)


def _row_lines(
    ranked: list[tuple[_Row, Interval]], small: NDArray[np.bool_], letters: list[str]
) -> Iterator[dict[str, object]]:
    rank = 0
    for (row, interval), few in zip(ranked, small.tolist(), strict=True):
        rank += not few
        yield dict(zip(ROW, row.name, strict=True)) | {
            "rank": None if few else rank,
            "group": "" if few else letters[rank - 1],
            "small": few,
            "value": interval.value,
            "low": interval.low,
            "high": interval.high,
            "n_photos": row.n_photos,
            "n_identities": interval.n_identities,
        }


def _fewest(counted: NDArray[np.bool_]) -> int:
    """Photos of the cell that has the fewest; bool ``[N, K]``."""
    return int(counted.sum(axis=0).min(initial=len(counted)))
