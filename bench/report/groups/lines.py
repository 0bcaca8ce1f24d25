"""Lines: what each method comes to in each group, and the largest gaps, from photo trials and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cloakbench.bench.report.decisions.means import MeanOf
from cloakbench.bench.report.index import ALL, Place
from cloakbench.bench.report.metric import Metric
from cloakbench.bench.statistics.group_gap import FEWEST_PEOPLE, largest_gap
from cloakbench.bench.statistics.intervals import Floats, PersonSums
from cloakbench.bench.statistics.joint_intervals import CellMean, joint_intervals
from cloakbench.bench.statistics.paired_comparison import holm
from cloakbench.bench.statistics.photo_trials import PhotoTrials

Lines = list[dict[str, Any]]


@dataclass(frozen=True)
class GroupedPhotos:
    """One metric of photos as published, and which groups they are in.

    Attributes:
        metric: which.
        photos: its trials.
        image_id: name of each row of ``photos``.
        labels: ``Results.labels``.
        resamples, seed: of the bootstrap; the seed names the shuffles, too.
    """

    metric: Metric
    photos: PhotoTrials
    image_id: Sequence[str]
    labels: pd.DataFrame
    resamples: int
    seed: int

    def lines(self, place: Place, means: Sequence[MeanOf]) -> tuple[Lines, Lines]:
        """Rows of ``Results.groups`` and ``Results.gaps``, of the black-box means over all surrogates."""
        groups: Lines = []
        gaps: Lines = []
        for mean in means:
            if mean.white_box or mean.surrogate != ALL:
                continue
            about = {"protocol": place.protocol, "metric": place.metric, **mean.run.columns()}
            found: Lines = []
            for label, some in self.labels.groupby("label", sort=False):
                own, gap = self._told_apart(mean, some)
                groups += [{**about, "label": label, **line} for line in own]
                found += [{**about, "label": label, **line} for line in gap]
            corrected = holm([line["p"] for line in found]).tolist() if found else []
            gaps += [line | {"p_holm": p} for line, p in zip(found, corrected, strict=True)]
        return groups, gaps

    def _told_apart(self, mean: MeanOf, some: pd.DataFrame) -> tuple[Lines, Lines]:
        """The groups of one label, and the largest gap between them, where there are two."""
        number = dict(zip(some["image_id"], some["place"], strict=True))
        names = dict(zip(some["place"], some["group"], strict=True))
        group = np.array([number.get(name, -1) for name in self.image_id])
        own = [self._line(mean, group == one) | {"group": names[one], "place": one} for one in sorted(names)]
        counted = [line["place"] for line in own if line["n_identities"] >= FEWEST_PEOPLE]
        eligible = np.where(np.isin(group, counted), group, -1)
        gap = largest_gap(self._values(mean), eligible, self.photos.identity, self.seed)
        if gap is None:
            return own, []
        ends = {"highest": names[gap.highest], "lowest": names[gap.lowest]}
        return own, [{"value": gap.value, **ends, "p": gap.p}]

    def _line(self, mean: MeanOf, rows: NDArray[np.bool_]) -> dict[str, Any]:
        """What some photos come to; no number of too few people."""
        photos, columns = self.photos, self.photos.columns(mean.cells)
        trials = photos.trials[rows][:, columns]
        sums = PersonSums.of(photos.events[rows][:, columns], trials, photos.identity[rows])
        line: dict[str, Any] = {"value": np.nan, "low": np.nan, "high": np.nan}
        if sums.n_identities >= FEWEST_PEOPLE and bool(trials.any(axis=0).all()):
            plan = [CellMean(tuple(range(len(columns))), mean.weights)]
            bounded = self.metric.kind == "rate"
            [interval] = joint_intervals(sums, plan, self.resamples, self.seed, bounded=bounded)
            line = {"value": interval.value, "low": interval.low, "high": interval.high}
        return line | {"n_photos": int((trials > 0).sum(axis=0).min()), "n_identities": sums.n_identities}

    def _values(self, mean: MeanOf) -> Floats:
        """The mean of each photo, ``[N]``; NaN for a photo that lacks a cell."""
        columns = self.photos.columns(mean.cells)
        with np.errstate(invalid="ignore"):
            ratios = self.photos.events[:, columns] / self.photos.trials[:, columns]
        weights = np.asarray(mean.weights)
        return ratios @ (weights / weights.sum())
