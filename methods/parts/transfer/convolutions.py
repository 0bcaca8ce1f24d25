"""`after_convolutions`: what convolutions of a network give, seen and changed on the way, however the network is made.

Networks of modules are hooked; those that call functions, such as ONNX graphs, are watched as they call them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True)
class Convolution:
    """What a convolution is: the longer side of its kernel, and whether each channel is made of one channel."""

    kernel_px: int
    depthwise: bool

    @classmethod
    def of(cls, weight: Tensor, groups: int) -> Convolution:
        """From weights ``[C_out, C_in / groups, k, k]``."""
        return cls(max(weight.shape[2:]), groups > 1 and weight.shape[1] == 1)


After = Callable[[Convolution, Tensor], Tensor]
"""What takes the place of the maps ``[N, C, h, w]`` of a convolution."""


@contextmanager
def after_convolutions(network: nn.Module, after: After) -> Iterator[None]:
    """Every convolution of passes inside gives what ``after`` makes of its maps, in the order in which they are run.

    Nothing else may run inside but this network. Parameters and buffers stay untouched, and nothing stays behind.
    """
    found = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    if not found:  # a module's own way back is not seen from inside, so where there are modules they are hooked
        with _Watched(after):
            yield
        return
    hooks = [module.register_forward_hook(partial(_hooked, after)) for module in found]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _hooked(after: After, module: nn.Conv2d, given: Any, maps: Tensor) -> Tensor:
    return after(Convolution.of(module.weight, module.groups), maps)


class _Watched(TorchFunctionMode):
    """Calls of `torch.nn.functional.conv2d`."""

    def __init__(self, after: After) -> None:
        super().__init__()
        self._after = after

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func is not F.conv2d:
            return result
        weight = args[1] if len(args) > 1 else kwargs["weight"]
        groups = args[6] if len(args) > 6 else kwargs.get("groups", 1)
        return self._after(Convolution.of(weight, groups), result)
