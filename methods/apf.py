"""APF: a gradient from the phone, made to transfer by a server that never sees the photo."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import grey_levels, grey_step, one_of, positive, whole
from cloakbench.methods.base import Budget, Protector, Scope, Stage
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.apf_enhancer import NoiseEnhancer
from cloakbench.methods.parts.apf_training import DeviceNoise, ServerTraining, UniversalPerturbation
from cloakbench.methods.photo_batch import PhotoBatch


class APF(Protector):
    """Adversarial Privacy-preserving Filter: end-cloud collaboration in three stages.

    1. On the phone, `DeviceNoise`: T signed steps on the small probe network away from another photo of the person,
       through random light, resizing and rotation.
    2. On the server, `NoiseEnhancer`: a U-Net turns that noise into one that transfers to a large recogniser; it is
       given the noise and nothing else.
    3. Still on the server, a universal perturbation, scaled and mixed by learnt numbers, is added, and the sum is
       clipped to the budget.

    The first surrogate is the probe network, the last one the server's recogniser; with one surrogate both are the
    same. The server trains on auxiliary people with at least two photos.

    Paper: Zhang et al., "Adversarial Privacy-preserving Filter", ACM MM 2020.
    Official settings (TensorFlow release): epsilon 8, step 2, T 10, no random start; MobileFaceNet on the phone, an
    ArcFace ResNet on the server; U-Net 64/128/256/512; Adam 1e-4, batch 100, 50 epochs of 100 000 MS1M photos; a
    universal perturbation of at most 12.75. The PyTorch release uses epsilon 16 and has no universal perturbation.
    Deviations: the noise of the training photos is computed once, not in every epoch; the U-Net works in units of the
    budget, so that its first outputs are not lost beside its biases; light changes by up to 5 grey levels, where the
    release takes off half the range by a slip of sign; the universal perturbation is one pass of signed steps on the
    server's recogniser, computed on the auxiliary faces, because the published file belongs to other faces; the last
    weights are kept, not those of the lowest LFW accuracy.

    Args:
        epsilon_255: Linf budget in grey levels.
        steps: gradient steps T on the phone.
        step_255: grey levels per step.
        anchor: ``reference``: away from the person's first reference photo; ``own``: away from the photo itself, which
            needs a random start.
        random_start: begin on the phone at uniform noise within the budget.
        width: channels of the U-Net's first block; 64 is official.
        universal_255: bound of the universal perturbation; 0 leaves the third stage out, as in the PyTorch release.
        epochs, batch, learning_rate: training of the server.
    """

    name: ClassVar[str] = "apf"
    scope: ClassVar[Scope] = "image"
    paper: ClassVar[str] = "Zhang et al., Adversarial Privacy-preserving Filter, ACM MM 2020"
    official_settings: ClassVar[str] = "epsilon 8, 10 steps of 2; U-Net on 100 000 photos, Adam 1e-4, 50 epochs"
    deviations: ClassVar[str] = "training noise computed once; U-Net in units of the budget; own universal perturbation"

    def __init__(
        self,
        epsilon_255: float = 8,
        *,
        steps: int = 10,
        step_255: float = 2,
        anchor: str = "reference",
        random_start: bool = False,
        width: int = 64,
        universal_255: float = 12.75,
        epochs: int = 10,
        batch: int = 50,
        learning_rate: float = 1e-4,
    ) -> None:
        if one_of("anchor", anchor, ("reference", "own")) == "own" and not random_start:
            raise ValueError("apf: anchor=own has no gradient at the photo itself; set random_start=true")
        self.epsilon_255 = grey_levels("epsilon_255", epsilon_255)
        whole("steps", steps)
        grey_step("step_255", step_255)
        self.phone = DeviceNoise(epsilon_255, steps, step_255, random_start)
        self.anchor = anchor
        self.width, self.universal_255 = whole("width", width), grey_levels("universal_255", universal_255)
        self.epochs, self.batch = whole("epochs", epochs), whole("batch", batch)
        self.learning_rate = positive("learning_rate", learning_rate)
        self.budget = Budget("linf", epsilon_255)
        by_reference = {Need.REFERENCES} if anchor == "reference" else set()
        self.needs = frozenset({Need.SURROGATES, Need.AUXILIARY} | by_reference)

    def stages(self) -> tuple[Stage, ...]:
        """The universal perturbation, which no budget bounds, and the server's weights."""
        return (
            UniversalPerturbation(self.universal_255, self.batch),
            ServerTraining(self.phone, self.width, self.epochs, self.batch, self.learning_rate),
        )

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        images, probe = batch.images, context.surrogates[0]
        with torch.no_grad():
            if self.anchor == "own":
                known = probe.embed(images)
            else:
                known = probe.embed(batch.require_references()[:, 0])[batch.owner]
        noise = self.phone.of(images, batch.image_id, known, probe, context)
        enhancer = NoiseEnhancer.of(context.trained["server"], self.width, images.shape[1:], self.epsilon_255 / 255)
        return images + torch.cat([enhancer(part) for part in noise.split(self.batch)])
