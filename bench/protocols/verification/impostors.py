"""Thresholds of a recogniser that is at hand, from the impostors of a data set: for commands and services."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
import torch

from cloakbench.bench.core.hashing import tensor_digest
from cloakbench.bench.protocols.verification.thresholds import Calibration, stored_thresholds
from cloakbench.bench.store.embeddings import stored_embeddings
from cloakbench.bench.store.store import Store
from cloakbench.datasets.base import FaceSet
from cloakbench.models.base import Recogniser


def calibration_on(
    faces: FaceSet,
    model: Recogniser,
    fingerprint: str,
    fars: Iterable[float],
    resamples: int = 1000,
    seed: int = 0,
    batch: int = 100,
) -> Calibration:
    """What decides the thresholds of a recogniser.

    Args:
        faces: of people who play no other role.
        model: the recogniser.
        fingerprint: of it.
        fars: false accept rates.
        resamples, seed: the bootstrap.
        batch: photos per forward pass.
    """
    return Calibration(
        model=fingerprint,
        pixels=tensor_digest(faces.images),
        people=faces.identity,
        fars=tuple(sorted(float(far) for far in fars)),
        legacy=model.card.legacy_thresholds,
        resamples=resamples,
        seed=seed,
        batch=batch,
    )


def impostor_thresholds(
    store: Store, calibration: Calibration, faces: FaceSet, model: Recogniser, device: torch.device
) -> pd.DataFrame:
    """The table of `stored_thresholds`; the recogniser, which is on ``device``, sees the faces where there is none."""

    def embed() -> torch.Tensor:
        return stored_embeddings(store, model, calibration.model, faces.images, calibration.batch, device)

    return stored_thresholds(store, calibration, embed)


def cosines_by_far(thresholds: pd.DataFrame) -> dict[float, float]:
    """The thresholds that there are, by false accept rate."""
    known = thresholds[thresholds["threshold"].notna()]
    return dict(zip(known["far"].astype(float), known["threshold"].astype(float), strict=True))
