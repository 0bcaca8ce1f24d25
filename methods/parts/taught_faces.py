"""Auxiliary faces that a training learns from: enough of them, their pixels, and what surrogates say of them clean."""

from __future__ import annotations

import torch
from torch import Tensor

from cloakbench.datasets.base import FaceSet
from cloakbench.methods.context import ProtectContext

_WORDS = {2: "two", 4: "four"}


def enough(faces: FaceSet, what: str, least: int = 2) -> FaceSet:
    """The faces, of which there are enough to train ``what``.

    Raises:
        ValueError: there are fewer than ``least``.
    """
    if len(faces) < least:
        count = _WORDS.get(least, str(least))
        raise ValueError(f"training {what} needs at least {count} auxiliary faces: set dataset.auxiliary_identities")
    return faces


def pixels(faces: Tensor, rows: Tensor, context: ProtectContext) -> Tensor:
    """The uint8 faces at rows, as floats in [0, 1] on the device of the run."""
    return faces[rows].to(context.device).float() / 255


@torch.no_grad()
def clean_features(faces: Tensor, batch: int, context: ProtectContext) -> list[Tensor]:
    """Per surrogate the unit features ``[N, D]`` of uint8 faces, so many at a time."""
    parts = torch.arange(len(faces)).split(batch)
    return [torch.cat([model.embed(pixels(faces, rows, context)) for rows in parts]) for model in context.surrogates]
