"""Matching: is a person still found? Counted by the code of identification, on the photos of one role at a time.

MSR, the matching success rate of person-specific veils (4.2.2), is not defined to the letter. Here the protected photo
searches the person's other clean photos of its role and all distractors, and is matched where one of them comes first:
100 - PSR P2 Top-1 of the same photos. Beside it stand the rate with the photo's own original in the gallery, which is
trivial, and the rule that the text describes: protected photos in the gallery, a clean one searching.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from cloakbench.bench.engine.answers import Answers
from cloakbench.bench.engine.rates import Trials
from cloakbench.bench.protocols.identification.protocol import Identification
from cloakbench.bench.protocols.recognition.protocol import EMBEDDINGS
from cloakbench.bench.protocols.recognition.responses import Responses
from cloakbench.bench.protocols.visual.metrics import MSR, MSR_ENROLLED, MSR_WITH_SOURCE

RANKS = ("p2_rank", "enrolled_rank", "own_similarity", "best_distractor_similarity")
"""Columns of `matching_records` that rates are made from."""


def matching_records(answers: Answers, cell: int, roles: Sequence[str], search: Identification) -> pd.DataFrame:
    """Records of identification for the photos of each role, by itself.

    Args:
        answers: embeddings of a target.
        cell: number of the cell.
        roles: of each photo of the publication.
        search: the protocol whose records these are.
    """
    name = answers.worker.spec.publications[answers.job.publication].photos
    clean, gallery = answers.clean(name)[EMBEDDINGS], answers.clean("distractor")[EMBEDDINGS]
    given, status = answers.protected(cell)
    protected = given.get(EMBEDDINGS, torch.full_like(clean, torch.nan))
    place = {person: number for number, person in enumerate(answers.faces.identities())}
    found = []
    for role in dict.fromkeys(roles):
        rows = [row for row, own in enumerate(roles) if own == role]
        responses = Responses(
            protected=protected[rows],
            clean=clean[rows],
            identity=torch.tensor([place[answers.faces.identity[row]] for row in rows]),
            image_id=[answers.faces.image_id[row] for row in rows],
            gallery=gallery,
            status=[status[row] for row in rows],
        )
        found.append(search.records(responses).assign(role=role))
    records = pd.concat(found, ignore_index=True)
    names = np.array(answers.faces.identities(), dtype=object)
    return records.assign(identity=names[records["identity"].to_numpy()])


def matching_trials(records: pd.DataFrame) -> dict[str, Trials]:
    """Matched photos over those that could be, one entry per record."""
    numbers = {name: records[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in RANKS}
    size = max(records["gallery_size"].tolist(), default=0)
    gap = "" if size >= 1 else "the gallery has no distractor"
    own, best = numbers["own_similarity"], numbers["best_distractor_similarity"]
    matched = numbers["p2_rank"] < 1
    alone = "no person has two usable photos"
    return {
        MSR: _trials(matched, ~np.isnan(numbers["p2_rank"]), gap, alone),
        MSR_WITH_SOURCE: _trials(matched | (own >= best), ~np.isnan(own), gap, "no usable photo"),
        MSR_ENROLLED: _trials(numbers["enrolled_rank"] < 1, ~np.isnan(numbers["enrolled_rank"]), gap, alone),
    }


def _trials(matched: NDArray[np.bool_], tried: NDArray[np.bool_], gap: str, empty: str) -> Trials:
    return Trials((matched & tried).astype(np.float64), tried.astype(np.float64), gap, empty=empty)
