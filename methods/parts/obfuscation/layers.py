"""Layers that networks of faces are made of."""

from __future__ import annotations

from torch import nn


def normed(inputs: int, outputs: int, kernel: int, stride: int, reach: int = 1) -> list[nn.Module]:
    """A convolution padded and dilated by ``reach``, batch norm, and a leaky ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=reach, dilation=reach)
    return [convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
