"""Photo trials: the events and trials of one metric, a row for each protected photo in each cell of an experiment.

This is all that comparisons need of a protocol. A *cell* is one method at one budget on one surrogate against one
judge; its rows come from the protocol's own reading of its records, so a comparison counts what the tables count.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

ROW = ("method", "variant", "epsilon_255")
"""Columns that name a row of a ranking; ``variant`` may be absent, ``epsilon_255`` is NaN without a budget."""
CELL = (*ROW, "surrogate", "judge")
COLUMNS = (*CELL, "image_id", "identity", "events", "trials")


class EventsAndTrials(Protocol):
    """What a protocol says of one metric, per record."""

    @property
    def events(self) -> NDArray[np.float64]:
        """Events of each record, ``[N]``."""
        ...

    @property
    def trials(self) -> NDArray[np.float64]:
        """Trials of each record, ``[N]``."""
        ...

    @property
    def gap(self) -> str:
        """Why the metric cannot be had in this cell; empty when it can."""
        ...


def photo_trials(
    records: pd.DataFrame, trials: Callable[[pd.DataFrame], Mapping[str, EventsAndTrials]], metric: str
) -> pd.DataFrame:
    """Events and trials of a metric for every photo that is in its denominator.

    Args:
        records: one row per photo and cell of one condition: `CELL`, image_id, identity, and what ``trials`` reads.
        trials: of the protocol, records of one cell to metrics.
        metric: name among them.

    Returns:
        `COLUMNS`, rows with trials only; cells in which the metric is a gap have none.

    Raises:
        ValueError: a cell has a photo twice, as when records hold several conditions.
    """
    frames = []
    for cell, some in _with_variant(records).groupby(list(CELL), dropna=False, sort=False):
        if some["image_id"].duplicated().any():
            raise ValueError(f"a photo is twice in {_named(cell)}: give the records of one condition")
        found = trials(some.reset_index(drop=True))[metric]
        if not found.gap:
            counted = np.asarray(found.trials) > 0
            frames.append(some.assign(events=found.events, trials=found.trials).loc[counted, list(COLUMNS)])
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(COLUMNS))


def photo_values(records: pd.DataFrame, column: str) -> pd.DataFrame:
    """As `photo_trials` for a quantity that each photo has in ``column``, such as its SSIM; NaN is no trial."""
    frame = _with_variant(records).assign(events=records[column], trials=1.0)
    return frame.loc[frame[column].notna(), list(COLUMNS)].reset_index(drop=True)


def _with_variant(records: pd.DataFrame) -> pd.DataFrame:
    plain = {name: "" for name in ("variant", "judge") if name not in records}
    return records.assign(
        **plain, surrogate=records["surrogate"].fillna(""), epsilon_255=records["epsilon_255"].astype(float)
    )


def _named(cell: Hashable) -> str:
    return ", ".join(str(part) for part in cell) if isinstance(cell, tuple) else str(cell)
