"""Yes-or-no labels of rendered faces: what a person, or the photo, has, from the parameters that are drawn.

The renderer knows nothing of this module, so that a label more, or another bound, renames no pixel: photos that were
drawn and kept stay good (`cloakbench.datasets.synthetic.face_batch.FaceBatch.digest`).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from cloakbench.datasets.synthetic import identity, nuisance, palette
from cloakbench.datasets.synthetic.face_batch import FaceBatch

LABELS = (
    *("freckles", "dark_hair", "grey_hair", "long_hair", "bald"),
    *("make_up", "beard", "moustache", "smiling", "child"),
)
"""The labels of `person_labels`. Gender and glasses, the world's own, have two classes already."""

VISIBLE = {"beard": 0.25, "moustache": 0.25, "make_up": 0.35, "freckles": 0.0}
"""Strength, from 0 to 1, above which a person counts as having it; a beard or make-up below is drawn too faintly."""
BARE_TEMPLES = 0.3
"""Recession, in inter-ocular distances, above which a person counts as bald, beside those with a bare crown."""
LONG = 1.0
"""Height, in inter-ocular distances below the eyes, that long hair reaches: about that of the mouth."""
DARK = tuple(palette.HAIR_NAMES.index(name) for name in ("black", "brown"))
GREY = palette.HAIR_NAMES.index("grey")
CHILD = identity.AGE_BUCKETS.index("child")
SMILE = nuisance.EXPRESSIONS.index("smile")


def person_labels(batch: FaceBatch, drawn: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """For each of ``LABELS`` 0 (no) or 1 (yes), long ``[N]``.

    Args:
        batch: the photos and who is on them.
        drawn: the world's own labels of these photos, long ``[N]`` each.
    """
    names = list(dict.fromkeys(batch.people))
    place = {name: row for row, name in enumerate(names)}
    rows = torch.tensor([place[name] for name in batch.people], dtype=torch.long)
    people = identity.sample_identities(names, scale=batch.identity_scale)
    of_people = {name: people.column(name) > least for name, least in VISIBLE.items()}
    of_people["bald"] = (people.column("hair_bare_crown") > 0.5) | (people.column("hair_recession") > BARE_TEMPLES)
    of_people["long_hair"] = people.column("hair_length") > LONG
    found = {name: values[rows] for name, values in of_people.items()}
    found["dark_hair"] = torch.isin(drawn["hair_color"], torch.tensor(DARK))
    found["grey_hair"] = drawn["hair_color"] == GREY
    found["child"] = drawn["age"] == CHILD
    found["smiling"] = drawn["expression"] == SMILE
    return {name: found[name].long() for name in LABELS}
