"""`PurifierDesign`: which network a purifier is, in plain values, so that it can stand in a key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn

from cloakbench.bench.core.ranges import one_of, whole
from cloakbench.models.purifiers.networks import Autoencoder, DenseRestorer, DnCNN, FFDNet, Inpainter, UNet

Network = Literal["dncnn", "ffdnet", "dense", "unet", "inpainter", "autoencoder"]

_MADE: dict[Network, Callable[[int, int], nn.Module]] = {
    "dncnn": DnCNN,
    "ffdnet": FFDNet,
    "dense": DenseRestorer,
    "unet": UNet,
    "inpainter": Inpainter,
    "autoencoder": Autoencoder,
}


@dataclass(frozen=True)
class PurifierDesign:
    """A network of `cloakbench.models.purifiers.networks`.

    Attributes:
        network: which.
        width: its channels.
        depth: its layers, blocks or halvings.

    Raises:
        SettingError: a value is out of range.
    """

    network: Network
    width: int
    depth: int

    def __post_init__(self) -> None:
        one_of("network", self.network, get_args(Network))
        whole("width", self.width)
        whole("depth", self.depth, 3 if self.network in ("dncnn", "ffdnet") else 1)

    def make(self) -> nn.Module:
        """The untrained network."""
        return _MADE[self.network](self.width, self.depth)
