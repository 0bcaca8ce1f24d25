"""``cloakbench perf``: the cost of methods beyond the network passes that they cannot avoid.

Every ratio compares two things run in turn in one process on the same model and photos, and is the median over the
turns, so that a slow moment of the machine hits both. The models are the largest of the embedded zoo
and, for the two loops, one of a more usual size, beside whose passes everything else is small. All networks are frozen
ones, bare loops included; what freezing gives is a section of its own, for each kind of network. Memory is kept
between steps as in a run (`cloakbench.bench.processes.malloc`), for both sides alike.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib import resources
from typing import Any

import torch
import torch.nn.functional as F
from hydra.utils import get_method, instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from cloakbench.bench.cli.perf_timing import Ratio, compare
from cloakbench.bench.config.compose import compose_config, split_config_dirs
from cloakbench.bench.config.networks import build_recogniser
from cloakbench.bench.config.setting_checks import check_values
from cloakbench.bench.core.machine import checked_device
from cloakbench.bench.core.screen import Screen
from cloakbench.bench.processes.malloc import keep_freed_memory
from cloakbench.bench.protocols.identification.protocol import Identification
from cloakbench.bench.protocols.recognition.responses import Responses
from cloakbench.methods.base import Protector, without_title
from cloakbench.methods.context import NetworkKind, ProtectContext
from cloakbench.methods.photo_batch import PhotoBatch
from cloakbench.models.base import InputSpec, ModelCard, Recogniser
from cloakbench.models.frozen.network import freeze
from cloakbench.models.zoo import read_weights

REFERENCES = 10
MODEL = "cosface_ir50"
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


def run_perf(people: int = 10, photos: int = 32, repeats: int = 5, device: str = "cpu") -> list[Ratio]:
    """Measure every section.

    Args:
        people: identities in the OPOM and hull sections; the growth section goes from these to ten times as many.
        photos: batch of the image-scope sections.
        repeats: alternating runs, after one of each to warm up.
        device: where to run.
    """
    place = torch.device(device)
    model, larger = _embedded_recogniser(MODEL).to(place), _half_width_recogniser().to(place)
    context, larger_context = (
        ProtectContext({NetworkKind.RECOGNISER: (one,)}, device=place) for one in (model, larger)
    )
    few = max(1, repeats // 2)
    return [
        *(_frozen_over_trained(name, photos, repeats, place) for name in BACKBONES),
        _pgd_over_bare_loop(model, context, photos, repeats),
        _pgd_over_bare_loop(larger, larger_context, max(1, photos // 4), few),
        _opom_over_bare_loop(model, context, people, repeats),
        _opom_over_bare_loop(larger, larger_context, max(1, people // 10), few),
        _pgd_over_foolbox(model, context, photos, repeats),
        _hulls_over_one_at_a_time(people, repeats, place),
        _growth_with_people(context, people, repeats),
        _growth_with_gallery(repeats, place),
    ]


def _frozen_over_trained(name: str, photos: int, repeats: int, device: torch.device) -> Ratio:
    """A pass to the pixels and back through a network as it is loaded, over one through the network as it was trained,
    in the memory layout of the loaded one."""
    frozen = _embedded_recogniser(name).to(device)
    network = instantiate(_model_config(name)["network"])()
    network.load_state_dict(read_weights(name, frozen.card.weights_sha256))
    network.to(device, memory_format=torch.channels_last)
    trained = Recogniser(network, frozen.inputs, frozen.card)
    images = _crowd(photos, 1, device).images
    with torch.no_grad():
        anchors = trained.embed(images)

    def once(model: Recogniser) -> None:
        _bare_passes(model, images, anchors, steps=1)

    title = f"frozen / as trained, {name}"
    return compare(title, lambda: once(frozen), lambda: once(trained), 2 * repeats, device, bar=1.0)


def _pgd_over_bare_loop(model: Recogniser, context: ProtectContext, photos: int, repeats: int) -> Ratio:
    crowd = _crowd(photos, 1, context.device)
    method = _method("pgd")

    def bare() -> None:
        with torch.no_grad():
            anchors = model.embed(crowd.images)
        _bare_passes(model, crowd.images, anchors, steps=10)

    name = f"PGD / bare loop, {model.card.name}"
    return compare(name, lambda: method.protect(crowd, context), bare, repeats, context.device, bar=1.05)


def _opom_over_bare_loop(model: Recogniser, context: ProtectContext, people: int, repeats: int) -> Ratio:
    crowd = _crowd(people, people, context.device)
    assert crowd.references is not None
    photos = crowd.references.flatten(0, 1)
    method = _method("opom_convex_hull")

    def bare() -> None:
        with torch.no_grad():
            anchors = model.embed(photos)
        _bare_passes(model, photos, anchors, steps=16)

    name = f"OPOM-ConvexHull / bare loop, {model.card.name}"
    return compare(name, lambda: method.protect(crowd, context), bare, repeats, context.device, bar=1.05)


def _pgd_over_foolbox(model: Recogniser, context: ProtectContext, photos: int, repeats: int) -> Ratio:
    name = "PGD / foolbox LinfPGD"
    if importlib.util.find_spec("foolbox") is None:
        return Ratio(name, None, None, None, 1.0, "foolbox is not installed (extra: peers)")
    from foolbox.attacks import LinfPGD
    from foolbox.criteria import Misclassification
    from foolbox.models.pytorch import PyTorchModel

    class EmbeddingPGD(LinfPGD):
        """foolbox's own loop with our loss in place of cross-entropy."""

        def get_loss_fn(self, model, labels):
            return lambda inputs: (model(inputs) - labels).square().sum()

    crowd = _crowd(photos, 1, context.device)
    method = _method("pgd")
    wrapped = PyTorchModel(model, bounds=(0, 1), device=context.device)
    attack = EmbeddingPGD(abs_stepsize=1.5 * 8 / 255 / 10, steps=10, random_start=True)

    def peer() -> None:
        with torch.no_grad():
            anchors = model.embed(crowd.images)
        # `run` is the bare attack; calling the object would add a forward pass to judge success.
        attack.run(wrapped, crowd.images, Misclassification(anchors), epsilon=8 / 255)

    note = "ours also rounds, checks and measures"
    return compare(name, lambda: method.protect(crowd, context), peer, repeats, context.device, bar=1.0, note=note)


