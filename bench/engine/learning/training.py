"""A training loop that goes on after a kill with equal weights, and its place in the store.

What was learnt is stored under the key of everything that decides it, so that all judges of one fold share it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cloakbench.bench.core.hashing import content_key
from cloakbench.bench.engine.checkpoints import StoredCheckpoint
from cloakbench.bench.store.store import Store
from cloakbench.methods.context import Kept

Reached = Mapping[str, Tensor] | None
"""What a training had reached when it was last kept."""
Keep = Callable[[Mapping[str, Tensor]], None]
"""Takes what a training has reached after a step."""
Training = Callable[[Reached, Keep], Mapping[str, Tensor]]
"""Runs a training to its end and gives the weights."""

_KIND = "trained"
_NETWORK, _ADAM, _STEP = "network ", "adam ", "step"


def stored_training(store: Store, inputs: Mapping[str, Any], train: Training) -> Mapping[str, Tensor]:
    """What a training gives, from the store or now; a killed one goes on from its checkpoint.

    Args:
        store: where it is kept.
        inputs: everything that decides it, plain values.
        train: the training.
    """
    key = content_key(_KIND, dict(inputs))
    stored = store.read_tensors(_KIND, key)
    if stored is not None:
        return stored[0]
    checkpoint = StoredCheckpoint(store, key, dict(inputs))
    kept = checkpoint.load()
    weights = train(kept.tensors if kept else None, lambda tensors: checkpoint.save(Kept(tensors, 0, 0, 0.0)))
    store.write_tensors(_KIND, key, dict(weights), dict(inputs))
    checkpoint.remove()
    return weights


def train_network(
    network: nn.Module,
    loss_of: Callable[[int], Tensor],
    steps: int,
    learning_rate: float,
    reached: Reached,
    keep: Keep,
) -> dict[str, Tensor]:
    """Adam for some steps at a rate that falls to zero along a line; the weights, on the CPU.

    Args:
        network: is trained in place, in training mode.
        loss_of: the loss of a step, from the number of the step alone and the network as it is then.
        steps: all of them, those that were done before a kill among them.
        learning_rate: at the first step.
        reached, keep: see `Training`.

    Raises:
        FloatingPointError: the loss is no longer finite.
    """
    network.train()
    adam = torch.optim.Adam(network.parameters(), lr=learning_rate)
    done = 0 if reached is None else _go_back(reached, network, adam)
    for step in range(done, steps):
        for group in adam.param_groups:
            group["lr"] = learning_rate * (1 - step / steps)
        loss = loss_of(step)
        if not bool(loss.isfinite()):
            raise FloatingPointError(f"the loss is {loss.item()} at step {step + 1}; lower the learning_rate")
        adam.zero_grad()
        loss.backward()
        adam.step()
        keep(_state(step + 1, network, adam))
    return {name: one.detach().cpu().contiguous() for name, one in network.state_dict().items()}


def _state(step: int, network: nn.Module, adam: torch.optim.Adam) -> dict[str, Tensor]:
    """What is reached; the tensors are the live ones."""
    tensors = {_STEP: torch.tensor(step)}
    tensors |= {f"{_NETWORK}{name}": one.detach() for name, one in network.state_dict().items()}
    for place, values in adam.state_dict()["state"].items():
        tensors |= {f"{_ADAM}{place} {name}": value for name, value in values.items()}
    return tensors


def _go_back(reached: Mapping[str, Tensor], network: nn.Module, adam: torch.optim.Adam) -> int:
    """Put network and optimiser back to where `_state` found them; the steps done."""
    network.load_state_dict(
        {name.removeprefix(_NETWORK): one for name, one in reached.items() if name.startswith(_NETWORK)}
    )
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in reached.items():
        if name.startswith(_ADAM):
            place, value = name.removeprefix(_ADAM).split(" ")
            moments.setdefault(int(place), {})[value] = tensor
    adam.load_state_dict({"state": moments, "param_groups": adam.state_dict()["param_groups"]})
    return int(reached[_STEP])
