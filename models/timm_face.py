"""Any timm architecture as a face network: its classifier, with as many classes as the embedding is long, embeds.

This is how github.com/gau-nernst/timm-face trains, and how its models on the Hugging Face hub are laid out. Weights
come as everywhere else, from a file or an address (``conf/model/timm.yaml``), never through timm's own download.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn


def timm_network(architecture: str, embedding_size: int = 512, settings: Mapping[str, Any] | None = None) -> nn.Module:
    """Prepared images ``[N, 3, H, W]`` to embeddings ``[N, embedding_size]`` (not normalised).

    Args:
        architecture: timm's name, such as ``vit_tiny_patch16_224``.
        embedding_size: length of the embedding.
        settings: passed to the architecture, such as ``patch_size`` and ``img_size``.

    Raises:
        ValueError: timm has no such architecture.
    """
    import timm

    if not timm.is_model(architecture):
        raise ValueError(f"timm has no architecture {architecture!r}: timm.list_models() names them")
    return timm.create_model(architecture, pretrained=False, num_classes=embedding_size, **(settings or {}))
