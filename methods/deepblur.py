"""DeepBlur: a face is blurred in the code of a network that makes faces, and not in the photo."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import at_least, positive, whole
from cloakbench.methods.base import Protector, Scope, Stage
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.gan.networks import with_weights
from cloakbench.methods.parts.obfuscation.face_code import MEAN_CODE, FaceCode, FaceCodeTraining, low_pass
from cloakbench.methods.photo_batch import PhotoBatch

_AT_ONCE = 32


class DeepBlur(Protector):
    """The photo's code through a Gaussian low-pass, and the face that is made of it.

    Width 0 publishes the reconstruction; the wider the filter, the less of the code is the person's own. What is
    filtered is the difference from the mean code of the auxiliary faces, so that a filter without end leaves an average
    face.

    Paper: Li and Choi, "DeepBlur: A Simple and Effective Method for Natural Image Obfuscation", arXiv 2104.02655, 2021.
    Official settings: StyleGAN learnt on FFHQ, codes found by search, several widths of the filter; no code was found.
    Deviations: small, without StyleGAN: an autoencoder of our own learns on the auxiliary faces, its code is a grid of
    cells of 8 pixels, found in one pass; the filter works along the grid, about the mean code. Faces are as smooth as
    such a network makes them.

    Args:
        low_pass_cells: standard deviation of the low-pass in cells of the code; 0 for none.
        width: channels of the networks at half size.
        channels: of the code.
        training_steps, batch, learning_rate: of the training.
        code_noise: standard deviation of the noise on codes, which have one of 1, while the decoder learns; neighbours
            of a face's code are then faces, too.

    Raises:
        SettingError: a parameter is out of range.
    """

    name: ClassVar[str] = "deepblur"
    scope: ClassVar[Scope] = "image"
    paper: ClassVar[str] = "Li and Choi, DeepBlur: A Simple and Effective Method for Natural Image Obfuscation, 2021"
    official_settings: ClassVar[str] = "codes of StyleGAN (FFHQ), several widths"
    deviations: ClassVar[str] = "small: an autoencoder of auxiliary faces; the low-pass works on its grid"
    needs = frozenset({Need.AUXILIARY})
    max_change_255 = 255.0

    def __init__(
        self,
        low_pass_cells: float = 2.0,
        *,
        width: int = 16,
        channels: int = 32,
        training_steps: int = 400,
        batch: int = 16,
        learning_rate: float = 3e-3,
        code_noise: float = 0.1,
    ) -> None:
        self.low_pass_cells = at_least("low_pass_cells", low_pass_cells)
        self.width, self.channels = whole("width", width), whole("channels", channels)
        self.training_steps, self.batch = whole("training_steps", training_steps), whole("batch", batch, 2)
        self.learning_rate = positive("learning_rate", learning_rate)
        self.code_noise = at_least("code_noise", code_noise)
        self.training = FaceCodeTraining(
            width=self.width,
            channels=self.channels,
            steps=self.training_steps,
            batch=self.batch,
            learning_rate=self.learning_rate,
            code_noise=self.code_noise,
        )

    def stages(self) -> tuple[Stage, ...]:
        return (self.training,)

    @torch.no_grad()
    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        weights = dict(context.trained[self.training.name])
        mean = weights.pop(MEAN_CODE)
        network = with_weights(self.training.make, weights)
        assert isinstance(network, FaceCode)
        encoder, decoder = context.counted(network.encoder), context.counted(network.decoder)
        parts = batch.images.split(_AT_ONCE)
        return torch.cat([decoder(low_pass(encoder(photos), mean, self.low_pass_cells)) for photos in parts])
