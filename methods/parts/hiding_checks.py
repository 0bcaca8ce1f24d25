"""Checks of methods that hide faces from people: less is seen than through noise, and recognisers know the person."""

from __future__ import annotations

import torch
from torch import Tensor

from cloakbench.bench.core.checks import NotApplicableError, require
from cloakbench.methods.base import Protector
from cloakbench.methods.context import Need
from cloakbench.methods.parts.dssim import DSSIM
from cloakbench.methods.parts.tiny_world import as_random_signs, similarity, tiny_photos, trained_context
from cloakbench.methods.photo_batch import PhotoBatch

GOAL = "hide from humans"


def check_hiding(protector: Protector) -> str:
    """A protected photo has less SSIM with its original, and more similarity with its owner on the surrogate, than the
    original with random signs on it, as long a change for each photo."""
    if protector.goal != GOAL or Need.SURROGATES not in protector.needs:
        raise NotApplicableError("does not hide faces from people alone")
    batch = tiny_photos()
    outcome = protector.protect(batch, trained_context(protector))
    protected, noisy = outcome.images.float() / 255, as_random_signs(batch, outcome.l2_255)
    seen, seen_through_noise = (1 - 2 * float(DSSIM(batch.images)(photos).mean()) for photos in (protected, noisy))
    known, known_through_noise = (similarity(batch, photos) for photos in (protected, noisy))
    told = (
        f"SSIM {seen:.3f}, with random signs of that length {seen_through_noise:.3f}; "
        f"similarity {known:.3f}, with those {known_through_noise:.3f}"
    )
    require(seen < seen_through_noise and known > known_through_noise, told)
    return told


def check_keys(protector: Protector, batch: PhotoBatch) -> str:
    """Each person has a key of their own, and it depends on nothing but their references.

    The photos that are published differ from the originals in another way each, so this takes the place of what other
    methods of a person show: one mask for all photos.
    """
    keys = [protector.protect(photos, trained_context(protector)).private for photos in (tiny_photos(), batch)]
    require(bool(keys[0]), "gives owners nothing in context.private")
    for name, rows in keys[0].items():
        require(len(rows) == len(batch.identities), f"{name}: {len(rows)} rows for {len(batch.identities)} people")
        require(torch.equal(rows, keys[1][name]), f"{name} depends on the photos that are protected")
    require(any(_all_differ(rows) for rows in keys[0].values()), "two people have equal keys")
    return ", ".join(f"{name}: one for each person" for name in keys[0])


def _all_differ(rows: Tensor) -> bool:
    return len(rows.flatten(1).unique(dim=0)) == len(rows)
