"""Networks that are one network: decided by their weights, never by name, file, format, scale or crop.

A target whose weights were attacked answers as the attacked network does; beside independent targets it would make
any method look good. The same weights come as another file (saved again, as safetensors, as ONNX), in half precision,
under other parameter names, with batch norms folded into the convolutions, or inside a larger network. So tensors are
compared by *sketches*: a few sums over the rows of a weight matrix, each row scaled to length one, which folding and
rounding leave as they are and which agree by chance about never: 16 sums, each of which differs between two networks
trained apart by a normal number of spread 1.4 (2 in 10 fall below the tolerance, all 16 of them in 1 of 10^11).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cloakbench.models.attributes import AttributeModel
from cloakbench.models.base import Recogniser

SHARE = 0.5
"""Share of the smaller network's weights that another must hold to count as the same."""

_SUMS = 16
_TOLERANCE = 0.3  # half precision moves a sum by less than 0.1
_LEAST_WEIGHTS = 256  # smaller tensors say little
_LEAST_ROW = 4  # scaled to length one, a shorter row has little left to say


@dataclass(frozen=True)
class Sketch:
    """What is kept of one weight matrix.

    Attributes:
        size: number of weights.
        sums: float64 ``[K, 16]``, one row for each way to lay the matrix out (as it is, transposed).
    """

    size: int
    sums: NDArray[np.float64]

    def agrees(self, other: Sketch) -> bool:
        """Whether both are of the same weights."""
        return self.size == other.size and bool((np.abs(self.sums - other.sums[0]).max(axis=1) <= _TOLERANCE).any())


def sketch_network(network: nn.Module) -> list[Sketch]:
    """Sketches of the weights of a network that take part in matrix products, whatever they are called."""
    tensors = {id(tensor): tensor for tensor in chain(network.parameters(), network.buffers())}.values()
    return [sketch for tensor in tensors if (sketch := _sketch(tensor.detach())) is not None]


def are_same(one: Sequence[Sketch], other: Sequence[Sketch]) -> bool:
    """Whether at least `SHARE` of the smaller network's weights are in the larger one."""
    small, large = sorted((one, other), key=_weights)
    left = list(large)
    shared = 0
    for sketch in small:
        place = next((number for number, known in enumerate(left) if sketch.agrees(known)), None)
        if place is not None:
            shared += left.pop(place).size
    return shared > 0 and shared >= SHARE * _weights(small)


def same_weights(models: Mapping[str, Recogniser | AttributeModel]) -> dict[str, frozenset[str]]:
    """For each model the keys of all that have its weights, its own key among them.

    Weights are the same when the files are (digest on the card), or when the networks hold the same numbers.
    """
    sketches = {key: sketch_network(model.network) for key, model in models.items()}
    found = {key: {key} for key in models}
    for one, other in combinations(models, 2):
        same_file = models[one].card.weights_sha256 == models[other].card.weights_sha256
        if same_file or are_same(sketches[one], sketches[other]):
            found[one].add(other)
            found[other].add(one)
    return {key: frozenset(others) for key, others in found.items()}


def _weights(sketches: Sequence[Sketch]) -> int:
    return sum(sketch.size for sketch in sketches)


def _sketch(tensor: Tensor) -> Sketch | None:
    """None for what is no weight matrix, too small, or the same number everywhere."""
    if not tensor.is_floating_point() or tensor.ndim < 2 or tensor.numel() < _LEAST_WEIGHTS:
        return None
    matrix = tensor.cpu().double().flatten(1)
    if not bool(matrix.isfinite().all()) or bool((matrix == matrix[0, 0]).all()):
        return None
    layouts = [
        layout for layout in [matrix, *([matrix.T] if tensor.ndim == 2 else [])] if layout.shape[1] >= _LEAST_ROW
    ]
    return Sketch(tensor.numel(), torch.stack([_sums(layout) for layout in layouts]).numpy()) if layouts else None


def _sums(matrix: Tensor) -> Tensor:
    """16 sums over interleaved weights, after every row has length one and leans to the positive side."""
    signs = matrix.pow(3).sum(1, keepdim=True).sign()
    scaled = signs * matrix / matrix.norm(dim=1, keepdim=True).clamp_min(1e-30) * matrix.shape[1] ** 0.5
    flat = scaled.flatten()
    padded = torch.nn.functional.pad(flat, (0, -len(flat) % _SUMS))
    return padded.view(-1, _SUMS).sum(0) / (len(flat) / _SUMS) ** 0.5
