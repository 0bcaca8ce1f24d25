"""Means: every mean that a report prints, as cells and weights, and its joint interval.

Which cells a mean runs over is the index's affair (`cloakbench.bench.report.index`); this lists them, so that one draw
of people serves all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import ALL, Measured, Place, Run
from cloakbench.bench.report.metric import Metric
from cloakbench.bench.statistics.intervals import Interval, PersonSums
from cloakbench.bench.statistics.joint_intervals import CellMean, joint_intervals
from cloakbench.bench.statistics.photo_trials import PhotoTrials, TrialCell


@dataclass(frozen=True)
class MeanOf:
    """A mean of cells.

    Attributes:
        run: method and budget.
        surrogate: whose block of a table it stands in, or `ALL` for a mean over surrogates.
        white_box: over judges who are the surrogate; otherwise over all others.
        cells: what it is over.
        weights: of the cells, positive.
    """

    run: Run
    surrogate: str
    white_box: bool
    cells: tuple[TrialCell, ...]
    weights: tuple[float, ...]

    def before(self, judges: Collection[str]) -> MeanOf:
        """The same over those of its cells that some judges were asked about."""
        kept = [place for place, cell in enumerate(self.cells) if cell.judge in judges]
        cells, weights = (tuple(part[place] for place in kept) for part in (self.cells, self.weights))
        return replace(self, cells=cells, weights=weights)


def means_of(measured: Measured, place: Place) -> list[MeanOf]:
    """Every mean of a metric under a condition of which all cells have a value."""
    found = _of_others(measured, place) if measured.is_foreign(place.protocol) else _of_probes(measured, place)
    return [mean for mean in found if mean.cells]


def intervals_of(
    means: Sequence[MeanOf], photos: PhotoTrials, metric: Metric, resamples: int, seed: int
) -> list[Interval]:
    """The joint interval of each mean; all of them have trials in ``photos``."""
    plan = [CellMean(tuple(photos.columns(mean.cells)), mean.weights) for mean in means]
    sums = PersonSums.of(photos.events, photos.trials, photos.identity)
    return joint_intervals(sums, plan, resamples, seed, bounded=metric.kind == "rate")


def mean_lines(
    place: Place, means: Sequence[MeanOf], intervals: Sequence[Interval], photos: PhotoTrials
) -> Iterator[dict[str, Any]]:
    """Rows of ``Results.means``."""
    for mean, interval in zip(means, intervals, strict=True):
        yield {
            "protocol": place.protocol,
            "metric": place.metric,
            "condition": place.condition,
            **mean.run.columns(),
            "surrogate": mean.surrogate,
            "white_box": mean.white_box,
            "value": interval.value,
            "low": interval.low,
            "high": interval.high,
            "n_photos": photos_in(photos, mean.cells),
            "n_identities": interval.n_identities,
        }


def photos_in(photos: PhotoTrials, cells: Sequence[TrialCell]) -> int:
    """Photos with a trial in the cell that has the fewest of them."""
    return int((photos.trials[:, photos.columns(cells)] > 0).sum(axis=0).min())


def over_surrogates(blocks: Sequence[MeanOf], surrogate: str) -> MeanOf:
    """The mean of the means of several surrogates, each of which counts the same."""
    weighted = [(cell, 1 / len(block.cells)) for block in blocks for cell in block.cells]
    cells, weights = zip(*weighted, strict=True)
    return MeanOf(blocks[0].run, surrogate, blocks[0].white_box, cells, weights)


def _of_probes(measured: Measured, place: Place) -> Iterator[MeanOf]:
    metric, condition = place.metric, place.condition

    def cells_of(run: Run, surrogate: str, *, white_box: bool) -> list[TrialCell]:
        source = surrogate if measured.uses_surrogate(run.method) else ""
        judges = measured.judges_of(metric, surrogate, white_box=white_box)
        if not measured.judges(metric):
            judges = [] if white_box else [""]
        ok = all(measured.cell(metric, run, surrogate, judge, condition).ok for judge in judges)
        return [TrialCell(run.method, run.budget, source, judge) for judge in judges] if ok else []

    for run in measured.runs:
        for white_box in (False, True)[: 1 + measured.uses_surrogate(run.method)]:
            surrogates = [
                name
                for name in measured.surrogates_of(run)
                if not white_box or measured.judges_of(metric, name, white_box=True)
            ]
            found = [(name, cells_of(run, name, white_box=white_box)) for name in surrogates]
            blocks = [MeanOf(run, name, white_box, tuple(cells), (1.0,) * len(cells)) for name, cells in found]
            yield from blocks
            if blocks and all(mean.cells for mean in blocks):
                yield over_surrogates(blocks, ALL)


def _of_others(measured: Measured, place: Place) -> Iterator[MeanOf]:
    """A protocol about other photos than the probes: a row for each surrogate, all judges in one mean or the other."""
    rows: dict[tuple[Run, str], dict[str, Estimate]] = {}
    for cell, estimate in measured.cells.items():
        if cell.place == place and cell.judge:
            rows.setdefault((cell.run, cell.surrogate), {})[cell.judge] = estimate
    judges = {judge for asked in rows.values() for judge in asked}
    for (run, surrogate), asked in rows.items():
        for white_box in (False, True):
            own = sorted(judge for judge, estimate in asked.items() if estimate.white_box == white_box)
            if own and set(asked) == judges and all(asked[judge].ok for judge in own):
                cells = tuple(TrialCell(run.method, run.budget, surrogate, judge) for judge in own)
                yield MeanOf(run, surrogate, white_box, cells, (1.0,) * len(cells))
