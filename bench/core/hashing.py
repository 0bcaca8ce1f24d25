"""Content keys: the name of a result is a digest of everything that can change it, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Inputs = Mapping[str, Any]
"""What a key is made of; plain JSON values. Stored inside the entry, so that a person can read what it is."""

_CHUNK_BYTES = 1 << 22

SCHEMA = 2
"""Version of the stored formats; part of every key."""


def canonical_json(value: Any) -> str:
    """One spelling per value: sorted keys, no spaces, and an error for what JSON cannot say (NaN included)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def content_key(kind: str, inputs: Inputs) -> str:
    """32 hex digits naming an entry of ``kind`` made from ``inputs``.

    The version of torch is always part of it: two versions may round a convolution differently, and ``sign`` turns
    the last bit of a gradient into a grey level.
    """
    text = canonical_json({"kind": kind, "schema": SCHEMA, "torch": torch.__version__.split("+")[0], **inputs})
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def tensor_digest(tensor: Tensor) -> str:
    """sha256 over shape, dtype and bytes; a tensor that is mapped from disk is never in memory as a whole."""
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
    for chunk in byte_chunks(tensor):
        digest.update(chunk)
    return digest.hexdigest()[:32]


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def byte_chunks(tensor: Tensor) -> Iterator[memoryview]:
    """The bytes of a tensor in C order, a few megabytes at a time."""
    rows = tensor.reshape(1) if tensor.ndim == 0 else tensor
    row_bytes = max(1, rows[:1].numel() * rows.element_size())
    for some in rows.split(max(1, _CHUNK_BYTES // row_bytes)):
        flat = some.contiguous().view(-1)
        if flat.stride(0) != 1:  # a single value counts as contiguous whatever its stride
            flat = flat.clone(memory_format=torch.contiguous_format)
        yield flat.view(torch.uint8).numpy().data
