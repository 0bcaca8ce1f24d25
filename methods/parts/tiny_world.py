"""The tiny world that methods are checked in: six photos of three people, a small network or two, some other people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator, uniform_per_item
from cloakbench.datasets.base import FaceSet
from cloakbench.methods.base import Protector
from cloakbench.methods.context import NETWORKS, Need, NetworkKind, ProtectContext
from cloakbench.methods.photo_batch import PhotoBatch
from cloakbench.models.base import InputSpec, ModelCard, Recogniser

SIDE = 32
PERSONS = ("ada", "ben", "cleo")
REFERENCES = 3
VIEWS = 4
OTHERS = 24


_LANDMARKS = torch.tensor([[10.0, 12.0], [22.0, 12.0], [16.0, 18.0], [11.0, 24.0], [21.0, 24.0]])


def tiny_photos() -> PhotoBatch:
    """Six photos of three people with references, views, aims and landmarks; smooth shapes per person plus noise.

    Pixels are whole grey levels in 76..178, so no method clips and differences of outputs are the mask itself.
    """
    photo_ids = tuple(f"{person}-{i}" for i in range(2) for person in PERSONS)
    reference_ids = tuple(tuple(f"{person}-reference-{i}" for i in range(REFERENCES)) for person in PERSONS)
    images, aims = tiny_faces(photo_ids), tiny_faces([f"{person}-target" for person in PERSONS])
    return PhotoBatch(
        images=images,
        image_id=photo_ids,
        owner=torch.arange(len(photo_ids)) % len(PERSONS),
        identities=PERSONS,
        references=torch.stack([tiny_faces(ids) for ids in reference_ids]),
        reference_id=reference_ids,
        reference_landmarks=_LANDMARKS.expand(len(PERSONS), REFERENCES, 5, 2),
        views=torch.stack([tiny_faces([f"{person}-view-{i}" for i in range(VIEWS)]) for person in PERSONS]),
        landmarks=_LANDMARKS.repeat(len(images), 1, 1),
        aim_photos=aims.flip(0),
    )


def tiny_context() -> ProtectContext:
    """A small recogniser with batch statistics to spoil, attribute networks, and two photos each of other people, with
    labels as the embedded world has them."""
    others = tuple(f"other{person}-{photo}" for person in range(OTHERS) for photo in range(2))
    identities = tuple(name.partition("-")[0] for name in others)
    people = torch.arange(len(others)) // 2
    labels = {"gender": people % 2, "age": people % 5, "complexion": people % 3 + 1}
    points = _LANDMARKS.repeat(len(others), 1, 1)
    auxiliary = FaceSet((tiny_faces(others) * 255).round().to(torch.uint8), others, identities, points, labels)
    networks = {
        NetworkKind.RECOGNISER: (_tiny_recogniser(),),
        NetworkKind.ATTRIBUTE_SURROGATE: (TinyAttributes(),),
    }
    return ProtectContext(networks, auxiliary, seed=0)


def trained_context(protector: Protector) -> ProtectContext:
    """The tiny context, with what the method trains once from it."""
    return replace(tiny_context(), trained=_trained(protector))


@lru_cache(maxsize=4)
def _trained(protector: Protector) -> Mapping[str, Mapping[str, Tensor]]:
    """Trained once for all checks of a method: minutes where a method trains a network."""
    return protector.run_training(tiny_context()).tensors


def select_photos(batch: PhotoBatch, rows: list[int], people: list[int]) -> PhotoBatch:
    """The photos at ``rows`` of a batch that has everything, with the people at ``people`` in that order.

    Every owner of a photo is among the people.
    """
    names = tuple(batch.identities[person] for person in people)
    return PhotoBatch(
        images=batch.images[rows],
        image_id=tuple(batch.image_id[row] for row in rows),
        owner=torch.tensor([names.index(batch.identities[int(batch.owner[row])]) for row in rows]),
        identities=names,
        references=batch.require_references()[people],
        reference_id=tuple(batch.reference_id[person] for person in people),
        reference_landmarks=batch.require_reference_landmarks()[people],
        views=batch.require_views()[people],
        landmarks=batch.require_landmarks()[rows],
        aim_photos=batch.require_aim_photos()[people],
    )


def as_random_signs(batch: PhotoBatch, l2_255: Tensor) -> Tensor:
    """The photos with random signs on them instead, as long a change for each photo before it is clipped."""
    size = (l2_255 / 255 / batch.images[0].numel() ** 0.5).view(-1, 1, 1, 1)
    sign = uniform_per_item(batch.image_id, batch.images.shape[1:], -1, 1, "conformance").sign()
    return (batch.images + size * sign).clamp(0, 1)


@torch.no_grad()
def similarity(batch: PhotoBatch, photos: Tensor, towards_aim: bool = False) -> float:
    """Of photos to their owners, so to their originals and the references' centre, or to those aimed at; the mean."""
    (model,) = tiny_context().surrogates
    if towards_aim:
        goal = model.embed(batch.require_aim_photos())[batch.owner]
    else:
        references = batch.require_references()
        features = model.embed(references.flatten(0, 1)).unflatten(0, references.shape[:2])
        goal = (model.embed(batch.images) + features.mean(dim=1)[batch.owner]) / 2
    return float((model.embed(photos) * goal).sum(dim=1).mean())


