"""AVIH: a picture of noise for each photo, which recognisers know and one private network turns back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import at_least, one_of, positive, share, whole
from cloakbench.methods.base import Goal, Protector, Scope, Stage
from cloakbench.methods.context import CountedNetwork, Need, ProtectContext
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.objectives import input_gradient
from cloakbench.methods.parts.veils.block_variance import between_blocks
from cloakbench.methods.parts.veils.key_network import (
    TILE_PX,
    KeyTraining,
    body_with,
    read_by,
    secret_filters,
)
from cloakbench.methods.photo_batch import PhotoBatch

Begin = Literal["noise", "photo"]
"""``noise``: standard normal, of each photo its own. ``photo``: the photo itself."""

_FILTERS = "filters"
_BLOCK_PX = 4
_PATIENCE = 16
_SHORTER = 0.85


class AVIH(Protector):
    """Adversarial visual information hiding: ``x'`` is found from noise, for each photo anew.

    Minimised is ``mean((f(x') - f(x))^2) + decode_weight * mean((K(x') - x)^2) + variance_weight * V(x')``; K is the
    key network of the photo's owner (`cloakbench.methods.parts.veils.key_network`), V the variance of sums of 4x4
    pixels in steps of one, added up over the channels. ``G <- momentum * G + g / mean|g|``, ``x' <- clip(x' - step *
    G)``; each photo's step is 0.85 times as long after every 16 times its loss has risen. A photo costs T passes of the
    recogniser and T of the key network.

    Paper: Su et al., "Hiding Visual Information via Obfuscating Adversarial Perturbations", ICCV 2023.
    Official settings: 800 steps of 0.01, momentum 0.3, weights 0.2 and 0.001; one trained ResNet-9 as the key.
    Deviations: the key network is small and learnt by our recipe once, each user's is its own by secret filters; the
    start is a stream of the photo's own; photos of a chunk are searched together, each by its own loss; a gradient of
    zero leaves a photo where it is, where the release divides zero by zero; what is published are 8-bit photos, where
    the release saves grids scaled by their own range.

    Args:
        steps: T.
        step: length of the first ones, on the scale of [0, 1].
        momentum: kept of the gathered gradient.
        decode_weight, variance_weight: of the loss.
        start: where the search begins.
        width, blocks: of the key network's body.
        training_steps, batch, learning_rate: of its training, by Adam on auxiliary faces.
    """

    name: ClassVar[str] = "avih"
    scope: ClassVar[Scope] = "image"
    goal: Goal = "hide from humans"
    paper: ClassVar[str] = "Su et al., Hiding Visual Information via Obfuscating Adversarial Perturbations, ICCV 2023"
    official_settings: ClassVar[str] = "800 steps of 0.01, momentum 0.3, weights 0.2 and 0.001; ResNet-9 as key"
    deviations: ClassVar[str] = "a small key network by our recipe, each user's own by secret filters"
    needs = frozenset({Need.SURROGATES, Need.AUXILIARY})
    recoverable = True

    def __init__(
        self,
        *,
        steps: int = 800,
        step: float = 0.01,
        momentum: float = 0.3,
        decode_weight: float = 0.2,
        variance_weight: float = 0.001,
        start: Begin = "noise",
        width: int = 32,
        blocks: int = 2,
        training_steps: int = 500,
        batch: int = 16,
        learning_rate: float = 2e-3,
    ) -> None:
        self.steps, self.step = whole("steps", steps), positive("step", step)
        self.momentum = share("momentum", momentum)
        self.decode_weight = at_least("decode_weight", decode_weight)
        self.variance_weight = at_least("variance_weight", variance_weight)
        self.start: Begin = one_of("start", start, get_args(Begin))
        self.width, self.blocks = whole("width", width), whole("blocks", blocks, 0)
        self.training_steps, self.batch = whole("training_steps", training_steps), whole("batch", batch)
        self.learning_rate = positive("learning_rate", learning_rate)
        self.training = KeyTraining(
            width=self.width,
            blocks=self.blocks,
            steps=self.training_steps,
            batch=self.batch,
            learning_rate=self.learning_rate,
        )

    def stages(self) -> tuple[Stage, ...]:
        return (self.training,)

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        if any(side % TILE_PX for side in batch.images.shape[2:]):
            raise ValueError(
                f"avih: the sides of photos must be multiples of {TILE_PX}, got {tuple(batch.images.shape[2:])}"
            )
        weights = context.trained[self.training.name]
        filters = secret_filters(batch.identities, context)[batch.owner]
        context.private[_FILTERS] = filters
        context.private.update(
            {name: weight.expand(len(filters), *weight.shape).contiguous() for name, weight in weights.items()}
        )
        target = _Target(batch.images, filters, context.counted(body_with(weights)), context)
        return self._search(self._begin(batch, context), target, context)

    def recover(self, photos: Tensor, keys: Mapping[str, Tensor], people: Tensor) -> Tensor:
        """As in `cloakbench.methods.base.Protector.recover`; the keys are whole key networks, one for each photo."""
        if any(side % TILE_PX for side in photos.shape[2:]):
            raise ValueError(f"avih: photos of {tuple(photos.shape[2:])} pixels are none that it published")
        read = read_by(keys[_FILTERS][people], photos)
        recovered = torch.empty_like(photos)
        for row in people.unique().tolist():
            body = body_with({name: key[row] for name, key in keys.items() if name != _FILTERS})
            recovered[people == row] = body(read[people == row])
        return recovered.clamp_(0, 1)

    def _begin(self, batch: PhotoBatch, context: ProtectContext) -> Tensor:
        if self.start == "photo":
            return batch.images.clone()
        return ItemStreams(batch.image_id, context.seed, self.name, device=context.device).normal(
            *batch.images.shape[1:]
        )

    def _search(self, hidden: Tensor, target: _Target, context: ProtectContext) -> Tensor:
        row = (-1, 1, 1, 1)
        gathered, lengths = torch.zeros_like(hidden), torch.full_like(hidden[:, 0, 0, 0], self.step)
        before, risen = torch.full_like(lengths, torch.inf), torch.zeros_like(lengths)
        for _ in range(self.steps):
            losses, slope = self._loss_and_slope(hidden, target, context)
            sizes = slope.abs().mean(dim=(1, 2, 3)).clamp(min=torch.finfo(slope.dtype).tiny)
            gathered.mul_(self.momentum).add_(slope / sizes.view(row))
            risen += losses > before
            lengths = torch.where(risen == _PATIENCE, _SHORTER * lengths, lengths)
            risen, before = torch.where(risen == _PATIENCE, 0.0, risen), losses
            hidden = (hidden - lengths.view(row) * gathered).clamp_(0, 1)
        return hidden

    def _loss_and_slope(self, hidden: Tensor, target: _Target, context: ProtectContext) -> tuple[Tensor, Tensor]:
        """The loss of each photo ``[N]``, and its slope ``[N, 3, H, W]``."""
        leaf = hidden.detach().requires_grad_()
        own = self.decode_weight * target.decoding_error(leaf)
        own = own + self.variance_weight * _BLOCK_PX**4 * between_blocks(leaf, _BLOCK_PX, unbiased=True)
        (slope,) = torch.autograd.grad(own.sum(), leaf)
        losses = own.detach()

        def unlike(surrogate: int, embeddings: Tensor) -> Tensor:
            nonlocal losses
            each = (embeddings - target.features[surrogate]).square().mean(dim=1)
            losses = losses + each.detach() / len(target.features)
            return each.sum()

        slope = slope + input_gradient(hidden, context.surrogates, unlike)
        return losses, slope


class _Target:
    """What hidden photos are to become.

    Args:
        photos: the originals ``[N, 3, H, W]``.
        filters: of their owners, ``[N, 24, 48]``.
        body: of all key networks.
        context: with the surrogates.
    """

    def __init__(self, photos: Tensor, filters: Tensor, body: CountedNetwork, context: ProtectContext) -> None:
        self._photos, self._filters, self._body = photos, filters, body
        with torch.no_grad():
            self.features = [model.embed(photos) for model in context.surrogates]

    def decoding_error(self, hidden: Tensor) -> Tensor:
        """Mean squared error of what each key network makes of its photo, ``[N]``."""
        return (self._body(read_by(self._filters, hidden)) - self._photos).square().mean(dim=(1, 2, 3))
