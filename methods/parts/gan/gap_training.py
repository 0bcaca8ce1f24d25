"""The mask of GAP: a generator is trained to make it from noise that never changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.base import Stage
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.parts.gan.networks import MaskGenerator, drawn
from cloakbench.methods.parts.training_state import read_state, state_of

Scale = Literal["tanh", "channel_max"]
"""How the generator's answer becomes a mask. ``tanh``: times the bound. ``channel_max``, the code's: the answer read as
a picture, less ImageNet's mean colour, each channel shrunk until its largest value is at the bound."""

_STREAM = "gap"
_MEAN = (0.485, 0.456, 0.406)


@dataclass(frozen=True)
class GeneratedMask(Stage):
    """One mask that makes auxiliary faces unlike themselves; see `cloakbench.methods.gap.GAP` for the settings."""

    name: ClassVar[str] = "generated_mask"

    epsilon_255: float
    scale: Scale
    width: int
    blocks: int
    epochs: int
    steps_per_epoch: int
    batch: int
    learning_rate: float

    def run(self, context: ProtectContext) -> Mapping[str, Tensor]:
        """``mask`` ``[1, 3, H, W]`` on the scale of [0, 1], from eval mode, and the ``noise`` it was made of.

        Raises:
            ValueError: the loss is no longer finite.
        """
        faces = context.require_auxiliary().images
        noise = torch.rand(1, *faces.shape[1:], generator=generator(context.seed, _STREAM, "noise")).to(context.device)
        make = partial(MaskGenerator, self.width, self.blocks, "batch", 3, 3)
        network = drawn(make, context.seed, _STREAM, "layers").to(context.device)
        optimiser = torch.optim.Adam(network.parameters(), lr=self.learning_rate, betas=(0.5, 0.999))
        reached = context.resume()
        done = 0 if reached is None else read_state(reached, network, optimiser)
        total = self.epochs * self.steps_per_epoch
        for step in range(done, total):
            order = torch.randperm(len(faces), generator=generator(context.seed, _STREAM, "step", step))
            photos = faces[order[: self.batch]].to(context.device).float() / 255
            loss = self._loss(photos, self.mask(network, noise), context)
            if not bool(loss.isfinite()):
                raise ValueError(f"gap: training diverged at step {step + 1} of {total}: lower method.learning_rate")
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            context.keep(state_of(step + 1, network, optimiser))
            context.progress(step + 1, total)
        with torch.no_grad():
            return {"mask": self.mask(network.eval(), noise), "noise": noise}

    def mask(self, network: nn.Module, noise: Tensor) -> Tensor:
        """The mask that a generator gives now, within the bound in every channel."""
        return scaled_to_bound(network(noise), self.scale, self.epsilon_255 / 255)

    @staticmethod
    def _loss(photos: Tensor, mask: Tensor, context: ProtectContext) -> Tensor:
        """The mean cosine between faces with and without the mask."""
        masked = (photos + mask).clamp(0, 1)
        cosines = []
        for model in context.surrogates:
            with torch.no_grad():
                clean = model.embed(photos)
            cosines.append((model.embed(masked) * clean).sum(dim=1).mean())
        return torch.stack(cosines).mean()


def scaled_to_bound(answer: Tensor, scale: Scale, epsilon: float) -> Tensor:
    """A generator's answer ``[1, 3, H, W]`` in [-1, 1] as a mask of at most ``epsilon``; see `Scale`."""
    if scale == "tanh":
        return epsilon * answer
    offset = (answer + 1) / 2 - answer.new_tensor(_MEAN).view(1, 3, 1, 1)
    largest = offset.abs().amax(dim=(2, 3), keepdim=True)
    return offset * (epsilon / torch.where(largest == 0, 1.0, largest)).clamp(max=1)
