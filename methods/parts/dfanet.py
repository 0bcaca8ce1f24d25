"""The DFANet-M variant of identity masks: dropout inside the surrogate, and momentum per photo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from cloakbench.bench.core.ranges import at_least, one_of, share_below_one
from cloakbench.methods.context import CountedNetwork
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.objectives import unit_mean

NormAxes = Literal["sample", "column"]


class DFANet:
    """Feature-level dropout and accumulated gradients.

    Papers: Zhong and Deng, "Towards Transferable Adversarial Attack against Deep Face Recognition" (DFANet), TIFS
    2021; used with masks in OPOM, TPAMI 2022.
    Official settings: dropout 0.1 after the input convolution and after both convolutions of every residual block, on
    in eval mode; 100 steps; decay 1; dropout unseeded; gradients divided by the mean of ``|grad|`` over the person's
    photos, channels and height, one number per image column (``norm_axes="column"``).
    Deviations: dropout follows every convolution whose kernel is larger than 1x1, found by type, which in residual
    networks are those places and in others, such as depthwise ones, the nearest thing; every photo has its own seeded
    stream; ``norm_axes="sample"`` divides by the mean over a photo, as MI-FGSM does.

    Mobile networks are not what the papers tried, and there dropout costs more than it gives. ``docs/transfer.md`` has
    the figures: after depthwise convolutions, of which each channel is the only one of its kind, it costs most.

    Args:
        dropout_rate: share of activations dropped; the others are scaled up to keep the mean.
        momentum_decay: of the gradients gathered per photo.
        norm_axes: what the divisor of a gradient averages over.
        after_depthwise: drop after depthwise convolutions, too; without them a mobile network has its first left.

    Raises:
        SettingError: a parameter is out of range.
    """

    def __init__(
        self,
        dropout_rate: float = 0.1,
        momentum_decay: float = 1.0,
        norm_axes: NormAxes = "sample",
        after_depthwise: bool = True,
    ) -> None:
        self.dropout_rate = share_below_one("dropout_rate", dropout_rate)
        self.momentum_decay = at_least("momentum_decay", momentum_decay)
        self.norm_axes = one_of("norm_axes", norm_axes, ("sample", "column"))
        self.after_depthwise = after_depthwise

    @contextmanager
    def active(self, surrogates: Sequence[CountedNetwork], streams: ItemStreams) -> Iterator[None]:
        """Dropout inside the surrogates, by hooks that are gone afterwards; parameters and buffers stay untouched."""
        places = [
            module
            for surrogate in surrogates
            for module in surrogate.model.modules()
            if isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1 and self._drops_after(module)
        ]
        if not places:
            raise ValueError("DFANet needs a surrogate with convolutions larger than 1x1")
        hooks = [module.register_forward_hook(partial(self._drop, streams=streams)) for module in places]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _drops_after(self, convolution: nn.Conv2d) -> bool:
        return self.after_depthwise or convolution.groups == 1 or convolution.groups < convolution.in_channels

    def _drop(self, module: nn.Module, inputs: Any, output: Tensor, streams: ItemStreams) -> Tensor:
        kept = streams.uniform(*output.shape[1:]) >= self.dropout_rate
        return output * kept / (1 - self.dropout_rate)

    def accumulate(self, gathered: Tensor | None, gradient: Tensor) -> Tensor:
        """Gradients ``[P, R, 3, H, W]`` gathered so far, with the latest added."""
        axes = (2, 3, 4) if self.norm_axes == "sample" else (1, 2, 3)
        normalised = unit_mean(gradient, axes)
        return normalised if gathered is None else normalised.add_(gathered, alpha=self.momentum_decay)
