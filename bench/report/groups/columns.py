"""Columns of the frames of `cloakbench.bench.report.results.Results` about groups."""

from __future__ import annotations

GROUPED_METRICS = "told_apart_by_groups"
"""Key of ``Results.setup`` with the names of the metrics, joined by commas."""

LABEL_COLUMNS = {
    "image_id": "a probe",
    "label": "what tells groups apart: complexion, gender, age, glasses, light, sharpness, pose, size",
    "group": "the photo's group, as printed",
    "place": "of the group among those of the label, from 0",
}
"""The columns of ``Results.labels``."""

_OF_RUN = {
    "protocol": "label of the protocol",
    "metric": "as in the measurements",
    "method": "method key",
    "variant": "as in the measurements",
    "epsilon_255": "budget in grey levels; NaN for methods without one",
    "label": "what tells groups apart",
}

GROUP_COLUMNS = _OF_RUN | {
    "group": "as printed",
    "place": "of the group among those of the label",
    "value": "black-box mean over judges and surrogates of the group's photos; NaN for a group of too few people",
    "low": "lower end of its 95 % interval, people drawn",
    "high": "upper end",
    "n_photos": "photos of the group in the cell with the fewest",
    "n_identities": "people of the group",
}
"""The columns of ``Results.groups``."""

GAP_COLUMNS = _OF_RUN | {
    "value": "largest gap between the means of two groups",
    "highest": "group with the largest mean",
    "lowest": "group with the smallest mean",
    "p": "of the permutation test, not corrected",
    "p_holm": "after Holm, all labels of one method and metric being a family",
}
"""The columns of ``Results.gaps``."""
