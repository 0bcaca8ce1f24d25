"""A training under way as named tensors: steps done, the network, its optimiser; for `ProtectContext.keep`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

_STEPS, _NETWORK, _OPTIMISER = "steps", "network.", "optimiser."


def state_of(steps: int, network: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What a training has reached after ``steps`` steps. The tensors are the live ones, not copies."""
    tensors = {_STEPS: torch.tensor(steps)}
    tensors |= {f"{_NETWORK}{name}": tensor.detach() for name, tensor in network.state_dict().items()}
    for place, values in optimiser.state_dict()["state"].items():
        tensors |= {f"{_OPTIMISER}{place}.{name}": value for name, value in values.items() if torch.is_tensor(value)}
    return tensors


def read_state(tensors: Mapping[str, Tensor], network: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    """Put network and optimiser back to where `state_of` found them; returns the steps done.

    Learning rates and other settings of the optimiser stay as they are.
    """
    network.load_state_dict(_below(_NETWORK, tensors))
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _below(_OPTIMISER, tensors).items():
        place, _, value = name.partition(".")
        state.setdefault(int(place), {})[value] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return int(tensors[_STEPS])


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
