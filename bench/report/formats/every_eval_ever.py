"""`every_eval_ever`: measurements in the schema of Every Eval Ever, 0.3.0 (arXiv 2606.14516), a record for each method.

The schema speaks of models that are evaluated: here these are methods at a budget, and the recognisers that judge them
are details of a score. All values of details are strings there. A score is required, so that a cell without one (a
failure, or the endless PSNR of equal photos) is no result; how many there are stands in the record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cloakbench.bench.core.axes import row_name
from cloakbench.bench.core.status import OK
from cloakbench.bench.report.estimate import records, text
from cloakbench.bench.report.metric import Metric
from cloakbench.bench.report.results import Results

SCHEMA_VERSION = "0.3.0"


@dataclass(frozen=True)
class RunSource:
    """Who says so, and when.

    Attributes:
        organisation: who ran the benchmark.
        relationship: of whom to the methods: ``first_party``, ``third_party``, ``collaborative`` or ``other``.
        timestamp: when the run was finished, in seconds since 1970, as text.
        version: of this package.
    """

    organisation: str
    relationship: str
    timestamp: str
    version: str


def every_eval_ever(results: Results, source: RunSource) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and record of each method at each budget; equal results and sources give equal records."""
    metrics = {
        (str(protocol), metric.name): metric
        for protocol in results.protocols["label"]
        for metric in results.declared(str(protocol))
    }
    about = {(str(line["key"]), text(line["variant"])): line for line in records(results.methods)}
    frame = results.measurements
    by_row: Any = frame.groupby(["method", "variant", "epsilon_255"], dropna=False, sort=True)
    for key, cells in by_row:
        method, variant, epsilon_255 = str(key[0]), text(key[1]), float(key[2])
        name = row_name(method, variant) + ("" if pd.isna(epsilon_255) else f"@{epsilon_255:g}")
        yield name, _record(results, source, name, about.get((method, variant), {}), cells, metrics)


def _record(
    results: Results,
    source: RunSource,
    name: str,
    about: Mapping[str, Any],
    cells: pd.DataFrame,
    metrics: Mapping[tuple[str, str], Metric],
) -> dict[str, Any]:
    known = cells.loc[(cells["status"] == OK) & np.isfinite(cells["value"].astype(float))]
    details = {key: text(about.get(key)) for key in ("scope", "goal", "needs", "paper", "deviations")}
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": f"{results.name}/cloakbench/{name}/{source.timestamp}",
        "retrieved_timestamp": source.timestamp,
        "source_metadata": {
            "source_name": "CloakBench",
            "source_type": "evaluation_run",
            "source_organization_name": source.organisation,
            "evaluator_relationship": source.relationship,
            "additional_details": {str(key): str(value) for key, value in results.setup.items()},
        },
        "eval_library": {"name": "cloakbench", "version": source.version},
        "model_info": {
            "name": text(about.get("title")) or name,
            "id": f"cloakbench/{name}",
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": "open_weights",
                "kind": "protection method",
                **{key: value for key, value in details.items() if value},
                "cells_without_a_score": str(len(cells) - len(known)),
            },
        },
        "evaluation_results": [_result(results, line, metrics) for line in records(known)],
    }


def _result(results: Results, line: Mapping[str, Any], metrics: Mapping[tuple[str, str], Metric]) -> dict[str, Any]:
    metric = metrics.get((str(line["protocol"]), str(line["metric"])))
    rate = metric is not None and metric.kind == "rate"
    details = {key: line[key] for key in ("surrogate", "judge", "condition", "white_box", "same_family", "n_failed")}
    score: dict[str, Any] = {
        "score": float(line["value"]),
        "details": {key: str(value) for key, value in details.items() if text(value)},
        "uncertainty": {"num_samples": int(line["n"])},
    }
    if np.isfinite(line["low"]) and np.isfinite(line["high"]):
        score["uncertainty"]["confidence_interval"] = {
            "lower": float(line["low"]),
            "upper": float(line["high"]),
            "confidence_level": 0.95,
            "method": "bootstrap over people",
        }
    return {
        "evaluation_name": f"{line['protocol']}/{line['metric']}",
        "source_data": {
            "dataset_name": results.dataset,
            "source_type": "other",
            "additional_details": {"manifest_sha256": results.manifest_sha256},
        },
        "metric_config": {
            "metric_id": str(line["metric"]),
            "metric_name": metric.title if metric else str(line["metric"]),
            "evaluation_description": metric.denominator if metric else "",
            "metric_unit": "proportion" if rate else (metric.unit if metric else ""),
            "lower_is_better": metric is not None and metric.higher_protects is False,
            "score_type": "continuous",
            "min_score": 0.0 if rate else None,
            "max_score": 1.0 if rate else None,
        },
        "score_details": score,
    }
