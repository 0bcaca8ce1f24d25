"""Views: other pictures of people, each made once from one photo and shared by all methods, surrogates and budgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cloakbench.bench.core.errors import reason_of
from cloakbench.bench.core.hashing import Inputs, content_key
from cloakbench.bench.core.machine import FULL_PRECISION, machine_trouble
from cloakbench.bench.engine.device.precision import float_rule
from cloakbench.bench.store.store import Store
from cloakbench.methods.context import Cost, ProtectContext
from cloakbench.models.generators import Generator, GeneratorError, view_streams

KIND = "views"
"""Where the store keeps them, one entry for each photo."""


@dataclass(frozen=True)
class Views:
    """Other pictures of people.

    Attributes:
        images: uint8 ``[P, K, 3, H, W]`` on the CPU: rounded to 8 bits, as photos are.
        cost: what making them took, whenever that was.
    """

    images: Tensor
    cost: Cost


def view_inputs(generator: str, count: int, photo: str, seed: int) -> dict[str, Any]:
    """What decides the pictures of one person.

    Args:
        generator: its fingerprint.
        count: how many.
        photo: digest of the pixels that they are made of.
        seed: of the run.
    """
    return {"generator": generator, "count": count, "photo": photo, "seed": seed}


def views_of_unit(unit: Inputs) -> list[dict[str, Any]]:
    """`view_inputs` of each person of a unit, from the inputs of its key."""
    asked: Mapping[str, Any] = unit["views"]
    return [view_inputs(asked["generator"], asked["count"], photo, unit["seed"]) for photo in asked["photos"]]


def stored_views(
    store: Store,
    generator: Callable[[], Generator],
    photos: Tensor,
    asked: Sequence[Mapping[str, Any]],
    device: torch.device,
) -> Views | None:
    """Pictures of each person, stored or made now; None while another process makes some.

    Args:
        store: where they are kept.
        generator: gives what makes them, on ``device``; called only where some are not there.
        photos: uint8 ``[P, 3, H, W]``, what they are made of.
        asked: for each photo what `view_inputs` gave.
        device: where to compute.

    Raises:
        GeneratorError: it gives no pictures.
    """
    found = []
    for photo, inputs in zip(photos, asked, strict=True):
        one = _stored(store, inputs) or _made_once(store, generator, photo, inputs, device)
        if one is None:
            return None
        found.append(one)
    return Views(torch.stack([one.images for one in found]), Cost.total([one.cost for one in found]))


def make_views(generator: Generator, photo: Tensor, inputs: Mapping[str, Any], device: torch.device) -> Views:
    """Pictures of one person, ``[K, 3, H, W]``: alone, so that a float sum knows nothing of other people.

    Args:
        generator: on ``device``.
        photo: uint8 ``[3, H, W]``.
        inputs: what `view_inputs` gave.
        device: where to compute.

    Raises:
        GeneratorError: it gives no pictures, or raises whatever.
    """
    context = ProtectContext(device=device)
    with float_rule(FULL_PRECISION, device), context.measured() as cost:
        streams = view_streams(inputs["seed"], [inputs["photo"]])
        try:
            made = generator.views(photo[None].to(device).float() / 255, inputs["count"], streams)
        except Exception as problem:  # a generator of somebody's own may raise anything
            if isinstance(problem, GeneratorError) or machine_trouble(problem):
                raise
            raise GeneratorError(f"generator {generator.card.name} failed: {reason_of(problem)}") from problem
        context.spent.forward_images += inputs["count"] * generator.passes_per_view
        images = (made[0] * 255).round().to(torch.uint8).cpu()
    return Views(images, cost())


def _stored(store: Store, inputs: Mapping[str, Any]) -> Views | None:
    found = store.read_tensors(KIND, content_key(KIND, inputs))
    return None if found is None else Views(found[0]["views"], Cost(**found[1]))


def _made_once(
    store: Store,
    generator: Callable[[], Generator],
    photo: Tensor,
    inputs: Mapping[str, Any],
    device: torch.device,
) -> Views | None:
    key = content_key(KIND, inputs)
    # A letter in front: the lock of the unit, which this process holds, may share three digits with the key.
    with store.claim(f"V{key}") as mine:
        if (known := _stored(store, inputs)) is not None:
            return known
        if not mine:
            return None
        made = make_views(generator(), photo, inputs, device)
        store.write_tensors(KIND, key, {"views": made.images}, inputs, vars(made.cost))
        return made