def _hulls_over_one_at_a_time(people: int, repeats: int, device: torch.device) -> Ratio:
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


def _growth_with_people(context: ProtectContext, people: int, repeats: int) -> Ratio:
    few, many = _crowd(people, people, context.device), _crowd(10 * people, 10 * people, context.device)
    # Fewer steps than usual, one of them with the hull: growth does not depend on how many there are.
    method = _method("opom_convex_hull", steps=2, objective={"warmup_steps": 1})
    rounds = max(1, repeats // 2)

    def chunks() -> None:
        """Ten times the people, as the plan gives them: in chunks of the same size."""
        references = many.require_references()
        for start in range(0, 10 * people, people):
            rows = slice(start, start + people)
            method.protect(
                PhotoBatch(
                    many.images[rows],
                    many.image_id[rows],
                    few.owner,
                    many.identities[rows],
                    references[rows],
                    many.reference_id[rows],
                ),
                context,
            )

    name = f"OPOM-ConvexHull, {10 * people} / {people} people"
    return compare(name, chunks, lambda: method.protect(few, context), rounds, context.device, bar=10.5)


def _growth_with_gallery(repeats: int, device: torch.device) -> Ratio:
    """Rank counting for 200 probes, clean and protected; what does not grow with the gallery is paid once."""
    stream = torch.Generator().manual_seed(0)
    probes, large = (F.normalize(torch.randn(size, 128, generator=stream), dim=-1) for size in (200, 100_000))
    identity = torch.arange(200) % 20
    names = [f"photo{row}" for row in range(200)]
    protocol = Identification()

    def search(gallery: Tensor) -> None:
        protocol.records(Responses(probes, probes, identity, names, gallery=gallery))

    name = "identification, gallery 100,000 / 1,000"
    rounds = max(1, repeats // 2)
    return compare(name, lambda: search(large), lambda: search(large[:1000]), rounds, device, bar=100.0)


def _bare_passes(model: Recogniser, images: Tensor, anchors: Tensor, steps: int) -> None:
    # Away from the neighbour's anchor: at its own a photo has a zero gradient, and layers run faster on zeros.
    anchors = anchors.roll(1, dims=0)
    for _ in range(steps):
        leaf = images.detach().requires_grad_()
        loss = (model.embed(leaf) - anchors).square().sum()
        torch.autograd.grad(loss, leaf)


def _method(name: str, **changes: Any) -> Protector:
    """The method as its file under ``conf/method`` sets it, with some keys changed."""
    text = (resources.files("cloakbench.conf") / "method" / f"{name}.yaml").read_text()
    config: Any = OmegaConf.to_container(OmegaConf.create(text))
    return instantiate(without_title(config), **changes)


def _crowd(photos: int, people: int, device: torch.device) -> PhotoBatch:
    """Random photos: what they show does not change what a pass costs."""
    stream = torch.Generator().manual_seed(0)
    identities = tuple(f"person{i}" for i in range(people))
    return PhotoBatch(
        images=torch.rand(photos, 3, 112, 112, generator=stream).to(device),
        image_id=tuple(f"photo{i}" for i in range(photos)),
        owner=(torch.arange(photos) % people).to(device),
        identities=identities,
        references=torch.rand(people, REFERENCES, 3, 112, 112, generator=stream).to(device),
        reference_id=tuple(tuple(f"{who}-{i}" for i in range(REFERENCES)) for who in identities),
    )


def _model_config(name: str) -> dict[str, Any]:
    config: Any = OmegaConf.to_container(compose_config([f"model@surrogate={name}"]).surrogate, resolve=True)
    return config


def _embedded_recogniser(name: str) -> Recogniser:
    return build_recogniser(_model_config(name), name)


def _half_width_recogniser() -> Recogniser:
    """IResNet-18 at half width, untrained: nearer to the networks of the papers, and still bearable on a CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        build = get_method("cloakbench.models.backbones.iresnet.IResNet")
        network = freeze(build([2, 2, 2, 2], channels=[32, 64, 128, 256]))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Recogniser(
        network, InputSpec(), ModelCard("half-width IResNet-18", "ir", "IResNet", "none", "none", 512, "")
    )


def _settings(config: DictConfig) -> dict[str, Any]:
    check_values(config)
    checked_device(config.device, "device")
    return {key: config[key] for key in ("people", "photos", "repeats", "device")}


def main(words: Sequence[str] | None = None) -> int:
    """Print the table; the exit status is 1 when a bar is missed. ``conf/perf.yaml`` says what can be set."""
    keep_freed_memory()
    torch.set_num_threads(1)
    from rich.table import Table

    config_dirs, overrides = split_config_dirs(words or [])
    rows = run_perf(**_settings(compose_config(overrides, "perf", config_dirs)))
    table = Table("comparison", "ours s", "other s", "ratio", "bar", "", title="Wall time")
    for row in rows:
        numbers = [f"{value:.3f}" if value is not None else "-" for value in (row.ours_seconds, row.other_seconds)]
        ratio = "-" if row.ratio is None else f"{row.ratio:.3f}"
        missed = row.ratio is not None and row.bar is not None and row.ratio > row.bar
        table.add_row(row.name, *numbers, ratio, f"<= {row.bar}", "MISSED " * missed + row.note)
    Screen().print(table)
    return int(any(row.ratio is not None and row.bar is not None and row.ratio > row.bar for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
