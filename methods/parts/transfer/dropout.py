"""`SurrogateDropout`: at every step another thinned network instead of the surrogate.

Sources: Zhong and Deng, "Towards Transferable Adversarial Attack against Deep Face Recognition" (DFANet), TIFS 2021;
Li et al., "Learning Transferable Adversarial Examples via Ghost Networks", AAAI 2020, section 3.2 (dropout erosion).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

from torch import Tensor, nn

from cloakbench.bench.core.ranges import one_of, share_below_one
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.transfer.convolutions import Convolution, after_convolutions

DroppedAfter = Literal["spatial", "spatial_dense", "dense", "every"]
"""``spatial``: convolutions larger than 1x1, as `cloakbench.methods.parts.dfanet.DFANet` does. ``spatial_dense``: of
them those that are not depthwise. ``dense``: whatever is not depthwise, 1x1 among them. ``every``: all."""


class SurrogateDropout:
    """Activations after convolutions that are dropped, anew for every photo at every step.

    Args:
        dropout_rate: share of activations dropped; the others are scaled up to keep the mean. DFANet has 0.1.
        after: see `DroppedAfter`.

    Raises:
        SettingError: a parameter is out of range.
    """

    def __init__(self, dropout_rate: float = 0.1, after: DroppedAfter = "spatial") -> None:
        self.dropout_rate = share_below_one("dropout_rate", dropout_rate)
        self.after: DroppedAfter = one_of("after", after, get_args(DroppedAfter))

    def active(self, network: nn.Module, streams: ItemStreams) -> AbstractContextManager[None]:
        """Dropout in passes of a network, by the streams of its photos."""
        if not self.dropout_rate:
            return nullcontext()

        def drop(convolution: Convolution, maps: Tensor) -> Tensor:
            if not self.drops_after(convolution):
                return maps
            kept = streams.uniform(*maps.shape[1:]) >= self.dropout_rate
            return maps * kept / (1 - self.dropout_rate)

        return after_convolutions(network, drop)

    def drops_after(self, convolution: Convolution) -> bool:
        """Whether activations of such a convolution are dropped."""
        spatial, dense = convolution.kernel_px > 1, not convolution.depthwise
        return {"spatial": spatial, "spatial_dense": spatial and dense, "dense": dense, "every": True}[self.after]
