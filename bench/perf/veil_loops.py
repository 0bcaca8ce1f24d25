"""Veils beside bare passes, their growth with people, and what a photo costs once its owner has a veil."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from hydra.utils import get_method
from PIL import Image

from cloakbench.bench.perf.subjects import bare_passes, context_of, crowd, embedded_recogniser, method
from cloakbench.bench.perf.timing import Ratio, compare, grow
from cloakbench.models.base import Recogniser

_TOGETHER = 32
_MOST_MIB = 2048.0
"""What 32 people with ten photos each may take."""
_STEPS = 10
_PHOTOS = 1000


def veil_over_bare(model: Recogniser, people: int, repeats: int, device: torch.device) -> Ratio:
    """The search over the passes that it makes."""
    batch, context, veil = crowd(people, people, device), context_of(model, device), method("veil", steps=_STEPS)
    photos = batch.require_references().flatten(0, 1)

    def bare() -> None:
        with torch.no_grad():
            anchors = model.embed(photos)
        bare_passes(model, photos, anchors, steps=_STEPS)

    name = f"veil / bare loop, {model.card.name}"
    return compare(name, lambda: veil.protect(batch, context), bare, repeats, device, bar=1.1)


def veil_growth(repeats: int, device: torch.device) -> Iterator[Ratio]:
    """People in one call against one of them, and the photos of people who have a veil against reading photos."""
    few = max(1, repeats // 2)
    one, many = _call(1, device), _call(_TOGETHER, device)
    name = f"veil, {_TOGETHER} people together / one"
    grown = grow(name, many, one, _TOGETHER, few, device, bar=1.0, memory_grows=True)
    yield replace(grown, mib_bar=_MOST_MIB)
    yield _applied(few)


def _call(people: int, device: torch.device) -> Callable[[], object]:
    batch, context = crowd(people, people, device), context_of(embedded_recogniser().to(device), device)
    veil = method("veil", steps=1)
    return lambda: veil.protect(batch, context)


def _applied(repeats: int) -> Ratio:
    """Veils laid on photos and taken off again, over decoding the files of those photos, on a CPU as files are."""
    blend, unblend = (get_method(f"cloakbench.methods.parts.veils.blend.{part}") for part in ("blend", "unblend"))
    cpu = torch.device("cpu")
    photos, veil = crowd(_PHOTOS // 20, 1, cpu).images, crowd(1, 1, cpu).images
    smooth = F.interpolate(photos[:1, :, ::8, ::8], size=photos.shape[-2:], mode="bilinear")[0]
    file = io.BytesIO()
    Image.fromarray((255 * smooth).byte().permute(1, 2, 0).contiguous().numpy()).save(file, "PNG")
    packed = file.getvalue()

    def apply() -> None:
        for _ in range(20):
            unblend((255 * blend(photos, veil, 0.2)).round_().div_(255), veil, 0.2)

    def decode() -> None:
        for _ in range(_PHOTOS):
            np.asarray(Image.open(io.BytesIO(packed)))

    name = f"a veil on {_PHOTOS:,} photos and off again / decoding them"
    return compare(name, apply, decode, repeats, cpu, bar=1.0)
