"""Comparisons: which differences of a ranking are real, and which of its rows are tied.

All pairs of a ranking are one family for Holm's correction, not only the neighbours. Who is whose neighbour is decided
by the data that decide the comparison, and letters speak of all pairs. The procedure steps down from the clearest pair,
so the many far pairs are out of the way when it comes to the neighbours and cost them next to nothing. Rows of few
photos (`small_samples`) are listed without rank and letters and are compared with nobody: their pairs could not be
decided and would make all others harder to decide.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cloakbench.bench.statistics.paired_comparison import LEVEL, Difference, holm, paired_difference
from cloakbench.bench.statistics.photo_trials import ROW
from cloakbench.bench.statistics.rankings import AXES, MEAN_COLUMNS, Contender, Ranking, Sampling, fewest, rankings
from cloakbench.bench.statistics.tie_groups import tie_groups

ROW_COLUMNS = (*MEAN_COLUMNS, "group")
PAIR_COLUMNS = (
    *AXES,
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


def compare_methods(
    photos: pd.DataFrame, metric: str, sampling: Sampling, *, higher_is_better: bool = True
) -> Comparisons:
    """Rank and compare all methods of a frame.

    Args:
        photos: as for `rankings`.
        metric: its name, for the column.
        sampling: how intervals and p values are made.
        higher_is_better: for the person protected; decides the order.
    """
    rows: list[dict[str, object]] = []
    pairs: list[dict[str, object]] = []
    for ranking in rankings(photos, sampling, higher_is_better=higher_is_better):
        found = _pairs(ranking, sampling)
        letters = iter(_letters(found, len(ranking.ranked)))
        rows += [line | {"group": "" if line["small"] else next(letters)} for line in ranking.lines(metric)]
        pairs += [ranking.axes(metric) | pair for pair in found]
    return Comparisons(
        pd.DataFrame(rows, columns=list(ROW_COLUMNS)).astype({"rank": "Int64"}),
        pd.DataFrame(pairs, columns=list(PAIR_COLUMNS)),
    )


def _pairs(ranking: Ranking, sampling: Sampling) -> list[dict[str, object]]:
    """All pairs of ranked rows as lines of `PAIR_COLUMNS`, in the order of `itertools.combinations`."""
    pairs = list(itertools.combinations(ranking.ranked, 2))
    places = itertools.combinations(range(len(ranking.ranked)), 2)
    found = [_difference(ranking, a, b, sampling) for a, b in pairs]
    corrected = holm([difference.p for difference in found]).tolist()
    return [
        {
            f"{part}_{side}": value
            for side, row in (("a", a), ("b", b))
            for part, value in zip(ROW, row.name, strict=True)
        }
        | {"neighbours": below == above + 1, "difference": difference.value, "p": difference.p}
        | {"low": difference.low, "high": difference.high, "p_holm": p_holm, "decided": p_holm < LEVEL}
        | {"n_photos": fewest((a.trials > 0) & (b.trials > 0)), "n_identities": difference.n_identities}
        for (a, b), (above, below), difference, p_holm in zip(pairs, places, found, corrected, strict=True)
    ]


def _difference(ranking: Ranking, a: Contender, b: Contender, sampling: Sampling) -> Difference:
    return paired_difference(
        (a.events, a.trials),
        (b.events, b.trials),
        ranking.identity,
        sampling.resamples,
        sampling.seed,
        weights=ranking.weights,
        bounded=sampling.bounded,
    )


def _letters(pairs: list[dict[str, object]], count: int) -> list[str]:
    separated = np.zeros((count, count), dtype=bool)
    separated[np.triu_indices(count, 1)] = [bool(pair["decided"]) for pair in pairs]
    return tie_groups(separated | separated.T)
