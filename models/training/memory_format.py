"""`learning_format`: the order that photos and weights have in memory while a network learns."""

from __future__ import annotations

import torch

_WRITES_BEYOND = ("AVX2", "DEFAULT")
"""Processors without AVX-512, as torch calls them. There the oneDNN of torch 2.15 writes beyond its memory in the way
back through channels-last convolutions: small training runs end in a segmentation fault or an abort, those of the same
network in the contiguous format, or with ``ONEDNN_MAX_CPU_ISA=SSE41``, do not."""


def learning_format(device: torch.device) -> torch.memory_format:
    """Channels last, which is faster, but where it is not safe."""
    if device.type == "cpu" and torch.backends.cpu.get_cpu_capability() in _WRITES_BEYOND:
        return torch.contiguous_format
    return torch.channels_last
