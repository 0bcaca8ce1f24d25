"""Invisible-Face beside bare passes: the training of its networks, what is kept of each face, and its regions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from hydra.utils import get_method, instantiate
from torch import Tensor, nn

from cloakbench.bench.config.compose import compose_config, resolved
from cloakbench.bench.config.networks import build_attribute_model
from cloakbench.bench.perf.subjects import crowd
from cloakbench.bench.perf.timing import Ratio, compare
from cloakbench.bench.processes.peak_memory import added_peak_mib, mark_memory
from cloakbench.datasets.base import FaceSet
from cloakbench.methods.base import without_title
from cloakbench.methods.context import NetworkKind, ProtectContext
from cloakbench.methods.photo_batch import PhotoBatch

_NETWORK, _TASK = "attributes_resnet18", "world3"
_PARTS = "cloakbench.methods.parts.invisible"
_WIDTH, _BATCHES = 8, 2
"""Of the networks that learn, at the size of the experiments on the embedded world, and steps of a turn."""
_OFFICIAL, _MOST_MIB = 64, 3072.0
"""Photos of a step in the paper, and the most memory that a training with them may take."""


def local_loops(photos: int, repeats: int, device: torch.device) -> Iterator[Ratio]:
    """The training, the directions and the regions of Invisible-Face against a surrogate of the embedded world."""
    few = max(1, repeats // 2)
    context = _context(photos, device)
    yield _training(context, photos, few)
    yield _directions(context, photos, few)
    yield _regions(context, max(1, photos // 8), few)
    yield _memory(device)


def _method(photos: int, *words: str) -> Any:
    """The method, whose first stages are as short as can be."""
    words = (
        *("method=invisible_face", "method.epochs=1", "method.purifier.steps=1", f"method.batch={photos}"),
        *("method.region.grid=3", "method.direction.neighbours=1", "method.purifier.disturbances.attack_255=0"),
        *words,
    )
    return instantiate(without_title(resolved(compose_config(["experiment=smoke", *words]).method)))


def _small(photos: int) -> Any:
    """The method at the size of the embedded world."""
    widths = ("width", "discriminator_width", "purifier.design.width")
    return _method(photos, *(f"method.{name}={_WIDTH}" for name in widths), f"method.purifier.batch={photos}")


def _prepared(method: Any, context: ProtectContext) -> ProtectContext:
    """What the training of the networks needs."""
    tensors: dict[str, Mapping[str, Tensor]] = {}
    for stage in method.stages()[:-1]:
        tensors |= method.run_stage(stage, replace(context, trained=tensors)).tensors
    return replace(context, trained=tensors)


def _context(photos: int, device: torch.device) -> ProtectContext:
    """An embedded attribute network, and faces of as many people, of whom a third learns in `_BATCHES` steps."""
    words = [f"+attribute_model@attribute_models.one={_NETWORK}", f"attribute_task={_TASK}"]
    config = compose_config(["experiment=smoke", *words])
    model = build_attribute_model(resolved(config.attribute_models.one), _NETWORK)
    surrogate = get_method("cloakbench.models.attribute_surrogate.AttributeSurrogate")
    network = surrogate(model, instantiate(resolved(config.attribute_task))).to(device)
    faces = crowd(3 * _BATCHES * photos, 3 * _BATCHES * photos, torch.device("cpu"))
    pool = FaceSet((255 * faces.images).byte(), faces.image_id, faces.identities, _landmarks(faces))
    return ProtectContext({NetworkKind.ATTRIBUTE_SURROGATE: (network,)}, pool, device=device)


def _landmarks(faces: PhotoBatch) -> Tensor:
    return faces.reference_landmarks[:1, 0].cpu().repeat(len(faces.images), 1, 1)  # type: ignore[index]


def _training(context: ProtectContext, photos: int, repeats: int) -> Ratio:
    """Steps of generator and discriminator over the passes of all of their networks."""
    method, device = _small(photos), context.device
    known = _prepared(method, context)
    (model,) = context.attribute_surrogates
    with torch.random.fork_rng(devices=[]):
        generator, discriminator = method.rules.generator().to(device), method.rules.discriminator().to(device)
    purifier = method.noise_purifier.purifier(known.trained[method.noise_purifier.name])
    images = _pixels(context, photos)

    def bare() -> None:
        for _ in range(_BATCHES):
            _passes(images, model, generator, discriminator, purifier)

    name = f"Invisible-Face training / bare passes, {_NETWORK}"
    return compare(name, lambda: method.run_stage(method.local_masks, known), bare, repeats, device, bar=1.15)


def _memory(device: torch.device) -> Ratio:
    """Most memory of the training at the paper's size; there is nothing to compare its time with."""
    context, method = _context(_OFFICIAL, device), _method(_OFFICIAL, "method.purifier.batch=2")
    known = _prepared(method, context)
    mark = mark_memory()
    method.run_stage(method.local_masks, known)
    name = f"Invisible-Face training of 64 channels, {_OFFICIAL} photos a step"
    return Ratio(name, 1.0, ours_mib=added_peak_mib(mark), other_mib=0.0, mib_bar=_MOST_MIB)


