"""DPG, small: a mark whose bits say whose photo it is, and under which recognisers do not know the face."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.core.ranges import at_least, grey_levels, positive, whole
from cloakbench.methods.base import Budget, Protector, Scope, Stage
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.gan.game import below
from cloakbench.methods.parts.gan.networks import with_weights
from cloakbench.methods.parts.watermark.training import DECODER, ENCODER, MarkRules, MarkTraining
from cloakbench.methods.photo_batch import PhotoBatch

BITS_READ = "bits_read"
"""Name of the fact: by person the bits that were read as they were written, and all that were written."""


class DPG(Protector):
    """An encoder writes the bits of a photo's owner into it, a decoder reads them, and recognisers are deceived by it.

    ``x' = clip(x + eps * E(x, bits))``. Both networks learn on auxiliary people, bits drawn anew for each photo, see
    `cloakbench.methods.parts.watermark.training`: a step leaves the clean feature on every surrogate, and bits are to
    be read, through distortions, where that step leads and where it began (the paper's meta-optimisation). A person's
    bits are drawn for the name of that person and the run's seed; who has the decoder reads them with `read`.

    Paper: Zhang et al., "DIP-Watermark: A Double Identity Protection Method Based on Robust Adversarial Watermark",
    arXiv 2404.14693, 2024; FaceCloak calls it DPG.
    Official settings: no code was found. An identity string of bits, an encoder and a decoder trained together through
    distortions, with a meta-optimisation that balances them.
    Deviations: the small version: an encoder of a few layers over a pattern for each bit, a decoder that correlates,
    budget, weights, 30 bits and schedule are ours; the meta-step is of first order; the person is evaded, nobody is
    imitated.

    Args:
        epsilon_255: Linf budget in grey levels.
        bits: of a mark.
        width: channels of the encoder's first convolution.
        training_steps: of both networks.
        batch: photos of a step.
        learning_rate: of Adam.
        read_weight, identity_weight, change_weight, look_ahead: see `MarkRules`.

    Raises:
        SettingError: a parameter is out of range.

    Facts: ``bits_read``, by person how many bits are read back from the 8-bit photos as they were written, and how many
    were written.
    """

    name: ClassVar[str] = "dpg"
    scope: ClassVar[Scope] = "image"
    paper: ClassVar[str] = (
        "Zhang et al., DIP-Watermark: A Double Identity Protection Method Based on Robust Adversarial Watermark, 2024"
    )
    official_settings: ClassVar[str] = "no code found; encoder and decoder of an identity string, meta-optimisation"
    deviations: ClassVar[str] = "small version: own networks, budget and weights; first-order meta-step; evasion"
    needs = frozenset({Need.SURROGATES, Need.AUXILIARY})

    def __init__(
        self,
        epsilon_255: float = 8,
        *,
        bits: int = 30,
        width: int = 8,
        training_steps: int = 300,
        batch: int = 10,
        learning_rate: float = 2e-3,
        read_weight: float = 1.0,
        identity_weight: float = 1.0,
        change_weight: float = 0.1,
        look_ahead: float = 1e-2,
    ) -> None:
        self.epsilon_255 = grey_levels("epsilon_255", epsilon_255)
        self.rules = MarkRules(
            epsilon_255=self.epsilon_255,
            bits=whole("bits", bits),
            width=whole("width", width),
            read_weight=at_least("read_weight", read_weight),
            identity_weight=at_least("identity_weight", identity_weight),
            change_weight=at_least("change_weight", change_weight),
            look_ahead=at_least("look_ahead", look_ahead),
        )
        self.marks = MarkTraining(
            rules=self.rules,
            steps=whole("training_steps", training_steps),
            batch=whole("batch", batch, 2),
            learning_rate=positive("learning_rate", learning_rate),
        )
        self.budget = Budget("linf", self.epsilon_255)

    def stages(self) -> tuple[Stage, ...]:
        return (self.marks,)

    @torch.no_grad()
    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        encoder = context.counted(self._network(ENCODER, context))
        written = self.written(batch.identities, context)[batch.owner]
        parts = zip(batch.images.split(self.marks.batch), written.split(self.marks.batch), strict=True)
        marked = torch.cat([self.rules.marked(encoder, photos, bits)[0] for photos, bits in parts])
        right = self.read((marked * 255).round() / 255, context) == written.bool()
        context.facts[BITS_READ] = {
            name: [int(right[batch.owner == person].sum()), right[batch.owner == person].numel()]
            for person, name in enumerate(batch.identities)
        }
        return marked

    def written(self, identities: tuple[str, ...], context: ProtectContext) -> Tensor:
        """The bits of people, 0 and 1, ``[P, B]``."""
        drawn = [
            torch.randint(2, (self.rules.bits,), generator=generator(context.seed, self.name, "bits", identity))
            for identity in identities
        ]
        return torch.stack(drawn).to(context.device, torch.float32)

    @torch.no_grad()
    def read(self, photos: Tensor, context: ProtectContext) -> Tensor:
        """What the decoder reads in photos ``[N, 3, H, W]`` in [0, 1]: bool ``[N, B]``."""
        decoder = context.counted(self._network(DECODER, context))
        return torch.cat([decoder(2 * part - 1) for part in photos.split(self.marks.batch)]) > 0

    def _network(self, side: str, context: ProtectContext) -> nn.Module:
        weights = context.trained[self.marks.name]
        return with_weights(self.rules.makers()[side], below(side, weights))
