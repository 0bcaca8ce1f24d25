"""Decided: joint intervals, rankings and paired comparisons of an experiment, worked out once and stored."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from cloakbench.bench.core.code_digests import code_digest
from cloakbench.bench.core.hashing import content_key
from cloakbench.bench.experiment.experiment import Experiment
from cloakbench.bench.report.decisions.columns import DECIDED
from cloakbench.bench.report.decisions.decide import with_decisions
from cloakbench.bench.report.groups.columns import GROUPED_METRICS
from cloakbench.bench.report.labels import COMPARED_WITH
from cloakbench.bench.report.reporters import reporters
from cloakbench.bench.report.results import Results


def decided(experiment: Experiment, results: Results, scores: Sequence[str]) -> Results:
    """Results with what their records decide, from the store where it is there.

    Args:
        experiment: whose results these are.
        results: with records and measurements.
        scores: keys of the stored scores that these are made of.
    """
    frames = (results.measurements, results.metrics, results.protocols, results.labels)
    inputs = {
        "scores": sorted(scores),
        "grouped": results.setup.get(GROUPED_METRICS, ""),
        "frames": [hashlib.sha256(frame.to_csv(index=False).encode()).hexdigest() for frame in frames],
        "compared_with": results.setup.get(COMPARED_WITH, ""),
        "code": code_digest("cloakbench.bench.report.decisions.decide"),
    }
    key = content_key("decisions", inputs)
    store = experiment.store
    stored = {name: store.read_frame(name, key) for name in DECIDED}
    if all(frame is not None for frame in stored.values()):
        return replace(results, **stored)
    results = with_decisions(results, reporters(results))
    for name in DECIDED:
        store.write_frame(name, key, getattr(results, name))
    return results
