"""Subjects of comparisons: networks, photos and methods, and the passes that no method can do without."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any

import torch
from hydra.utils import get_method, instantiate
from omegaconf import OmegaConf
from torch import Tensor

from cloakbench.bench.config.compose import compose_config, resolved
from cloakbench.bench.config.networks import build_recogniser
from cloakbench.methods.base import Protector, without_title
from cloakbench.methods.context import NetworkKind, ProtectContext
from cloakbench.methods.photo_batch import PhotoBatch
from cloakbench.models.base import InputSpec, ModelCard, Recogniser
from cloakbench.models.frozen.network import freeze
from cloakbench.models.zoo import read_weights

MODEL = "cosface_ir50"
"""The largest of the embedded zoo."""
REFERENCES = 10
VIEWS = 8
_LANDMARKS = torch.tensor([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]])


def bare_passes(
    model: Recogniser, images: Tensor, anchors: Tensor, steps: int, see: Callable[[Tensor], Tensor] | None = None
) -> None:
    """Passes to the pixels and back, of what ``see`` makes of the images."""
    # Away from the neighbour's anchor: at its own a photo has a zero gradient, and layers run faster on zeros.
    anchors = anchors.roll(1, dims=0)
    for _ in range(steps):
        leaf = images.detach().requires_grad_()
        loss = (model.embed(leaf if see is None else see(leaf)) - anchors).square().sum()
        torch.autograd.grad(loss, leaf)


def method(name: str, **changes: Any) -> Protector:
    """The method as its file under ``conf/method`` sets it, with some keys changed."""
    text = (resources.files("cloakbench.conf") / "method" / f"{name}.yaml").read_text()
    config: Any = OmegaConf.to_container(OmegaConf.create(text))
    return instantiate(without_title(config), **changes)


def crowd(photos: int, people: int, device: torch.device) -> PhotoBatch:
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
        reference_landmarks=_LANDMARKS.expand(people, REFERENCES, 5, 2).to(device),
        views=torch.rand(people, VIEWS, 3, 112, 112, generator=stream).to(device),
    )


def context_of(model: Recogniser, device: torch.device) -> ProtectContext:
    """What a method is told that protects from one network."""
    return ProtectContext({NetworkKind.RECOGNISER: (model,)}, device=device)


def model_config(name: str) -> dict[str, Any]:
    """The block of a member of the embedded zoo."""
    return resolved(compose_config([f"model@surrogate={name}"]).surrogate)


def embedded_recogniser(name: str = MODEL) -> Recogniser:
    """A member of the embedded zoo."""
    return build_recogniser(model_config(name), name)


def trained_recogniser(name: str, frozen: Recogniser) -> Recogniser:
    """The same member as it was trained: nothing folded, in the memory layout of the frozen one."""
    network = instantiate(model_config(name)["network"])()
    network.load_state_dict(read_weights(name, frozen.card.weights_sha256))
    network.eval().to(memory_format=torch.channels_last)
    return Recogniser(network, frozen.inputs, frozen.card)


def half_width_recogniser() -> Recogniser:
    """IResNet-18 at half width, untrained: nearer to the networks of the papers, and still bearable on a CPU."""
    return _untrained("half-width IResNet-18", [2, 2, 2, 2], channels=[32, 64, 128, 256])


def full_width_recogniser() -> Recogniser:
    """IResNet-50 as the papers have it, untrained."""
    return _untrained("IResNet-50", [3, 4, 14, 3])


def _untrained(name: str, blocks: list[int], **settings: Any) -> Recogniser:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = freeze(get_method("cloakbench.models.backbones.iresnet.IResNet")(blocks, **settings))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Recogniser(network, InputSpec(), ModelCard(name, "ir", "IResNet", "none", "none", 512, ""))
