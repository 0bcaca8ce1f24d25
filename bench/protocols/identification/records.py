"""Records of identification: of each probe, how many strangers stand above its mates in a gallery."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cloakbench.bench.core.status import OK, TARGET_FAILED
from cloakbench.bench.protocols.identification.search import search
from cloakbench.bench.protocols.recognition.protocol import known, nullable
from cloakbench.bench.protocols.recognition.responses import Mates, Responses, answered, cosine, count_rows

ENROLLED = "enrolled"
"""The rule of protected photos in the gallery."""


def probe_records(responses: Responses, ks: Sequence[int], *, enrolled: bool) -> pd.DataFrame:
    """One row per probe of one gallery.

    Args:
        responses: what a target said of probes and gallery.
        ks: depths of the candidate list.
        enrolled: whether the rule of protected photos in the gallery is measured, too.

    Columns: image_id, identity, status, note, gallery_size; own_similarity (protected with its own clean photo),
    best_mate_similarity, best_distractor_similarity; p1_pairs and, for each k, p1_misses_top{k},
    p1_pairs_clean_top{k} (pairs that the clean photo hits), p1_misses_given_clean_top{k}; p2_rank and
    p2_clean_rank, the number of distractors strictly above the best mate; where that rule is measured,
    enrolled_rank, the same of the clean photo and the best protected mate.

    A person with one usable probe has ``p1_pairs`` 0 and null P2 ranks. A gallery with an embedding that is not
    finite has no ranks at all: every row is ``target_failed``.

    Raises:
        ValueError: the responses have no gallery.
    """
    if responses.gallery is None:
        raise ValueError("identification needs a gallery of distractors; give the data set a distractor role")
    gallery, status = responses.gallery, responses.row_status()
    note = np.full(len(status), "", dtype=object)
    unanswered = int((~answered(gallery)).sum())
    if unanswered:
        note[status == OK] = f"{unanswered} of {len(gallery)} gallery photos have no embedding"
        status[status == OK] = TARGET_FAILED

    usable = torch.from_numpy(status == OK)
    # A photo that the method failed on is still a clean mate; one that the target failed on is not.
    mates = Mates.of(responses.identity, answered(responses.clean))
    rank, best_distractor, mate = search(responses.protected, responses.clean, mates, gallery)
    clean_rank, _, _ = search(responses.clean, responses.clean, mates, gallery)
    ranks = {"p2_rank": [(rank, mates)], "p2_clean_rank": [(clean_rank, mates)]}
    if responses.references is not None and responses.reference_identity is not None:
        known_as = Mates.among(responses.identity, responses.reference_identity, answered(responses.references))
        for name, searching in {"p2_rank": responses.protected, "p2_clean_rank": responses.clean}.items():
            found, _, likeness = search(searching, responses.references, known_as, gallery)
            ranks[name].append((found, known_as))
            if name == "p2_rank":
                mate = torch.cat([mate, likeness], dim=1)

    has_mate = usable & torch.stack([one.valid.any(dim=1) for _, one in ranks["p2_rank"]]).any(dim=0)
    columns = {
        "own_similarity": (cosine(responses.protected, responses.clean), usable),
        "best_mate_similarity": (mate.nan_to_num(nan=-torch.inf).amax(dim=1), has_mate),
        "best_distractor_similarity": (best_distractor, usable & bool(len(gallery))),
    }
    records = pd.DataFrame({"image_id": list(responses.image_id), "identity": responses.identity.numpy()})
    records = records.assign(status=status, note=note, gallery_size=len(gallery))
    for name, (values, valid) in columns.items():
        records[name] = known(values.double().numpy(), valid)
    if enrolled:
        # A photo that the method or the target failed on is in nobody's gallery.
        in_gallery = Mates.of(responses.identity, usable)
        found, _, _ = search(responses.clean, responses.protected, in_gallery, gallery)
        ranks["enrolled_rank"] = [(found, in_gallery)]
    for name, counts in _pair_counts(rank, clean_rank, mates.valid, ks).items():
        records[name] = nullable(counts, usable)
    # Padding never is the best mate: its rank is set above every real one.
    for name, found in ranks.items():
        padded = [ranked.masked_fill(~one.valid, len(gallery) + 1) for ranked, one in found]
        best = torch.cat(padded, dim=1).amin(dim=1)
        some = torch.stack([one.valid.any(dim=1) for _, one in found]).any(dim=0)
        records[name] = nullable(best.double().numpy(), usable & some)
    return records


def _pair_counts(rank: Tensor, clean_rank: Tensor, valid: Tensor, ks: Sequence[int]) -> dict[str, np.ndarray]:
    """Of each protected photo the pairs with a clean mate, and in how many the gallery misses it, by P1."""
    counts = {"p1_pairs": count_rows(valid)}
    for k in ks:
        missed, known = valid & (rank >= k), valid & (clean_rank < k)
        counts[f"p1_misses_top{k}"] = count_rows(missed)
        counts[f"p1_pairs_clean_top{k}"] = count_rows(known)
        counts[f"p1_misses_given_clean_top{k}"] = count_rows(missed & known)
    return counts
