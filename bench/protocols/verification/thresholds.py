"""The stored thresholds of a recogniser on given faces: made once, shared by runs and by ``cloakbench calibrate``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import pandas as pd
import torch
from torch import Tensor

from cloakbench.bench.core.code_digests import code_digest
from cloakbench.bench.core.hashing import content_key
from cloakbench.bench.protocols.recognition.responses import answered
from cloakbench.bench.protocols.verification.calibration import add_legacy, calibrate
from cloakbench.bench.store.store import Store

KIND = "calibrations"
"""Where the store keeps them."""

_LAST = "last_calibrations"
"""Kind of the entries that say, by fingerprint of a recogniser, which of its calibrations was asked for last."""


@dataclass(frozen=True)
class Calibration:
    """Everything that decides thresholds, as plain values.

    Attributes:
        model: fingerprint of the recogniser.
        pixels: digest of the impostor photos (`cloakbench.bench.core.hashing.tensor_digest`).
        people: the person of each photo.
        fars: false accept rates, ascending.
        legacy: the constants of the model's card, or None.
        resamples, seed: the bootstrap.
        batch: photos per forward pass of the embedding.
    """

    model: str
    pixels: str
    people: tuple[str, ...]
    fars: tuple[float, ...]
    legacy: tuple[float, float, float] | None
    resamples: int
    seed: int
    batch: int

    def key(self) -> str:
        """Name of the stored table."""
        code = code_digest("cloakbench.bench.protocols.verification.calibration")
        return content_key(KIND, asdict(self) | {"code": code})


def stored_thresholds(store: Store, calibration: Calibration, embed: Callable[[], Tensor]) -> pd.DataFrame:
    """The table of `calibrate` and `add_legacy`, read from the store or made and stored.

    Args:
        store: where it is kept.
        calibration: what it depends on.
        embed: gives the embeddings ``[N, D]`` of the photos, in the order of ``people``.

    Photos that the recogniser did not answer are left out of the table and keep it out of the store: the next run asks
    for them again.
    """
    key = calibration.key()
    place = {name: number for number, name in enumerate(dict.fromkeys(calibration.people))}
    last = {"key": key, "photos": len(calibration.people), "people": len(place)}
    table = store.read_frame(KIND, key)
    if table is not None:
        if store.read_json(_LAST, calibration.model) != last:
            store.write_json(_LAST, calibration.model, last)
        return table
    embeddings = embed()
    identity = torch.tensor([place[name] for name in calibration.people], dtype=torch.long)
    resamples, seed = calibration.resamples, calibration.seed
    table = calibrate(embeddings, identity, calibration.fars, resamples, seed)
    table = add_legacy(table, embeddings, identity, calibration.legacy, resamples, seed)
    if bool(answered(embeddings).all()):
        store.write_frame(KIND, key, table)
        store.write_json(_LAST, calibration.model, last)
    return table


@dataclass(frozen=True)
class Known:
    """A calibrated threshold, and on how many photos of how many people."""

    threshold: float
    photos: int
    people: int


def last_calibration(store: Store, model: str, far: float) -> Known | None:
    """The threshold of the recogniser with this fingerprint that was asked for last, or None where there is none."""
    last = store.read_json(_LAST, model)
    table = None if last is None else store.read_frame(KIND, last["key"])
    if last is None or table is None:
        return None
    [threshold] = table.loc[table["far"] == far, "threshold"].to_list() or [math.nan]
    return None if math.isnan(threshold) else Known(float(threshold), last["photos"], last["people"])
