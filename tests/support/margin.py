"""`Margin`: a metric of a user's own package, added to identification, for tests."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cloakbench.bench.engine.added_metric import AddedMetric
from cloakbench.bench.engine.means import Values
from cloakbench.bench.report.metric import Metric


class Margin(AddedMetric):
    """By how much the best stranger is more alike than the person.

    Args:
        ruler: whether there is something to measure with.
    """

    protocol = "identification"
    described = Metric("margin", "Margin", "protected photos", kind="mean", unit="cosine", decimals=2)

    def __init__(self, ruler: bool = True) -> None:
        if not ruler:
            self.missing, self.remedy = "no ruler", "metrics.margin.ruler=true"

    def measure(self, records: pd.DataFrame) -> Values:
        stranger, person = (records[f"best_{who}_similarity"] for who in ("distractor", "mate"))
        return Values((stranger - person).to_numpy(dtype=np.float64), undefined="of people with one photo")
