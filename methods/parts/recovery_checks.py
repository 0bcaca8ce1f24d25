"""Checks of methods whose photos come back: near enough with the key of their owner, and with no other."""

from __future__ import annotations

import torch
from torch import Tensor

from cloakbench.bench.core.checks import NotApplicableError, require
from cloakbench.methods.base import Protector
from cloakbench.methods.parts.tiny_world import tiny_photos, trained_context
from cloakbench.methods.recovery import recovered_photos


def check_recovery(protector: Protector) -> str:
    """Photos come back from 8 bits within the error that the method states, or else nearer than they were published and
    than pictures of their mean grey level, which are nearer than noise is; with the key of somebody else no nearer than
    those."""
    if not protector.recoverable:
        raise NotApplicableError("gives no photo back")
    batch = tiny_photos()
    outcome = protector.protect(batch, trained_context(protector))
    require(bool(outcome.private), "recoverable, but gives owners nothing in context.private")
    own = torch.arange(len(batch.images)) if protector.scope == "image" else batch.owner
    others = (own + 1) % (len(batch.images) if protector.scope == "image" else len(batch.identities))
    original = (255 * batch.images).round()
    flat = original.var(dim=(1, 2, 3), correction=0)
    unopened = _error(outcome.images, original).minimum(flat)
    back = recovered_photos(protector, outcome.images, outcome.private, own)
    require(
        torch.equal(back, recovered_photos(protector, outcome.images, outcome.private, own)), "two recoveries differ"
    )
    worst = float((back.float() - original).abs().max())
    if (bound := protector.recovery_error_255) is not None:
        require(worst <= bound + 0.5, f"a value is off by {worst:g} grey levels, stated at most {bound:g}")
    recovered = _error(back, original)
    require(bool((recovered < unopened).all()), "a recovered photo is no nearer than the published one")
    wrong = _error(recovered_photos(protector, outcome.images, outcome.private, others), original)
    require(bool((wrong >= unopened).all()), "somebody else's key brings a photo nearer")
    return f"off by up to {worst:g} grey levels; with another key by {float(wrong.sqrt().mean()):.0f} in the mean"


def _error(photos: Tensor, original: Tensor) -> Tensor:
    """Mean squared difference of each photo."""
    return (photos.float() - original).square().mean(dim=(1, 2, 3))
