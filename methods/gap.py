"""GAP: one mask for everybody that a generator makes of fixed noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, get_args

from torch import Tensor

from cloakbench.bench.core.ranges import grey_levels, one_of, positive, whole
from cloakbench.methods.base import Budget, Protector, Scope, Stage
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.gan.gap_training import GeneratedMask, Scale
from cloakbench.methods.parts.norms import NormMatch
from cloakbench.methods.photo_batch import PhotoBatch


class GAP(Protector):
    """Generative adversarial perturbation: a generator learns one mask under which faces are unlike themselves.

    Noise, drawn once, goes through a residual generator; its answer, scaled to the bound, lies on every auxiliary face
    of the batch, and the mean cosine to the clean faces is minimised. The mask that is deployed comes from the trained
    generator with the running statistics of its batch norms.

    Paper: Poursaeed et al., "Generative Adversarial Perturbations", CVPR 2018.
    Official settings (ImageNet classifiers): noise U(0, 255), generator of 64 filters with batch norm, Adam 2e-4 with
    betas 0.5 and 0.999, batch 30, 10 epochs of 50 steps, bound 10; the loss is the log of a cross entropy with the
    least likely class; the answer is shrunk per channel and never enlarged (``scale=channel_max``), and photos are
    clipped to the range of their batch.
    Deviations: bound 8 as the other masks here; cosine of embeddings; photos are clipped to valid pixels; noise in
    [0, 1], which the first batch norm does not notice; enlargement and convolution instead of transposed convolutions.

    Args:
        epsilon_255: Linf bound in grey levels of every channel.
        scale: see `cloakbench.methods.parts.gan.gap_training.Scale`.
        width: filters of the generator.
        blocks: its residual blocks.
        epochs, steps_per_epoch, batch, learning_rate: of the training.
        match_norm: see `cloakbench.methods.parts.norms.NormMatch`.
    """

    name: ClassVar[str] = "gap"
    scope: ClassVar[Scope] = "universal"
    paper: ClassVar[str] = "Poursaeed et al., Generative Adversarial Perturbations, CVPR 2018"
    official_settings: ClassVar[str] = "64 filters, Adam 2e-4, 500 steps of 30 photos, bound 10 (ImageNet)"
    deviations: ClassVar[str] = "cosine of embeddings; symmetric scaling; valid pixels"
    needs = frozenset({Need.SURROGATES, Need.AUXILIARY})

    def __init__(
        self,
        epsilon_255: float = 8,
        *,
        scale: Scale = "tanh",
        width: int = 64,
        blocks: int = 6,
        epochs: int = 10,
        steps_per_epoch: int = 50,
        batch: int = 30,
        learning_rate: float = 2e-4,
        match_norm: Mapping[str, float | None] | None = None,
    ) -> None:
        self.epsilon_255 = grey_levels("epsilon_255", epsilon_255)
        self.scale: Scale = one_of("scale", scale, get_args(Scale))
        self.width, self.blocks, self.epochs = whole("width", width), whole("blocks", blocks), whole("epochs", epochs)
        self.steps_per_epoch, self.batch = whole("steps_per_epoch", steps_per_epoch), whole("batch", batch)
        self.learning_rate = positive("learning_rate", learning_rate)
        self.training = GeneratedMask(
            epsilon_255=self.epsilon_255,
            scale=self.scale,
            width=self.width,
            blocks=self.blocks,
            epochs=self.epochs,
            steps_per_epoch=self.steps_per_epoch,
            batch=self.batch,
            learning_rate=self.learning_rate,
        )
        self.match_norm, self.match = match_norm, NormMatch(match_norm)
        self.budget = self.match.budget(Budget("linf", epsilon_255))

    def stages(self) -> tuple[Stage, ...]:
        return (self.training,)

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        return batch.images + self.match.scaled(context.trained[GeneratedMask.name]["mask"])
