"""A tiny world made on the spot: six faces of three people, and a small recogniser; no weights, no files."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator, uniform_per_item
from cloakbench.datasets.base import FaceSet
from cloakbench.methods.base import People, Resources
from cloakbench.models.base import InputSpec, ModelCard, Recogniser

SIDE = 32
PERSONS = ("ada", "ben", "cleo")
REFERENCES = 3
OTHERS = 24


def tiny_people() -> People:
    """Six photos of three people with references, targets and landmarks; smooth shapes per person plus noise.

    Pixels are whole grey levels in 76..178, so no method clips and differences of outputs are the mask itself.
    """
    photo_ids = tuple(f"{person}-{i}" for i in range(2) for person in PERSONS)
    reference_ids = tuple(tuple(f"{person}-reference-{i}" for i in range(REFERENCES)) for person in PERSONS)
    images, targets = tiny_faces(photo_ids), tiny_faces([f"{person}-target" for person in PERSONS])
    return People(
        images=images,
        image_id=photo_ids,
        person=torch.arange(len(photo_ids)) % len(PERSONS),
        identities=PERSONS,
        references=torch.stack([tiny_faces(ids) for ids in reference_ids]),
        reference_id=reference_ids,
        landmarks=torch.tensor([[10, 12], [22, 12], [16, 18], [11, 24], [21, 24]]).float().repeat(len(images), 1, 1),
        targets=targets.flip(0),
    )


def tiny_resources() -> Resources:
    """One small recogniser with batch statistics to spoil, and two photos each of other people."""
    others = tuple(f"other{person}-{photo}" for person in range(OTHERS) for photo in range(2))
    identities = tuple(name.partition("-")[0] for name in others)
    auxiliary = FaceSet((tiny_faces(others) * 255).round().to(torch.uint8), others, identities)
    return Resources((_tiny_recogniser(),), auxiliary, seed=0)


def tiny_faces(names: tuple[str, ...] | list[str]) -> Tensor:
    """Faces ``[N, 3, SIDE, SIDE]``: a smooth pattern per person (the name before the first dash) and fine noise."""
    people = [name.split("-")[0] for name in names]
    pattern = uniform_per_item(people, (3, 4, 4), 0.3, 0.7, "conformance person")
    pattern = nn.functional.interpolate(pattern, size=(SIDE, SIDE), mode="bilinear")
    noise = uniform_per_item(names, (3, SIDE, SIDE), -0.05, 0.05, "conformance photo")
    return ((pattern + noise).clamp(0.3, 0.7) * 255).round() / 255


def _tiny_recogniser() -> Recogniser:
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
            nn.Linear(24 * (SIDE // 4) ** 2, 32, bias=False),
        )
    stream = generator("conformance recogniser")
    with torch.no_grad():
        for weight in (parameter for parameter in network.parameters() if parameter.ndim > 1):
            weight.normal_(0, (2 / weight[0].numel()) ** 0.5, generator=stream)
    card = ModelCard("tiny", "conv", "two convolutions", "none", "none", 32, "")
    return Recogniser(_InDouble(network), InputSpec(size=(SIDE, SIDE)), card)


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
