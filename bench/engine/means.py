"""Means from records: the mean of a number per photo, with an interval by identity bootstrap, and gaps with reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cloakbench.bench.core.status import OK, UNAVAILABLE
from cloakbench.bench.engine.rates import MEASUREMENT_FIELDS
from cloakbench.bench.statistics.intervals import Interval, mean_intervals


@dataclass(frozen=True)
class Values:
    """The values of one mean.

    Attributes:
        values: one per record, in the unit of the metric; NaN where there is none.
        gap: why the mean cannot be had at all; empty when it can.
        undefined: what a NaN of a record that is ``ok`` means, for the note.
    """

    values: NDArray[np.float64]
    gap: str = ""
    undefined: str = "without a value"


def mean_measurements(
    records: pd.DataFrame, values: Mapping[str, Values], resamples: int, seed: int, items: str = "photos"
) -> pd.DataFrame:
    """One row per metric with the columns `MEASUREMENT_FIELDS`: the mean of ``n`` values, gaps apart.

    Args:
        records: one row per photo, with ``identity`` and ``status``.
        values: metric to its values; those of records that are not ``ok``, and of a metric with a gap, do not count.
        resamples, seed: of the bootstrap over identities.
        items: what a note calls the things that have a value.

    Raises:
        ValueError: a metric has another number of values than there are records.
    """
    if any(len(one.values) != len(records) for one in values.values()):
        raise ValueError(f"every metric must have {len(records)} values, one per record")
    ok = (records["status"] == OK).to_numpy()
    known = {
        name: replace(one, values=np.where(ok & (not one.gap), one.values, np.nan)) for name, one in values.items()
    }
    columns = np.stack([one.values for one in known.values()], axis=1)
    intervals = mean_intervals(columns, records["identity"].to_numpy(), resamples, seed)
    rows = [
        {"metric": metric} | _row(one, interval, records, items)
        for (metric, one), interval in zip(known.items(), intervals, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(MEASUREMENT_FIELDS))


def _row(one: Values, interval: Interval, records: pd.DataFrame, items: str) -> dict[str, object]:
    """The mean where there are values, otherwise a gap with its reason."""
    ok = (records["status"] == OK).to_numpy()
    absent = np.isnan(one.values)
    lost, undefined, n = int((~ok).sum()), int((absent & ok).sum()), int((~absent).sum())
    status, notes = OK, [f"{lost} of {len(ok)} photos failed"] * bool(lost)
    if one.gap:
        status, notes = UNAVAILABLE, [one.gap]
    else:
        notes += [f"{undefined} of {len(ok)} {items} {one.undefined}, not in n"] * bool(undefined)
        if n == 0:
            status = UNAVAILABLE if ok.any() or not len(ok) else str(records["status"].mode().iloc[0])
    return {
        "value": interval.value,
        "low": interval.low,
        "high": interval.high,
        "n": n,
        "n_failed": lost,
        "n_identities": interval.n_identities,
        "status": status,
        "note": "; ".join(notes),
    }
