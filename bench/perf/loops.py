"""Our loops beside the bare passes of the same networks on the same photos.

Networks are frozen ones, bare loops included; what freezing gives is a comparison of its own for each kind of network.
The loops run on the largest network of the embedded zoo, and on one of a more usual size, beside whose passes
everything else is small.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from hydra.utils import get_method

from cloakbench.bench.perf.ensemble_loops import ensemble_over_bare
from cloakbench.bench.perf.local_loops import local_loops
from cloakbench.bench.perf.person_loops import cloak_over_bare
from cloakbench.bench.perf.subjects import (
    REFERENCES,
    bare_passes,
    context_of,
    crowd,
    embedded_recogniser,
    half_width_recogniser,
    method,
    trained_recogniser,
)
from cloakbench.bench.perf.timing import Ratio, compare
from cloakbench.bench.perf.veil_loops import veil_over_bare
from cloakbench.datasets.base import FaceSet
from cloakbench.models.base import Recogniser

_RULES = "cloakbench.methods.parts.gan.adversarial.GameRules"
_PARTNER = "cosface_se_resnet"
"""The other network of an ensemble."""
_SLIM = 8
"""Width of the networks of a game; the papers have 64 and 32."""
BACKBONES = (
    "arcface_ir",
    "cosface_ir50",
    "cosface_ir_se",
    "sface_resnet",
    "cosface_se_resnet",
    "arcface_mobilefacenet",
    "cosface_mobilenet",
    "cosface_inception_resnet",
)
"""A member of the embedded zoo for each of its networks."""


def freezing(photos: int, repeats: int, device: torch.device) -> Iterator[Ratio]:
    """A pass to the pixels and back through a network as it is loaded, over one through the network as it was trained,
    in the memory layout of the loaded one."""
    for name in BACKBONES:
        frozen = embedded_recogniser(name).to(device)
        trained = trained_recogniser(name, frozen).to(device)
        images = crowd(photos, 1, device).images
        with torch.no_grad():
            anchors = trained.embed(images)

        def once(model: Recogniser, images: torch.Tensor = images, anchors: torch.Tensor = anchors) -> None:
            bare_passes(model, images, anchors, steps=1)

        title = f"frozen / as trained, {name}"
        both = (lambda: once(frozen)), (lambda: once(trained))  # noqa: B023  (called before the next turn)
        yield compare(title, *both, 2 * repeats, device, bar=1.0)


def bare_loops(people: int, photos: int, repeats: int, device: torch.device) -> Iterator[Ratio]:
    """Methods over the passes that they make."""
    model, larger = embedded_recogniser().to(device), half_width_recogniser().to(device)
    few = max(1, repeats // 2)
    yield _pgd(model, photos, repeats, device)
    yield _pgd(larger, max(1, photos // 4), few, device)
    yield _opom(model, people, repeats, device)
    yield _opom(larger, max(1, people // 10), few, device)
    yield ensemble_over_bare((model, larger), max(1, photos // 8), few, device)
    yield ensemble_over_bare((model, embedded_recogniser(_PARTNER).to(device)), photos, few, device, through_views=True)
    yield cloak_over_bare(model, people, few, device)
    yield cloak_over_bare(larger, max(1, people // 10), few, device)
    yield veil_over_bare(model, people, few, device)
    yield veil_over_bare(larger, max(1, people // 10), few, device)
    yield _game(model, photos, few, device)
    yield _hulls(people, repeats, device)
    yield from local_loops(photos, repeats, device)


def _pgd(model: Recogniser, photos: int, repeats: int, device: torch.device) -> Ratio:
    batch, context, pgd = crowd(photos, 1, device), context_of(model, device), method("pgd")

    def bare() -> None:
        with torch.no_grad():
            anchors = model.embed(batch.images)
        bare_passes(model, batch.images, anchors, steps=10)

    name = f"PGD / bare loop, {model.card.name}"
    return compare(name, lambda: pgd.protect(batch, context), bare, repeats, device, bar=1.05)


def _opom(model: Recogniser, people: int, repeats: int, device: torch.device) -> Ratio:
    batch, context, opom = crowd(people, people, device), context_of(model, device), method("opom_convex_hull")
    photos = batch.require_references().flatten(0, 1)

    def bare() -> None:
        with torch.no_grad():
            anchors = model.embed(photos)
        bare_passes(model, photos, anchors, steps=16)

    name = f"OPOM-ConvexHull / bare loop, {model.card.name}"
    return compare(name, lambda: opom.protect(batch, context), bare, repeats, device, bar=1.05)


def _game(model: Recogniser, photos: int, repeats: int, device: torch.device) -> Ratio:
    """The training of masks in a game of generator and discriminator over the passes of its three networks, at the
    size of the experiments on the embedded world, where whatever is not a pass weighs most."""
    batches = 2
    advfaces = method("advfaces", width=_SLIM, discriminator_width=_SLIM, image_epochs=1, batch=photos)
    faces = crowd(batches * photos, 1, torch.device("cpu"))
    pool = FaceSet((255 * faces.images).byte(), faces.image_id, faces.image_id)
    context = replace(context_of(model, device), auxiliary=pool)
    parts = (pool.images.to(device).float() / 255).split(photos)
    with torch.random.fork_rng(devices=[]):
        rules = advfaces.stages()[0].settings["rules"]
        made = get_method("cloakbench.methods.parts.gan.adversarial.makers")
        generator, discriminator = (make().to(device) for make in made(get_method(_RULES)(**rules)).values())

    def bare() -> None:
        with torch.no_grad():
            anchors = [model.embed(part) for part in parts]
        for part, points in zip(parts, anchors, strict=True):
            protected = part + generator(2 * part - 1)
            first = discriminator(protected).sum() + (model.embed(protected) * points).sum()
            torch.autograd.grad(first, list(generator.parameters()))
            second = discriminator(part).sum() + discriminator(protected.detach()).sum()
            torch.autograd.grad(second, list(discriminator.parameters()))

    name = f"AdvFaces training / bare passes of its networks, {model.card.name}"
    return compare(name, lambda: advfaces.run_training(context), bare, repeats, device, bar=1.15)


def _hulls(people: int, repeats: int, device: torch.device) -> Ratio:
    solve = get_method("cloakbench.methods.parts.hulls.convex_weights")
    stream = torch.Generator().manual_seed(0)
    common = torch.randn(people, 1, 128, generator=stream)
    points = F.normalize(common + 0.5 * torch.randn(people, REFERENCES, 128, generator=stream), dim=-1)
    queries = F.normalize(points + 0.05 * torch.randn(points.shape, generator=stream), dim=-1)
    points, queries = points.to(device), queries.to(device)

    def one_at_a_time() -> None:
        for person in range(people):
            for photo in range(REFERENCES):
                solve(points[person : person + 1], queries[person : person + 1, photo : photo + 1])

    name = f"{people} x {REFERENCES} convex hulls: batched / one at a time"
    return compare(name, lambda: solve(points, queries), one_at_a_time, repeats, device, bar=1.0)
