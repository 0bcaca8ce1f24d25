"""`AddedMetric`: a number more from the records of a protocol, which nobody edits for it; a class and its YAML.

It is scored by itself from stored records, so that adding one asks no judge again and changes no stored value.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import pandas as pd

from cloakbench.bench.engine.means import Values, mean_measurements
from cloakbench.bench.engine.rates import Trials, rate_measurements
from cloakbench.bench.report.metric import Metric


class AddedMetric(ABC):
    """One metric. A subclass takes its settings in ``__init__`` and is built from ``conf/metric/NAME.yaml``."""

    described: Metric
    """Name, title, what it is taken over, rate or mean, unit, decimals, direction."""
    protocol: str
    """Name of the protocol whose records it reads."""
    missing: str = ""
    """Why it cannot be computed here; empty when it can."""
    remedy: str = ""
    """What to do about that: for `cloakbench doctor`."""

    @abstractmethod
    def measure(self, records: pd.DataFrame) -> Trials | Values:
        """Events and trials of a rate, or the values of a mean, one entry per record.

        Args:
            records: one row per photo of a cell, by one judge under one condition; numbers are null where it failed.
        """

    def measurements(self, records: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
        """Its row with the columns `cloakbench.bench.engine.rates.MEASUREMENT_FIELDS`."""
        found = Values(np.full(len(records), np.nan), self.missing) if self.missing else self.measure(records)
        if isinstance(found, Trials):
            return rate_measurements(records, {self.described.name: found}, resamples, seed)
        return mean_measurements(records, {self.described.name: found}, resamples, seed)


class ColumnMean(AddedMetric):
    """The mean of a column that a protocol records anyway: a metric without a line of code.

    Args:
        protocol: whose records.
        column: of the records; numbers. The metric has its name.
        title: as a table heads it.
        denominator: what the mean is taken over.
        unit: printed in brackets.
        decimals: printed.
        higher_protects: whether more of it is better for the person protected; None where it says nothing about that.
    """

    def __init__(
        self,
        protocol: str,
        column: str,
        title: str,
        denominator: str = "photos",
        unit: str = "",
        decimals: int = 3,
        higher_protects: bool | None = None,
    ) -> None:
        self.protocol = protocol
        self.described = Metric(column, title, denominator, "mean", unit, decimals, higher_protects)

    def measure(self, records: pd.DataFrame) -> Values:
        """The column; a gap where the protocol records no such numbers."""
        name = self.described.name
        if name not in records or not pd.api.types.is_numeric_dtype(records[name]):
            nothing = np.full(len(records), np.nan)
            return Values(nothing, f"{self.protocol} records no numbers called {name}")
        return Values(records[name].to_numpy(dtype=np.float64, na_value=np.nan))
