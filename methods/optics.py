"""Privacy-preserving optics: a lens that blurs who somebody is and leaves where the face's points are. Simulated."""

from __future__ import annotations

from typing import Any, ClassVar, get_args

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import at_least, grey_levels, one_of, positive, whole
from cloakbench.methods.base import Protector, Scope, Stage
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.obfuscation.optics_training import Mask, OpticsTraining
from cloakbench.methods.photo_batch import PhotoBatch


class Optics(Protector):
    """The photo as a camera with a phase mask would have taken it: what is published was never sharp.

    The mask is a sum of Zernike polynomials in the pupil; the point spread function of each colour is the squared
    Fourier transform of the pupil; the scene is convolved with it, the sensor adds noise and stores 8 bits. The
    coefficients learn together with a network that finds five points in views of the face that are not aligned: its
    error, plus the mean cosine of the surrogates' embeddings before and behind the mask, is minimised. The root mean
    square of the wavefront's error is fixed, so that a mask is compared with the control ``defocus`` of equal error.

    Paper: Lopez, Hinojosa, Arguello and Ghanem, "Privacy-preserving Optics for Enhancing Protection in Face
    De-identification", CVPR 2024.
    Official settings: a lens learnt with a regressor of heat maps, then a GAN that makes a new face of the blurred
    picture, the heat map and a reference; built as hardware. No code was found.
    Deviations: small, and the hardware is simulated: the scene is the photo, with the blur that it has already, at one
    distance. The second stage is left out: the blurred picture is what is published.

    Args:
        mask: see `cloakbench.methods.parts.obfuscation.optics_training.Mask`.
        order: largest radial degree of the polynomials, 2 to 8.
        rms_waves: root mean square of the wavefront's error in wavelengths of 550 nm; 0 is an ideal lens.
        noise_255: standard deviation of the sensor's noise in grey levels.
        width: channels of the network that finds points.
        training_steps, batch, learning_rate: of the training.
        identity_weight: of the cosine.

    Raises:
        SettingError: a parameter is out of range.
    """

    name: ClassVar[str] = "optics"
    scope: ClassVar[Scope] = "image"
    paper: ClassVar[str] = (
        "Lopez, Hinojosa, Arguello and Ghanem, Privacy-preserving Optics for Enhancing Protection in Face "
        "De-identification, CVPR 2024"
    )
    official_settings: ClassVar[str] = "a learnt lens, then a GAN on its pictures; built as hardware"
    deviations: ClassVar[str] = "small: the lens alone, simulated on photos that were taken already"
    hardware: ClassVar[bool] = True
    needs = frozenset({Need.SURROGATES, Need.AUXILIARY})
    max_change_255 = 255.0

    def __init__(
        self,
        mask: Mask = "learnt",
        *,
        order: int = 5,
        rms_waves: float = 0.8,
        noise_255: float = 2.0,
        width: int = 16,
        training_steps: int = 300,
        batch: int = 8,
        learning_rate: float = 1e-2,
        identity_weight: float = 2.0,
    ) -> None:
        self.mask: Mask = one_of("mask", mask, get_args(Mask))
        self.order = one_of("order", order, range(2, 9))
        self.rms_waves = at_least("rms_waves", rms_waves)
        self.noise_255 = grey_levels("noise_255", noise_255)
        self.width = whole("width", width)
        self.training_steps, self.batch = whole("training_steps", training_steps), whole("batch", batch, 2)
        self.learning_rate = positive("learning_rate", learning_rate)
        self.identity_weight = at_least("identity_weight", identity_weight)
        self.training = OpticsTraining(
            mask=self.mask,
            order=self.order,
            rms_waves=self.rms_waves,
            noise_255=self.noise_255,
            width=self.width,
            steps=self.training_steps,
            batch=self.batch,
            learning_rate=self.learning_rate,
            identity_weight=self.identity_weight,
        )

    def stages(self) -> tuple[Stage, ...]:
        return (self.training,)

    def notes(self) -> tuple[str, ...]:
        return ("the camera is simulated on photos that an ordinary one took",)

    @torch.no_grad()
    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        camera = self.training.trained(context.trained[self.training.name]).mask.to(context.device)
        noise = ItemStreams(batch.image_id, context.seed, self.name, device=context.device)
        sensed = camera(batch.images)
        return sensed + self.noise_255 / 255 * noise.normal(*batch.images.shape[1:])
