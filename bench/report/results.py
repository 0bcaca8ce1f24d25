"""`Results`, all that a report is made from: a tidy frame of measurements, models, costs, thresholds, examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from torch import Tensor

MEASUREMENT_COLUMNS = {
    "protocol": "who asked: a label of ``Results.protocols``",
    "metric": "e.g. psr_p1_top1, psr_p2_top5_given_clean, dodging_far_1e-2, ssim",
    "method": "method key of the experiment, e.g. pgd, opom_convex_hull, identity",
    "variant": "settings that make a variant of it, e.g. decay=0.5, steps=2; empty for the method as composed",
    "epsilon_255": "budget in grey levels; NaN for methods without one",
    "surrogate": "surrogate key; empty for methods that use none",
    "judge": "who was asked: the key of a target, or of a protocol's own judge; empty where nobody was",
    "condition": "under what: a label of ``Results.conditions``; 'none' for photos as they were published",
    "value": "rate in [0, 1] or the metric in its own unit; NaN when it could not be had (see status, note)",
    "low": "lower end of the 95 % interval",
    "high": "upper end of the 95 % interval",
    "n": "trials in the denominator",
    "n_failed": "planned photos that failed and are not in n",
    "n_identities": "identities in the denominator, the resampling unit of the interval",
    "white_box": "the judge is the surrogate",
    "same_family": "another model than the surrogate, of its architecture family",
    "status": "ok | method_failed | target_failed | skipped | unavailable",
    "note": "why the value is missing, or a warning",
}
"""The columns of ``Results.measurements`` and what they hold."""

PROTOCOL_COLUMNS = {
    "label": "as in the ``protocol`` column of the measurements",
    "name": "of the protocol; another one than the label where it asks about photos of somebody else's publication",
    "title": "heads its section",
    "publication": "which photos it is about; empty for the probes",
    "config": "its resolved settings, JSON; secrets are left out",
}
"""The columns of ``Results.protocols`` and what they hold."""

CONDITION_COLUMNS = {
    "protocol": "label of the protocol",
    "label": "as in the ``condition`` column of the measurements",
    "title": "as a table prints it",
    "family": "what kind it is; empty for photos as they were published",
    "strength": "its place on the axis of its family; NaN for a kind without one",
    "axis": "what the strength means",
    "order": "up, down or two_sided: which end of the axis is strong",
}
"""The columns of ``Results.conditions`` and what they hold."""


def _empty(columns: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame(columns=list(columns))


@dataclass(frozen=True)
class Example:
    """One face of the image grid: the original and what methods made of it, uint8 ``[3, H, W]``."""

    image_id: str
    original: Tensor
    protected: Mapping[str, Tensor]
    """Label (method and budget) to protected photo."""


@dataclass(frozen=True)
class Results:
    """Everything a report needs, read from the store.

    Attributes:
        name: name of the experiment.
        dataset: name and version of the data set.
        manifest_sha256: digest of the manifest every number comes from.
        measurements: tidy frame with `MEASUREMENT_COLUMNS`.
        models: one row a model: name, roles (surrogate, target), family, backbone, head, stands_for, robust,
            clean_top1.
        costs: one row per method, variant, epsilon_255, surrogate: scope, images, seconds_per_image, forward_per_image,
            backward_per_image, training_seconds, training_passes (of what is trained once for all photos),
            peak_memory_mib, status, note (why a method raised), publication (empty for the probes), converged (whether
             a search met its stop error: yes, no or nothing).
            Times are the only numbers that differ between equal runs.
        methods: one row per method and variant: key, variant, varied (what sets the variants of the method apart, also
            in the row of the method as composed; empty where it has none), title (how it is printed), name, scope,
            goal, needs, targeted, trained, person_specific, norm, paper, official_settings and deviations (of its
            class: what the paper set, and where the class departs from that), notes (how the configuration departs from
            what its name promises).
        thresholds: one row per target and FAR: target, far, threshold, low, high, n_pairs, n_identities.
        examples: faces for the image grid.
        setup: what to print under a table: identities, probes per identity, distractors, seed, resamples.
        protocols: who asked, in the order of the experiment, with `PROTOCOL_COLUMNS`.
        conditions: under what, in the order of the experiment, with `CONDITION_COLUMNS`.
    """

    name: str
    dataset: str
    manifest_sha256: str
    measurements: pd.DataFrame
    models: pd.DataFrame
    costs: pd.DataFrame
    methods: pd.DataFrame
    thresholds: pd.DataFrame
    examples: tuple[Example, ...] = ()
    setup: Mapping[str, Any] = field(default_factory=dict)
    protocols: pd.DataFrame = field(default_factory=lambda: _empty(PROTOCOL_COLUMNS))
    conditions: pd.DataFrame = field(default_factory=lambda: _empty(CONDITION_COLUMNS))
