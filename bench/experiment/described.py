"""Frames that tell a report of the protocols and conditions of an experiment, so that it knows none by name."""

from __future__ import annotations

import json

import pandas as pd

from cloakbench.bench.core.redaction import without_secret_settings
from cloakbench.bench.experiment.experiment import Asked, Experiment
from cloakbench.bench.plan.publication import PROBES
from cloakbench.bench.report.results import CONDITION_COLUMNS, METRIC_COLUMNS, PROTOCOL_COLUMNS


def protocol_frame(experiment: Experiment) -> pd.DataFrame:
    """Who asked about which photos, in the order of the config, with the columns `PROTOCOL_COLUMNS`."""
    rows = [
        {
            "label": one.label,
            "name": one.protocol.name,
            "title": one.protocol.title,
            "publication": "" if one.publication.name == PROBES else one.publication.name,
            "config": json.dumps(without_secret_settings(experiment.spec.protocols[one.key])),
        }
        for one in _in_order(experiment)
    ]
    return pd.DataFrame(rows, columns=list(PROTOCOL_COLUMNS))


def condition_frame(experiment: Experiment) -> pd.DataFrame:
    """Under what protocols asked, in their order, with the columns `CONDITION_COLUMNS`."""
    found = {
        (one.label, condition.label): {
            "protocol": one.label,
            "label": condition.label,
            "title": condition.title,
            "family": condition.family,
            "strength": condition.strength,
            "axis": condition.axis,
            "order": condition.order,
        }
        for one in _in_order(experiment)
        for _, conditions in one.judges
        for condition in conditions
    }
    return pd.DataFrame(list(found.values()), columns=list(CONDITION_COLUMNS)).astype({"strength": "float64"})


def metric_frame(experiment: Experiment) -> pd.DataFrame:
    """What protocols measure, and what is added to it, with the columns `METRIC_COLUMNS`."""
    rows = [
        {"protocol": one.label, **vars(metric)}
        for one in _in_order(experiment)
        for metric in (
            *one.protocol.metrics,
            *(added.described for added in experiment.metrics.values() if added.protocol == one.protocol.name),
        )
    ]
    return pd.DataFrame(rows, columns=list(METRIC_COLUMNS)).astype({"higher_protects": object})


def _in_order(experiment: Experiment) -> list[Asked]:
    places = {str(key): number for number, key in enumerate(experiment.config.protocols)}
    return sorted(experiment.asked, key=lambda one: places[one.key])