def photos_without(need: Need, batch: PhotoBatch) -> PhotoBatch:
    """The photos without what meets a need, if photos meet it."""
    if need is Need.REFERENCES:
        return replace(batch, references=None, reference_id=())
    if need is Need.LANDMARKS:
        return replace(batch, landmarks=None)
    if need is Need.REFERENCE_LANDMARKS:
        return replace(batch, reference_landmarks=None)
    if need is Need.GENERATOR:
        return replace(batch, views=None)
    return replace(batch, aim_photos=None) if need is Need.AIM else batch


def context_without(need: Need, context: ProtectContext) -> ProtectContext:
    """The context without what meets a need, if it meets it."""
    if need is Need.AUXILIARY:
        return replace(context, auxiliary=None)
    left = {kind: models for kind, models in context.networks.items() if kind is not NETWORKS.get(need)}
    return replace(context, networks=left)


def tiny_faces(names: tuple[str, ...] | list[str]) -> Tensor:
    """Faces ``[N, 3, SIDE, SIDE]``: a smooth pattern per person (the name before the first dash) and fine noise."""
    people = [name.split("-")[0] for name in names]
    pattern = uniform_per_item(people, (3, 4, 4), 0.3, 0.7, "conformance person")
    pattern = nn.functional.interpolate(pattern, size=(SIDE, SIDE), mode="bilinear")
    noise = uniform_per_item(names, (3, SIDE, SIDE), -0.05, 0.05, "conformance photo")
    return ((pattern + noise).clamp(0.3, 0.7) * 255).round() / 255


class TinyAttributes(nn.Module):
    """Two small networks that answer three attributes, as `cloakbench.models.attribute_surrogate` does.

    One has two classes and three, the other four, which are bins of a value.
    """

    answered_together = (("two", "three"), ("years",))
    by_value = frozenset({"years"})

    def __init__(self) -> None:
        super().__init__()
        self.networks = nn.ModuleList(
            [_in_double("conformance attributes", 5), _in_double("conformance attributes by value", 1)]
        )
        self.requires_grad_(False).eval()

    def logits(self, images: Tensor) -> Mapping[str, Tensor]:
        """Attribute to scores ``[N, C]`` of images ``[N, 3, SIDE, SIDE]`` in [0, 1]."""
        classes, value = (network(2 * images - 1) for network in self.networks)
        return {
            "two": classes[:, :2],
            "three": classes[:, 2:],
            "years": -(value - torch.tensor([-1.5, -0.5, 0.5, 1.5])).square(),
        }


def _tiny_recogniser() -> Recogniser:
    card = ModelCard("tiny", "conv", "two convolutions", "none", "none", 32, "")
    return Recogniser(_in_double("conformance recogniser", 32), InputSpec(size=(SIDE, SIDE)), card)


def _in_double(name: str, outputs: int) -> _InDouble:
    """A network with weights from the stream of that name."""
    # Layers draw their first weights from the global state; these are replaced, and the state put back.
    with torch.random.fork_rng(devices=[]):
        network = nn.Sequential(
            nn.Conv2d(3, 12, 3, 2, 1, bias=False),
            nn.BatchNorm2d(12),
            nn.PReLU(12),
            nn.Conv2d(12, 24, 3, 2, 1, bias=False),
            nn.BatchNorm2d(24),
            nn.PReLU(24),
            nn.Flatten(),
            nn.Linear(24 * (SIDE // 4) ** 2, outputs, bias=False),
        )
    stream = generator(name)
    with torch.no_grad():
        for weight in (parameter for parameter in network.parameters() if parameter.ndim > 1):
            weight.normal_(0, (2 / weight[0].numel()) ** 0.5, generator=stream)
    return _InDouble(network)


class _InDouble(nn.Module):
    """A network that computes in double precision and answers in the precision it was asked in.

    Sums of single precision depend on the size of the batch, and methods of dozens of steps amplify that. Without it,
    what still differs between batches is what photos share.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.double()

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images.double()).to(images.dtype)
