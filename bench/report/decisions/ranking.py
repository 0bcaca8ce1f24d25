"""`Ranking`: what was decided about the methods of one table, for tables, figures and sentences to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cloakbench.bench.core.axes import BudgetSize
from cloakbench.bench.core.status import OK
from cloakbench.bench.report.estimate import Estimate, records, text
from cloakbench.bench.report.index import ALL, Measured, Place, Run
from cloakbench.bench.report.results import Results


@dataclass(frozen=True)
class RankedRun:
    """A row of a ranking.

    Attributes:
        run: method and budget.
        surrogate: its own; empty where it uses none, `ALL` in a mean over surrogates.
        group: letters; rows that share one were not told apart. Empty for small rows.
        small: stands on too few photos or people to be ranked.
        estimate: black-box mean with its joint interval; ``n`` counts photos.
    """

    run: Run
    surrogate: str
    group: str
    small: bool
    estimate: Estimate


@dataclass(frozen=True)
class PairedRuns:
    """Two rows of a ranking, the better one first, on the photos of both.

    Attributes:
        first, second: the rows.
        neighbours: the second follows the first.
        estimate: of the difference, with its interval over people; ``n`` counts photos.
        p, p_holm: two-sided, and corrected for all pairs of the ranking.
        decided: whether the corrected p is below 5 %.
    """

    first: RankedRun
    second: RankedRun
    neighbours: bool
    estimate: Estimate
    p: float
    p_holm: float
    decided: bool


@dataclass(frozen=True)
class Ranking:
    """Methods best first.

    Attributes:
        budget: whose methods compete; none where one ranking has all.
        surrogate: whose block is ranked, or `ALL`; empty where no method uses one.
        rows: best first, small ones in their places.
        comparisons: all pairs of rows that are not small.
    """

    budget: BudgetSize
    surrogate: str
    rows: tuple[RankedRun, ...]
    comparisons: tuple[PairedRuns, ...]

    def row(self, run: Run, surrogate: str | None = None) -> RankedRun | None:
        """The row of a run, and of a surrogate where a run has several rows; None where it is not ranked."""
        return next((r for r in self.rows if r.run == run and surrogate in (None, r.surrogate)), None)

    def comparison(self, run: Run, other: Run, surrogate: str | None = None) -> PairedRuns | None:
        """The comparison of two runs, the better one first; the surrogate is that of either."""
        for one in self.comparisons:
            sides = (one.first, one.second)
            same = {side.run for side in sides} == {run, other}
            if same and (surrogate is None or surrogate in {side.surrogate for side in sides}):
                return one
        return None

    def places(self, row: RankedRun) -> tuple[int, int]:
        """The best and the worst place that the comparisons leave a row that is not small, from 1: as many rows are
        certainly ahead of it, and as many certainly behind, after Holm's correction over all pairs (Klein, Wright and
        Wieczorek 2020 make ranks' intervals of pairs in this way)."""
        ahead = sum(one.decided and one.second == row for one in self.comparisons)
        behind = sum(one.decided and one.first == row for one in self.comparisons)
        return 1 + ahead, sum(not one.small for one in self.rows) - behind

    @property
    def neighbours(self) -> tuple[PairedRuns, ...]:
        """Comparisons of each row with the next."""
        return tuple(one for one in self.comparisons if one.neighbours)


def rankings_of(results: Results, place: Place) -> list[Ranking]:
    """Every ranking of a metric, in the order of budgets and surrogates; none where a kept run decided nothing."""
    return results.once(("rankings", place), lambda: _read(results, place))


def _read(results: Results, place: Place) -> list[Ranking]:
    frame, pairs = _at(results.rankings, place), _at(results.pairs, place)
    if frame.empty:
        return []
    axes = ["ranking_epsilon_255", "ranking_surrogate"]
    compared = {_key(key): some for key, some in pairs.groupby(axes, dropna=False, sort=False)}
    found = []
    for key, some in frame.groupby(axes, dropna=False, sort=False):
        rows = tuple(_rows(some))
        of_name = {(row.run, row.surrogate): row for row in rows}
        budget, surrogate = _key(key)
        mine = compared.get((budget, surrogate))
        comparisons = () if mine is None else tuple(_comparisons(mine, of_name))
        found.append(Ranking(budget, surrogate, rows, comparisons))
    return found


def ranking_of(results: Results, place: Place, budget: BudgetSize, surrogate: str = ALL) -> Ranking | None:
    """One ranking. For `ALL` surrogates of a run with a single one it is that one's; None where there is none."""
    found = [one for one in rankings_of(results, place) if one.budget == budget]
    alone = next((one for one in found if one.surrogate == surrogate), None)
    return found[0] if alone is None and surrogate == ALL and len(found) == 1 else alone


def identical_notes(measured: Measured, protocol: str) -> tuple[str, ...]:
    """A sentence for each method whose every record repeats another one's: they are the same algorithm."""
    frame = measured.results.identical
    return tuple(
        f"{measured.title(line['method'])}: identical to {measured.title(line['same_as'])} on all {line['n']} records."
        for line in records(frame.loc[frame["protocol"] == protocol])
    )


def _at(frame: pd.DataFrame, place: Place) -> pd.DataFrame:
    """The lines of a place."""
    found = np.ones(len(frame), dtype=bool)
    for name, value in zip(Place._fields, place, strict=True):
        found &= frame[name].to_numpy(dtype=object) == value  # 20 times as fast as a comparison of frames
    return frame.loc[found]


def _key(key: Any) -> tuple[BudgetSize, str]:
    epsilon_255, surrogate = key
    return BudgetSize.of(epsilon_255), text(surrogate)


def _run(line: Mapping[str, Any], side: str = "") -> tuple[Run, str]:
    return Run.of(line, side), text(line[f"surrogate{side}"])


def _estimate(line: Mapping[str, Any], column: str) -> Estimate:
    value, low, high, photos = (line[name] for name in (column, "low", "high", "n_photos"))
    return Estimate(value, low, high, photos, n_identities=line["n_identities"], status=OK)


def _rows(frame: pd.DataFrame) -> Iterator[RankedRun]:
    for line in records(frame):
        yield RankedRun(*_run(line), text(line["group"]), bool(line["small"]), _estimate(line, "value"))


def _comparisons(frame: pd.DataFrame, rows: dict[tuple[Run, str], RankedRun]) -> Iterator[PairedRuns]:
    for line in records(frame):
        yield PairedRuns(
            rows[_run(line, "_a")],
            rows[_run(line, "_b")],
            bool(line["neighbours"]),
            _estimate(line, "difference"),
            line["p"],
            line["p_holm"],
            bool(line["decided"]),
        )
