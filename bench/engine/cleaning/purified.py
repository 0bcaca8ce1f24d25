"""`Purified`: photos that an attacker cleaned with a network, trained once and kept in the store.

A transform of `cloakbench.bench.engine.transforms` is made of its settings alone. This one has to learn, too, from the
networks, faces and seed of the experiment, which `purified_inputs` says in keys.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.engine.training import train_stages
from cloakbench.bench.engine.transforms import Transform
from cloakbench.bench.store.store import Store
from cloakbench.methods.base import Protector
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.photo_batch import PhotoBatch

_PAUSE_SECONDS = 1.0


class Purified(Transform):
    """Cleaned by a purifier. Before it has learnt it leaves photos as they are.

    Args:
        name: what tables call it.
        trainer: trains and applies the purifier.
        surrogates: keys of the experiment's networks that the trainer's method attacks, in that order.
        title: what a table calls its family; empty: its name, capitalised.
    """

    def __init__(self, name: str, trainer: Protector, surrogates: Sequence[str] = (), title: str = "") -> None:
        self.name, self.trainer, self.surrogates, self._title = name, trainer, tuple(surrogates), title
        self._context: ProtectContext | None = None

    @property
    def label(self) -> str:
        return self.name

    @property
    def title(self) -> str:  # type: ignore[override]  # of others it is that of their class
        return self._title

    def learn(self, store: Store, context: ProtectContext, inputs: Mapping[str, Any]) -> None:
        """Train the purifier, or read it from the store; from now on photos are cleaned.

        Args:
            store: where it is kept.
            context: networks of ``surrogates``, auxiliary faces and seed.
            inputs: what `purified_inputs` gives.
        """
        while (trained := train_stages(store, self.trainer, context, inputs, self.label)) is None:
            time.sleep(_PAUSE_SECONDS)  # another process is at it
        self._context = replace(context, trained=trained.tensors)

    def _apply(self, images: Tensor, image_id: Sequence[str]) -> Tensor:
        context = self._context
        if context is None:
            return images
        rows = torch.arange(len(images), device=context.device)
        names = tuple(image_id)
        photos = PhotoBatch(images.to(context.device).float() / 255, names, rows, names)
        return self.trainer.protect(photos, context).images


def purified_inputs(
    settings: Mapping[str, Any], fingerprints: Mapping[str, str], auxiliary: str | None, seed: int
) -> dict[str, Any]:
    """What decides what a transform's purifier learns, beside the resolved config of the transform; empty for others.

    Args:
        settings: that config.
        fingerprints: of the networks of the experiment.
        auxiliary: key of the stored auxiliary faces; None where there are none.
        seed: of the run.

    Raises:
        ConfigError: the experiment has no auxiliary faces, or no network of a name.
    """
    if settings.get("_target_") != f"{Purified.__module__}.{Purified.__qualname__}":
        return {}
    if auxiliary is None:
        raise ConfigError(
            f"transform {settings['name']} learns from auxiliary people, whom no method of this experiment needs: add "
            "one that learns from them, such as method invisible_face"
        )
    keys = list(settings["surrogates"])
    if unknown := [key for key in keys if key not in fingerprints]:
        raise ConfigError(
            f"transform {settings['name']}: {unknown[0]} is no network of this experiment: set surrogates"
        )
    return {"surrogates": [fingerprints[key] for key in keys], "auxiliary": auxiliary, "seed": seed}
