"""A method whose photos come back with a key: each is blended with noise that its owner keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from cloakbench.bench.core.random_streams import uniform_per_item
from cloakbench.methods.base import Goal, Protector, Scope
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.photo_batch import PhotoBatch

KEY = "veil"


class KeyedBlend(Protector):
    """``alpha`` of the photo and the rest of noise, which is one for all photos of a person."""

    name: ClassVar[str] = "keyed_blend"
    scope: ClassVar[Scope] = "identity"
    goal: ClassVar[Goal] = "hide from humans"
    paper: ClassVar[str] = "none; a test"

    def __init__(self, alpha: float = 0.2) -> None:
        self.alpha = alpha
        self.recoverable = 0 < alpha < 1
        self.recovery_error_255 = 0.5 / alpha if self.recoverable else None

    def fit(self, batch: PhotoBatch, context: ProtectContext) -> Tensor:
        context.private[KEY] = veils_of(batch.identities, batch.images.shape[-1], context.seed)
        return context.private[KEY]

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        return self.alpha * batch.images + (1 - self.alpha) * fitted[batch.owner]

    def recover(self, photos: Tensor, keys: Mapping[str, Tensor], people: Tensor) -> Tensor:
        if not self.recoverable:
            raise NotImplementedError(f"keyed_blend gives no photo back at alpha {self.alpha:g}")
        veils = keys[KEY]
        if veils.shape[1:] != photos.shape[1:]:
            raise ValueError(f"keyed_blend: keys of {tuple(veils.shape[1:])} for photos of {tuple(photos.shape[1:])}")
        return ((photos - (1 - self.alpha) * veils[people]) / self.alpha).clamp(0, 1)


def veils_of(identities: tuple[str, ...], side: int, seed: int) -> Tensor:
    """The noise of each person, ``[P, 3, side, side]``."""
    return uniform_per_item(identities, (3, side, side), 0, 1, seed, "keyed_blend")


class WrongKey(KeyedBlend):
    """Gives everybody the same key."""

    name: ClassVar[str] = "wrong_key"

    def fit(self, batch: PhotoBatch, context: ProtectContext) -> Tensor:
        veil = veils_of(("everybody",), batch.images.shape[-1], context.seed)
        context.private[KEY] = veil.expand(len(batch.identities), -1, -1, -1)
        return context.private[KEY]


class LossyBlend(KeyedBlend):
    """Gives back something else than what was protected."""

    name: ClassVar[str] = "lossy_blend"

    def recover(self, photos: Tensor, keys: Mapping[str, Tensor], people: Tensor) -> Tensor:
        return (super().recover(photos, keys, people) + 6 / 255).clamp(0, 1)
