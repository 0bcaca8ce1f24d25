"""Batching of ONNX networks: what one says of a photo alone counts; photos share a pass where that gives the same.

Exporters write the batch they were shown into the graph: an axis of one at the input, a reshape to ``[1, ...]``, a
squeeze of every axis of one, a token repeated once. Such a file means what it says for one photo.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

Outputs = Tensor | tuple[Tensor, ...]

log = logging.getLogger(__name__)

TOLERANCE = 1e-4
"""Largest difference between an output of a photo alone and in a batch, as a share of the largest value: float32 sums
depend on the batch (measured: below 1e-5). Photos that reach into each other change far more."""


class InTurn(nn.Module):
    """A network for one photo run once a photo: always right, and the slowest.

    ``network`` maps ``[1, 3, H, W]`` to outputs of one photo, with or without an axis of one in front; the result has
    the photos in front, ``[N, ...]``.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Outputs:
        rows = [_rows(self.network(image[None])) for image in images]
        parts = tuple(torch.stack(part) for part in zip(*rows, strict=True))
        return parts[0] if len(parts) == 1 else parts


class SideBySide(InTurn):
    """The same for all photos in the same passes: ``torch.vmap`` adds the axis that the graph does not know."""

    def forward(self, images: Tensor) -> Outputs:
        parts = torch.vmap(lambda image: _rows(self.network(image[None])))(images)
        return parts[0] if len(parts) == 1 else parts


class Together(InTurn):
    """The graph itself is given all photos."""

    def forward(self, images: Tensor) -> Outputs:
        outputs = self.network(images)
        parts = tuple(_with_columns(part) for part in _as_tuple(outputs))
        return parts[0] if len(parts) == 1 else parts


def for_any_batch(network: nn.Module, images: Tensor) -> nn.Module:
    """The fastest way to run a network on many photos that gives what it gives for each alone.

    Args:
        network: prepared images to one or several outputs.
        images: prepared images ``[N, 3, H, W]`` to try it on; at least three, and unlike each other.

    Raises:
        Exception: whatever the network raises for one photo.
    """
    with torch.no_grad():
        expected = _as_tuple(InTurn(network)(images))
        for way in (Together, SideBySide):
            found = way(network)
            try:
                outputs = _as_tuple(found(images))
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # shapes that only fit one photo fail in as many ways as there are operators
                log.info("%s does not run the graph (%r)", way.__name__, error)
                continue
            if all(map(_agree, outputs, expected)):
                return found
    return InTurn(network)


def _agree(found: Tensor, expected: Tensor) -> bool:
    if found.shape != expected.shape:
        return False
    allowed = TOLERANCE * float(torch.where(expected.isfinite(), expected, 0).abs().amax())
    return bool(torch.allclose(found, expected, rtol=0, atol=allowed, equal_nan=True))


def _as_tuple(outputs: Outputs) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, Tensor) else outputs


def _rows(outputs: Outputs) -> tuple[Tensor, ...]:
    """Outputs of one photo without an axis of one in front."""
    return tuple(part[0] if part.ndim > 1 and len(part) == 1 else part.reshape(-1) for part in _as_tuple(outputs))


def _with_columns(output: Tensor) -> Tensor:
    """``[N]`` as ``[N, 1]``."""
    return output[:, None] if output.ndim == 1 else output
