"""From a filled network to the one that is run: the same function for pixels, in fewer passes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cloakbench.models.frozen.layers import FrozenPReLU, PairMean, StridedStem
from cloakbench.models.frozen.norms import fold_norms, is_hooked, replace_module


def freeze(network: nn.Module) -> nn.Module:
    """The network in eval mode without gradients to its weights, and with faster layers that say the same; in place.

    Batch norms are folded (`cloakbench.models.frozen.norms`). PReLUs, and strided convolutions and poolings of images,
    get a shorter way back (`cloakbench.models.frozen.layers`). Embeddings change by what float sums change when their
    order does: a few 1e-7. Call it when the weights are loaded and checked, and never on a network that is to be
    trained: its state dict is another one afterwards.
    """
    network.requires_grad_(False).eval()
    fold_norms(network)
    for name, module in list(network.named_modules(remove_duplicate=False)):
        if not name or is_hooked(module):
            continue
        if type(module) is nn.PReLU:
            replace_module(network, name, FrozenPReLU(module))
        elif StridedStem.suits(module):
            assert isinstance(module, nn.Conv2d)
            replace_module(network, name, StridedStem(module))
        elif PairMean.suits(module):
            assert isinstance(module, nn.AvgPool2d)
            replace_module(network, name, PairMean(module))
    return network


@torch.no_grad()
def with_channels_last(network: nn.Module, images: Tensor) -> nn.Module:
    """The network with its convolutions laid out for channels last, which CPUs and graphics cards are faster with.

    Code of others may look at a tensor in a way that only suits the usual layout; then everything stays as it was.
    ``images`` are prepared ones to try it on.
    """
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    try:
        network(images)
    except Exception:  # the caller's own check says what is wrong, if it is not the layout
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return network
