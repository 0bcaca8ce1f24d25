"""Differences from one method of a run: what each other one changes, an ablation for instance, on the same photos.

Two intervals that overlap say little of methods that protect the same photos of the same people, so the difference
itself is resampled (`cloakbench.bench.statistics.paired_comparison`). It is that of the mean over surrogates, at the
same budget, before the same judges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cloakbench.bench.report.decisions.means import MeanOf
from cloakbench.bench.report.decisions.ranked import Sampling
from cloakbench.bench.report.index import ALL, Place
from cloakbench.bench.report.labels import CONTROLS
from cloakbench.bench.report.metric import Metric
from cloakbench.bench.statistics.paired_comparison import paired_differences
from cloakbench.bench.statistics.photo_trials import PhotoTrials


def differences_from(
    base: str, place: Place, means: Sequence[MeanOf], photos: PhotoTrials, metric: Metric, sampling: Sampling
) -> Iterator[dict[str, Any]]:
    """Rows of ``Results.differences``.

    Args:
        base: what the rows of the method are called that others are compared with.
        place: the metric and its condition.
        means: all means of the metric that have trials.
        photos: events and trials of the metric.
        metric: what it is.
        sampling: how people are drawn.
    """
    blocks = [mean for mean in means if mean.surrogate == ALL] or list(means)
    for own in blocks:
        if own.run.method != base:
            continue
        for other in blocks:
            if other.run.method in (base, *CONTROLS) or not _stands_beside(own, other):
                continue
            [found] = paired_differences(
                [_numbers(one, photos) for one in (other, own)],
                photos.identity,
                own.weights,
                sampling.resamples,
                sampling.seed,
                bounded=metric.kind == "rate",
            )
            yield {
                **dict(zip(("protocol", "metric", "condition"), place, strict=True)),
                **other.run.columns(),
                "surrogate": other.surrogate,
                "white_box": other.white_box,
                **{"difference": found.value, "low": found.low, "high": found.high, "p": found.p},
                **{"n_photos": found.n_photos, "n_identities": found.n_identities},
            }


def _stands_beside(own: MeanOf, other: MeanOf) -> bool:
    """Whether two methods have the same budget and answered for the same surrogates before the same judges."""
    asked = [[(cell.surrogate, cell.judge) for cell in one.cells] for one in (own, other)]
    return asked[0] == asked[1] and (own.run.budget, own.white_box) == (other.run.budget, other.white_box)


def _numbers(mean: MeanOf, photos: PhotoTrials) -> tuple[Any, Any]:
    columns = photos.columns(mean.cells)
    return photos.events[:, columns], photos.trials[:, columns]
