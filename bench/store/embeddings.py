"""Embeddings of photos as they are, kept by content: the model, the pixels, and which photos share a forward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cloakbench.bench.core.hashing import Inputs, content_key, tensor_digest
from cloakbench.bench.store.store import Store
from cloakbench.models.base import Recogniser, embed_in_batches

KIND = "embeddings"
"""Where the store keeps them."""


def embedding_inputs(fingerprint: str, pixels: str, batch: int) -> dict[str, Any]:
    """What the embeddings of the photos with digest ``pixels`` depend on."""
    return {"model": fingerprint, "images": pixels, "batch": batch}


def kept(store: Store, inputs: Inputs, embed: Callable[[], Tensor]) -> Tensor:
    """Embeddings ``[N, D]`` that depend on ``inputs``, from the store; what ``embed`` gives where there are none."""
    key = content_key(KIND, inputs)
    stored = store.read_tensors(KIND, key)
    if stored is not None:
        return stored[0]["embeddings"]
    values = embed()
    store.write_tensors(KIND, key, {"embeddings": values}, inputs)
    return values


def stored_embeddings(
    store: Store, model: Recogniser, fingerprint: str, images: Tensor, batch: int, device: torch.device
) -> Tensor:
    """Embeddings ``[N, D]`` of uint8 ``images`` ``[N, 3, H, W]``, computed once per content."""
    inputs = embedding_inputs(fingerprint, tensor_digest(images), batch)
    return kept(store, inputs, lambda: embed_in_batches(model, images, batch, device))
