"""FaceCloak of a single photo: the mask is learnt on the photo that it is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, get_args

from torch import Tensor

from cloakbench.methods.base import Scope
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.facecloak import FaceCloak, Focus, Portraits
from cloakbench.methods.parts.facecloak.anchors import Far, Near
from cloakbench.methods.parts.facecloak.attention import AttentionStart
from cloakbench.methods.parts.facecloak.high_pass import Sign
from cloakbench.methods.parts.facecloak.rules import Rules
from cloakbench.methods.parts.transfer.ensemble import Transfer
from cloakbench.methods.photo_batch import PhotoBatch


class FaceCloakImage(FaceCloak):
    """`FaceCloak` of a single photo, learnt on that photo itself: for people of whom there is no other.

    The impersonation protocol of the paper's Table III has one photo of each person, and with it Table IV. K is one,
    since a generator makes pictures of reference photos, of which there are none: 10 passes per photo.

    Args:
        epsilon_255, focus, focus_255, step_255, steps, near, far, least_people: as in `FaceCloak`; the tables' base
            budget is that of the methods beside it, 16.
        attention_start, attention_rate, attention_offset, high_pass_threshold, high_pass_sign: as in `FaceCloak`.
        rules, match_norm, transfer: as in `FaceCloak`.
    """

    name: ClassVar[str] = "facecloak_image"
    scope: ClassVar[Scope] = "image"

    def __init__(
        self,
        epsilon_255: float = 16,
        *,
        focus: Sequence[Focus] = get_args(Focus),
        focus_255: float = 32,
        step_255: float = 2,
        steps: int = 10,
        near: Near = "self",
        far: Far = "pool",
        least_people: int = 2,
        attention_start: AttentionStart = "ones",
        attention_rate: float = 0.01,
        attention_offset: float = 0.0,
        high_pass_threshold: float = 1.0,
        high_pass_sign: Sign = "absolute",
        rules: Rules | None = None,
        match_norm: Mapping[str, float | None] | None = None,
        transfer: Transfer | None = None,
    ) -> None:
        super().__init__(
            epsilon_255,
            focus=focus,
            focus_255=focus_255,
            step_255=step_255,
            steps=steps,
            references="photos",
            view_count=1,
            near=near,
            far=far,
            least_people=least_people,
            attention_start=attention_start,
            attention_rate=attention_rate,
            attention_offset=attention_offset,
            high_pass_threshold=high_pass_threshold,
            high_pass_sign=high_pass_sign,
            rules=rules,
            match_norm=match_norm,
            transfer=transfer,
        )

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        return batch.images + fitted

    def portraits(self, batch: PhotoBatch, context: ProtectContext) -> Portraits:
        landmarks = batch.require_landmarks() if "stickers" in self.focus else None
        return Portraits(batch.image_id, batch.images, batch.images.unsqueeze(1), landmarks)

    def _needs(self) -> frozenset[Need]:
        return self._common_needs(Need.LANDMARKS)

    def _aims(self, batch: PhotoBatch) -> Tensor:
        return batch.require_aim_photos()[batch.owner]