def _passes(
    images: Tensor, model: nn.Module, generator: nn.Module, discriminator: nn.Module, purifier: nn.Module
) -> None:
    """What no step can do without: clean photos through the surrogate, protected and cleaned ones through it and back,
    the generator, the purifier and the discriminator there and back, and the discriminator on both sets."""
    with torch.no_grad():
        model.logits(images)  # type: ignore[operator]
    protected = images + generator(2 * images - 1)
    discriminator.requires_grad_(False)
    total = discriminator(2 * protected - 1).mean()
    for seen in (protected, purifier(protected)):
        total = total + sum(scores.mean() for scores in model.logits(seen).values())  # type: ignore[operator]
    total.backward()
    discriminator.requires_grad_(True)
    looks = [discriminator(2 * seen - 1).mean() for seen in (images, protected.detach())]
    torch.stack(looks).sum().backward()


def _pixels(context: ProtectContext, photos: int) -> Tensor:
    return context.require_auxiliary().images[:photos].to(context.device).float() / 255


def _directions(context: ProtectContext, photos: int, repeats: int) -> Ratio:
    """Directions of a batch read from what is stored, over finding them again in every epoch."""
    find, pack, unpack, rules = (
        get_method(f"{_PARTS}.directional.{name}")
        for name in ("find_directions", "pack_signs", "unpack_signs", "DirectionRules")
    )
    images, names = _pixels(context, photos), context.require_auxiliary().image_id[:photos]
    answers = get_method("cloakbench.methods.parts.attributes.own_answers.OwnAnswers.of")(images, context)

    def again() -> Tensor:
        return find(images, names, answers, 0, rules())

    kept = pack(again())

    def read() -> Tensor:
        return unpack(kept, images.shape[1:]).to(context.device)

    name = f"Invisible-Face, directions kept / found again, {_NETWORK}"
    return compare(name, read, again, repeats, context.device, bar=0.2)


def _regions(context: ProtectContext, photos: int, repeats: int) -> Ratio:
    """Boxes of several photos scored together, over one box of one photo at a time."""
    find, rules = (get_method(f"{_PARTS}.region.{name}") for name in ("find_regions", "RegionRules"))
    images, names = _pixels(context, photos), context.require_auxiliary().image_id[:photos]
    points = context.require_auxiliary().landmarks
    assert points is not None
    (model,) = context.attribute_surrogates
    with torch.no_grad():
        clean = model.logits(images)

    def together() -> None:
        find(images, names, points, [clean], [model], 0, rules())

    def one_at_a_time() -> None:
        for row, name in enumerate(names):
            own = {attribute: scores[row : row + 1] for attribute, scores in clean.items()}
            find(images[row : row + 1], [name], points[row : row + 1], [own], [model], 0, rules(), at_once=1)

    name = f"Invisible-Face, regions together / one box at a time, {_NETWORK}"
    return compare(name, together, one_at_a_time, repeats, context.device, bar=1 / 3)
