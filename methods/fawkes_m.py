"""Fawkes against attribute networks: other answers while a photo's structure stays."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from cloakbench.methods.base import Goal
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.fawkes_v1 import FawkesTool
from cloakbench.methods.parts.attributes.own_answers import OwnAnswers
from cloakbench.methods.photo_batch import PhotoBatch


class FawkesAttributes(FawkesTool):
    """Fawkes-m: `FawkesTool` whose gain is the mean cross-entropy of the clean answers, towards nobody.

    Paper: Yang et al., "Invisible-Face", TIFS 2025, section VI-A, which replaces the loss and says nothing else.
    Official settings: not given; those of the tool's mode mid are taken: DSSIM 0.012, 75 steps, change at most 15.
    Deviations: those of `FawkesTool`; surrogates average their losses, where the tool adds up its extractors'.

    Args:
        dssim_bound, penalty, steps, learning_rate, max_change_255, ssim_borders, save_last_on_failed: see
            `FawkesTool`.
    """

    name: ClassVar[str] = "fawkes_m"
    goal: Goal = "hide attributes"
    paper: ClassVar[str] = "Yang et al., Invisible-Face, TIFS 2025; Shan et al., Fawkes, USENIX Security 2020"
    official_settings: ClassVar[str] = "the tool's, cross-entropy of attributes instead of its feature distance"
    deviations: ClassVar[str] = "mode mid; labels are the surrogates' own answers; otherwise as the tool"
    needs = frozenset({Need.ATTRIBUTE_SURROGATES})

    def fit(self, batch: PhotoBatch, context: ProtectContext) -> Any:
        """The answers to be left."""
        return OwnAnswers.of(batch.images, context)

    def gain(self, photos: Tensor, fitted: Any, context: ProtectContext) -> Tensor:
        return fitted.distance(photos)
