"""BFR-resistant: noise on a mosaic, so that networks which restore faces do not bring the person back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import at_least, grey_levels, grey_step, whole
from cloakbench.methods.base import Protector, Scope, Stage
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.mosaic import Mosaic
from cloakbench.methods.parts.linf import LinfBall
from cloakbench.methods.parts.obfuscation.restorers import restorer_trainings
from cloakbench.methods.parts.objectives import find_anchors, input_gradient, unit_mean
from cloakbench.methods.parts.purifying.recipe import PurifierRecipe
from cloakbench.methods.photo_batch import PhotoBatch


class BFRResistant(Protector):
    """A mosaic with noise in an Linf ball around it; what restorers make of it is unlike the person.

    Several restorers learn on mosaics of auxiliary people. Signed steps with momentum then take the embedding of each
    restored photo away from that of the clean photo; gradients of all restorers and surrogates have equal size before
    they are added, as all of them undo the same mosaic and what fools all is not the weakness of one. How the method
    does is told by a restorer that is none of them: ``transform=restored`` and ``metric=own_similarity``.

    Paper: Zhang et al., "Transferable Facial Privacy Protection against Blind Face Restoration via Domain-Consistent
    Adversarial Obfuscation", ICML 2024.
    Official settings: published restorers of faces at 512 pixels; no code was found.
    Deviations: small: restorers are networks of ``conf/purifier`` of a few layers, trained on the auxiliary faces; the
    equal size of gradients stands for the paper's consistency of domains. Who averages the tiles anew takes the noise
    out again with what the mosaic left.

    Args:
        restorers: recipes by name, at least one; null for one that is left out.
        tiles: of the mosaic, along a side.
        noise_255: Linf bound of the noise in grey levels; 0 is the mosaic.
        steps: of the search.
        step_255: of each in grey levels.
        decay: of the momentum.

    Raises:
        SettingError: a parameter is out of range, or there is no restorer.
    """

    name: ClassVar[str] = "bfr_resistant"
    scope: ClassVar[Scope] = "image"
    paper: ClassVar[str] = (
        "Zhang et al., Transferable Facial Privacy Protection against Blind Face Restoration via Domain-Consistent "
        "Adversarial Obfuscation, ICML 2024"
    )
    official_settings: ClassVar[str] = "published restorers of faces"
    deviations: ClassVar[str] = "small: restorers of a few layers, trained on auxiliary faces"
    needs = frozenset({Need.SURROGATES, Need.AUXILIARY})
    max_change_255 = 255.0

    def __init__(
        self,
        restorers: Mapping[str, PurifierRecipe | None],
        *,
        tiles: int = 8,
        noise_255: float = 8.0,
        steps: int = 10,
        step_255: float = 2.0,
        decay: float = 1.0,
    ) -> None:
        self.tiles = whole("tiles", tiles)
        self.restorers = dict(restorers)
        self.mosaic = Mosaic(self.tiles)
        self.trainings = restorer_trainings(restorers, self.tiles)
        self.noise_255 = grey_levels("noise_255", noise_255)
        self.steps = whole("steps", steps)
        self.step_255 = grey_step("step_255", step_255)
        self.decay = at_least("decay", decay)

    def stages(self) -> tuple[Stage, ...]:
        return self.trainings

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        restorers = [context.counted(one.purifier(context.trained[one.name])) for one in self.trainings]
        anchors = find_anchors("own", batch, context)
        tiled = (255 * self.mosaic.perturb(batch, None, context)).round() / 255
        ball = LinfBall.around(tiled, self.noise_255 / 255)
        photos, gathered = tiled, torch.zeros_like(tiled)
        for _ in range(self.steps if self.noise_255 else 0):
            slopes = [
                unit_mean(input_gradient(photos, [model], lambda _, e, place=place: anchors.loss(place, e), restorer))
                for restorer in restorers
                for place, model in enumerate(context.surrogates)
            ]
            gathered = self.decay * gathered + torch.stack(slopes).mean(dim=0)
            photos = ball.project_(photos - self.step_255 / 255 * gathered.sign())
        return photos
