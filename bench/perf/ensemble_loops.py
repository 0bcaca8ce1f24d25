"""The ensemble loop beside bare passes: two networks, each through views of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from cloakbench.bench.perf.subjects import bare_passes, crowd, method
from cloakbench.bench.perf.timing import Ratio, compare
from cloakbench.methods.context import NetworkKind, ProtectContext
from cloakbench.models.base import Recogniser


def ensemble_over_bare(
    models: Sequence[Recogniser], photos: int, repeats: int, device: torch.device, *, through_views: bool = False
) -> Ratio:
    """The whole method over the passes that it makes.

    Args:
        models: the ensemble.
        photos: of one person.
        repeats: turns.
        device: where it runs.
        through_views: the bare passes look through views, too. Beside a network as small as those of the embedded
            zoo, that sampling is a fifth of a pass.
    """
    eot: Any = method("eot_ensemble")
    batch, views = crowd(photos, 1, device), eot.transfer.views
    context = ProtectContext({NetworkKind.RECOGNISER: tuple(models)}, device=device)
    draws = torch.rand(photos, views.numbers, generator=torch.Generator().manual_seed(0)).to(device)

    def see(images: torch.Tensor) -> torch.Tensor:
        return views.see(images, draws)

    def bare() -> None:
        for model in models:
            with torch.no_grad():
                known = model.embed(batch.require_references().flatten(0, 1))
            anchors = known.mean(dim=0).expand(photos, -1)
            bare_passes(model, batch.images, anchors, steps=eot.steps, see=see if through_views else None)

    passes = "bare passes through its views" if through_views else "bare passes"
    name = f"EOT ensemble / {passes}, {' and '.join(model.card.name for model in models)}"
    return compare(name, lambda: eot.protect(batch, context), bare, repeats, device, bar=1.05)
