"""Sightings: who still knows the people in the photos that a report shows, from the records of a run.

They are a few rows, kept beside the numbers, so that pictures can be shown again without the records.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pandas as pd

from cloakbench.bench.report.decisions.columns import SAID_COLUMNS, SIGHTING_COLUMNS
from cloakbench.bench.report.labels import UNTRANSFORMED
from cloakbench.bench.report.results import Results
from cloakbench.bench.report.section import Recognising, Reporter


def with_sightings(results: Results, reporters: Iterable[Reporter]) -> Results:
    """Results with ``sightings`` of the photos in ``examples``, by every protocol that asks who knows them."""
    publication = dict(zip(results.protocols["label"], results.protocols["publication"], strict=True))
    found = []
    for reporter in reporters:
        place = str(publication.get(reporter.name) or "")
        shown = {example.image_id for example in results.examples if example.publication == place}
        if shown and isinstance(reporter, Recognising) and reporter.name in results.records:
            records = results.records[reporter.name]
            chosen = (records["condition"] == UNTRANSFORMED) & records["image_id"].isin(sorted(shown))
            asked = records.loc[chosen].reset_index(drop=True)
            found.append(_said(reporter.name, reporter.recognised(asked), asked))
    return replace(results, sightings=pd.concat(found, ignore_index=True)) if found else results


def _said(protocol: str, said: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    rows = records.assign(protocol=protocol, **{name: said[name].to_numpy() for name in SAID_COLUMNS})
    types = {"recognised": "boolean", "recognised_clean": "boolean", "similarity": "float", "bar": "float"}
    return rows.loc[rows["judge"] != "", list(SIGHTING_COLUMNS)].astype(types | {"epsilon_255": "float"})
