"""Precision: recognisers whose passes compute in float32, TF32 or bfloat16, laid out as their device likes it.

Beside the network's own passes nothing is rounded: photos, embeddings, gradients at the pixels, steps and budgets are
float32. What leaves a network that computes coarsely differs from float32 in the third digit, far above what two
devices disagree about, so the precision is part of the network's fingerprint and of the key of every unit
(``cloakbench.bench.config.networks.fingerprint``, ``cloakbench.bench.plan.unit_keys``); the device and compiling are
part of none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from cloakbench.bench.core.machine import FULL_PRECISION
from cloakbench.models.base import Recogniser


@contextmanager
def float_rule(precision: str, device: torch.device) -> Iterator[None]:
    """While something is computed on a device: whether float32 products may be rounded to TF32 there.

    On CUDA torch lets convolutions do so unless it is told not to. Gradients follow the rule that holds when they are
    taken, so it is set around a whole search and not only around the forward pass. A CPU knows no such rule.
    """
    if device.type != "cuda":
        yield
        return
    cudnn: Any = torch.backends.cudnn
    matmul = torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


class PreciseNetwork(nn.Module):
    """A frozen network whose forward pass is made at a precision, and whose answer is float32 again.

    Args:
        network: photos ``[N, 3, H, W]`` to embeddings.
        precision: ``fp32``, ``tf32`` or ``bf16``.
        compiled: through ``torch.compile``. A pass with hooks in the network, which compiled code would not call, is
            made as it stands.
    """

    def __init__(self, network: nn.Module, precision: str, *, compiled: bool = False) -> None:
        super().__init__()
        self.network = network
        self.precision = precision
        self._compiled: Callable[[Tensor], Tensor] | None = torch.compile(network.forward) if compiled else None

    def forward(self, images: Tensor) -> Tensor:
        place = images.device
        if place.type != "cpu":
            images = images.contiguous(memory_format=torch.channels_last)
        work = self.network if self._compiled is None or _has_hooks(self.network) else self._compiled
        coarse = torch.autocast(place.type, torch.bfloat16) if self.precision == "bf16" else nullcontext()
        with float_rule(self.precision, place), coarse:
            answer = work(images)
        return answer.float()


def _has_hooks(network: nn.Module) -> bool:
    return any(one._forward_hooks or one._forward_pre_hooks or one._backward_hooks for one in network.modules())


def at_precision(
    model: Recogniser, device: torch.device, precision: str = FULL_PRECISION, *, compiled: bool = False
) -> Recogniser:
    """The recogniser on a device, computing at a precision, in place. In float32 on a CPU it stays as it is.

    Elsewhere than on a CPU its filters lie channels last.
    """
    model = model.to(device)
    if device.type == "cpu" and precision == FULL_PRECISION:
        return model
    if device.type != "cpu":
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.network = PreciseNetwork(model.network, precision, compiled=compiled)
    return model
