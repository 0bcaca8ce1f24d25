"""Columns of the frames of `cloakbench.bench.report.results.Results` that are worked out of records."""

from __future__ import annotations

from cloakbench.bench.report.groups.columns import GAP_COLUMNS, GROUP_COLUMNS

MEAN_COLUMNS = {
    "protocol": "label of the protocol",
    "metric": "as in the measurements",
    "condition": "under what",
    "method": "method key",
    "variant": "as in the measurements",
    "epsilon_255": "budget in grey levels; NaN for methods without one",
    "surrogate": "in whose block of a table the mean stands; 'all' for a mean over surrogates",
    "white_box": "over judges who are the surrogate; otherwise over all others",
    "value": "the mean, in the unit of the metric",
    "low": "lower end of its 95 % interval, of one draw of people for all of its cells",
    "high": "upper end",
    "n_photos": "photos in the cell with the fewest",
    "n_identities": "people drawn",
}
"""The columns of ``Results.means`` and what they hold."""

_RANKING = {
    "protocol": "label of the protocol",
    "metric": "as in the measurements",
    "condition": "under what",
    "ranking_epsilon_255": "budget whose methods compete, with those that have none; NaN where one ranking has all",
    "ranking_surrogate": "surrogate whose block is ranked; 'all' for means over surrogates",
}

RANKING_COLUMNS = _RANKING | {
    "method": "method key",
    "variant": "as in the measurements",
    "epsilon_255": "its budget",
    "surrogate": "its own surrogate; empty for methods that use none",
    "rank": "from 1, best first; missing for small rows",
    "group": "letters; rows that share one were not told apart; empty for small rows",
    "small": "stands on too few photos or people to be ranked beside the others",
    "value": "black-box mean, in the unit of the metric",
    "low": "lower end of its joint 95 % interval",
    "high": "upper end",
    "n_photos": "photos in the cell with the fewest",
    "n_identities": "people drawn",
}
"""The columns of ``Results.rankings``, best first within a ranking."""

PAIR_COLUMNS = _RANKING | {
    **{
        f"{name}_{side}": f"of the row {side}"
        for side in "ab"
        for name in ("method", "variant", "epsilon_255", "surrogate")
    },
    "neighbours": "b follows a in the ranking",
    "difference": "a minus b on the photos of both, in the unit of the metric",
    "low": "lower end of its 95 % interval over people, not corrected",
    "high": "upper end",
    "p": "of the swap test, two-sided, not corrected",
    "p_holm": "after Holm, all pairs of the ranking being one family",
    "decided": "p_holm is below 0.05",
    "n_photos": "photos compared, in the cell with the fewest",
    "n_identities": "people compared",
}
"""The columns of ``Results.pairs``; a is before b in the ranking."""

IDENTICAL_COLUMNS = {
    "protocol": "label of the protocol",
    "method": "method, or a variant of it",
    "same_as": "the one whose every record it repeats",
    "n": "records",
}
"""The columns of ``Results.identical``."""

DIFFERENCE_COLUMNS = {
    "protocol": "label of the protocol",
    "metric": "as in the measurements",
    "condition": "under what",
    "method": "method key",
    "variant": "as in the measurements",
    "epsilon_255": "budget, that of both methods",
    "surrogate": "'all' for a mean over surrogates",
    "white_box": "over judges who are the surrogate; otherwise over all others",
    "difference": "minus the method that the run compares with, on the photos of both, in the unit of the metric",
    "low": "lower end of its 95 % interval over people, not corrected",
    "high": "upper end",
    "p": "of the swap test, two-sided, not corrected",
    "n_photos": "photos compared, in the cell with the fewest",
    "n_identities": "people compared",
}
"""The columns of ``Results.differences``."""

WORST_COLUMNS = {
    "protocol": "label of the protocol",
    "metric": "that it is read against, as in the measurements",
    "method": "method key",
    "variant": "as in the measurements",
    "epsilon_255": "budget in grey levels; NaN for methods without one",
    "surrogate": "in whose block of a table it stands; 'all' for means over surrogates",
    "value": "least of the black-box means over all attacks",
    "low": "lower end of its 95 % interval, of one draw of people for all attacks",
    "high": "upper end",
    "published": "black-box mean over the same targets as the first attack leaves it: photos as they were published",
    "published_low": "lower end of its 95 % interval",
    "published_high": "upper end",
    "attack_metric": "metric of the attack that it is, as in the measurements",
    "attack_condition": "condition of that attack",
    "n_attacks": "attacks that it is the least of",
    "n_judges": "targets that met all of them",
    "n_photos": "photos in the cell with the fewest",
    "n_identities": "people drawn",
}
"""The columns of ``Results.worst``."""

SAID_COLUMNS = {
    "recognised": "whether the judge still knows the person; null where it was not asked",
    "recognised_clean": "the same of the photo before protection",
    "similarity": "of the photo to those of the person that the judge knows best, a cosine",
    "bar": "what the similarity must reach: that of the most alike stranger",
}
"""What `Reporter.recognised` says of a record."""

SIGHTING_COLUMNS = {
    "protocol": "label of the protocol",
    "image_id": "of a photo of ``Results.examples``",
    "method": "method key",
    "variant": "as in the measurements",
    "epsilon_255": "budget in grey levels; NaN for methods without one",
    "surrogate": "surrogate key; empty for methods that use none",
    "judge": "who was asked",
    **SAID_COLUMNS,
}
"""The columns of ``Results.sightings``."""

DECIDED = {
    "means": MEAN_COLUMNS,
    "rankings": RANKING_COLUMNS,
    "pairs": PAIR_COLUMNS,
    "identical": IDENTICAL_COLUMNS,
    "differences": DIFFERENCE_COLUMNS,
    "worst": WORST_COLUMNS,
    "groups": GROUP_COLUMNS,
    "gaps": GAP_COLUMNS,
}
"""The frames of `Results` that are worked out of records by `cloakbench.bench.report.decisions.decide`."""
