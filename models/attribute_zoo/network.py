"""Networks that answer several attributes: one body with a linear layer for each, or a body for each attribute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

from torch import Tensor, nn

from cloakbench.bench.core.ranges import one_of

AttributeModels = Literal["shared", "separate"]
"""``separate``: a network for each attribute, as Invisible-Face has them. ``shared``: one network with a layer for
each, cheaper, whose attributes pull at the same features."""


class SharedAttributes(nn.Module):
    """Images ``[N, 3, H, W]`` to logits ``[N, C]`` for each attribute, in the order of ``classes``.

    Args:
        backbone: makes the embedding network from ``embedding_size`` and ``input_size``, which it must accept.
        classes: attribute to its number of classes.
        embedding_size: length of the embedding in front of the linear layers.
        input_size: height and width of what the network will be given.
    """

    def __init__(
        self,
        backbone: Callable[..., nn.Module],
        classes: Mapping[str, int],
        embedding_size: int,
        input_size: Sequence[int],
    ) -> None:
        super().__init__()
        self.widths = list(classes.values())
        self.backbone = backbone(embedding_size=embedding_size, input_size=input_size)
        self.heads = nn.Linear(embedding_size, sum(self.widths))  # one product for all

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.heads(self.backbone(images)).split(self.widths, dim=1)


class SeparateAttributes(nn.Module):
    """The same answers from networks that share nothing, ``networks[attribute]``; arguments as `SharedAttributes`."""

    def __init__(
        self,
        backbone: Callable[..., nn.Module],
        classes: Mapping[str, int],
        embedding_size: int,
        input_size: Sequence[int],
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(
            {
                name: SharedAttributes(backbone, {name: count}, embedding_size, input_size)
                for name, count in classes.items()
            }
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(network(images)[0] for network in self.networks.values())


def attribute_network(
    attribute_models: AttributeModels,
    backbone: Callable[..., nn.Module],
    classes: Mapping[str, int],
    embedding_size: int,
    input_size: Sequence[int],
) -> SharedAttributes | SeparateAttributes:
    """The untrained network that ``attribute_models`` asks for.

    Raises:
        SettingError: another word than ``shared`` or ``separate``.
    """
    one_of("attribute_models", attribute_models, get_args(AttributeModels))
    kind = SharedAttributes if attribute_models == "shared" else SeparateAttributes
    return kind(backbone, classes, embedding_size, input_size)
