"""Pass counts: network passes of a method per photo, counted on photos of noise and a network that costs nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.plan.plan import Cell, make_protector
from cloakbench.datasets.base import FaceSet
from cloakbench.methods.context import NetworkKind, ProtectContext
from cloakbench.methods.photo_batch import PhotoBatch
from cloakbench.models.base import InputSpec, ModelCard, Recogniser

log = logging.getLogger(__name__)

_LOOPS = ("max_rounds", "outer_steps", "iterations", "rounds", "steps")
"""Settings that count the repetitions of a search; the outermost first."""
_COUNTED = (2, 4)
"""Repetitions that are really run; passes grow by as much with every further one."""
_PHOTOS_OF_A_PERSON = 10
_BACKWARD = 2.0
"""A backward pass costs about two forward ones."""
NETWORK = "network"
"""The setting under which a method, or an attacker, has the classifier that it trains."""


def expected_passes(
    method: Mapping[str, Any], key: str, probes: int, references: int, *, surrogates: int = 1
) -> tuple[float, float]:
    """As `count_passes`, in a fraction of the time: long searches are followed from two short ones, to their end.

    A search that may stop early is taken to go on to its bound, and trainings for everybody are left out.

    Raises:
        ValueError: the method cannot work on the photos of noise.
    """
    short: dict[str, Any] = {**method, **{name: value for name, value in _CUT.items() if name in method}}
    loop = next((name for name in _LOOPS if isinstance(short.get(name), int) and short[name] > _COUNTED[-1]), None)
    if loop is None:
        return count_passes(short, key, probes, references, surrogates=surrogates)
    less, more = (
        count_passes({**short, loop: count}, key, probes, references, surrogates=surrogates) for count in _COUNTED
    )
    further = (short[loop] - _COUNTED[0]) / (_COUNTED[1] - _COUNTED[0])
    forward, backward = (some + further * (many - some) for some, many in zip(less, more, strict=True))
    return forward, backward


def passes_of(cell: Cell) -> float | None:
    """Passes per photo of a cell, in forward ones, on people with ten photos; None where they cannot be told.

    Nor are those of methods that train networks or attack none: other passes than the surrogate's, of another cost.
    """
    if cell.protector.is_trained or not cell.surrogates:
        return None
    numbers = (_PHOTOS_OF_A_PERSON, _PHOTOS_OF_A_PERSON)
    try:
        forward, backward = expected_passes(cell.config, cell.method, *numbers, surrogates=max(1, len(cell.surrogates)))
    except Exception:  # a method of a user's own may raise anything, and need what noise has not
        log.debug("passes of %s cannot be counted", cell.label, exc_info=True)
        return None
    return forward + _BACKWARD * backward


class StandInClassifier(nn.Module):
    """A classifier of people that costs next to nothing, made as `cloakbench.models.classifier.Classifier` is."""

    def __init__(self, *, classes: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.AvgPool2d(size[0] // 4), nn.Flatten(), nn.Linear(48, classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


_TRAININGS = ("epochs", "steps_per_epoch", "image_epochs", "person_epochs")
_CUT: Mapping[str, Any] = {
    **dict.fromkeys(_TRAININGS, 1),
    **dict.fromkeys(("width", "discriminator_width"), 4),
    "stop_error": None,
    NETWORK: {"_target_": f"{__name__}.StandInClassifier", "_partial_": True},
}
"""Settings that say how long something is trained for everybody, and how large it is: no pass of a photo hangs on
them."""


def count_passes(
    method: Mapping[str, Any], key: str, probes: int, references: int, *, surrogates: int = 1
) -> tuple[float, float]:
    """Forward and backward passes per photo of a method, counted on one person with tiny photos of noise.

    Raises:
        ValueError: the method cannot work on them.
    """
    protector = make_protector(method, key)
    networks = {
        NetworkKind.RECOGNISER: tuple(_stand_in() for _ in range(surrogates)),
        NetworkKind.ATTRIBUTE_SURROGATE: tuple(StandInAttributes() for _ in range(surrogates)),
    }
    context = ProtectContext(networks, _others())
    context = replace(context, trained=protector.run_training(context).tensors)
    protected = protector.protect(_person(probes, references, protector.view_count), context)
    return protected.cost.forward_images / probes, protected.cost.backward_images / probes


_SIDE = 32
_OTHERS = 24
"""More people than any method of ours chooses from."""


def _noise(count: int, name: str) -> torch.Tensor:
    return torch.rand(count, 3, _SIDE, _SIDE, generator=generator("estimate", name))


_LANDMARKS = torch.tensor([[10.0, 12.0], [22.0, 12.0], [16.0, 18.0], [11.0, 24.0], [21.0, 24.0]])


def _person(probes: int, references: int, views: int) -> PhotoBatch:
    return PhotoBatch(
        images=_noise(probes, "probes"),
        image_id=tuple(f"probe-{number}" for number in range(probes)),
        owner=torch.zeros(probes, dtype=torch.long),
        identities=("person",),
        references=_noise(references, "references")[None],
        reference_id=(tuple(f"reference-{number}" for number in range(references)),),
        reference_landmarks=_LANDMARKS.expand(1, references, 5, 2),
        views=_noise(views, "views")[None] if views else None,
        landmarks=_LANDMARKS.repeat(probes, 1, 1),
        aim_photos=_noise(1, "target"),
    )


def _others() -> FaceSet:
    people = tuple(f"other-{number // 2}" for number in range(2 * _OTHERS))
    names = tuple(f"{name}-{number % 2}" for number, name in enumerate(people))
    return FaceSet((_noise(len(names), "others") * 255).to(torch.uint8), names, people)


class StandInAttributes(nn.Module):
    """An attribute surrogate that costs next to nothing: gender, age and race, all from one network."""

    def __init__(self) -> None:
        super().__init__()
        self.network = _small_network(13).requires_grad_(False).eval()

    def logits(self, images: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """Attribute to scores ``[N, C]`` of images ``[N, 3, H, W]``."""
        return dict(zip(("gender", "age", "race"), self.network(images).split([2, 6, 5], dim=1), strict=True))


def _stand_in() -> Recogniser:
    """A recogniser that costs next to nothing, with a convolution and an activation for methods that act on one."""
    card = ModelCard("stand-in", "", "", "", "", 8, "")
    return Recogniser(_small_network(8), InputSpec((_SIDE, _SIDE)), card)


def _small_network(outputs: int) -> nn.Module:
    with torch.device("meta"):
        network = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3, 4, 1),
            torch.nn.PReLU(4),
            torch.nn.AdaptiveAvgPool2d(4),
            torch.nn.Flatten(),
            torch.nn.Linear(64, outputs),
        )
    stream = generator("estimate", "stand-in")
    state = {name: torch.randn(value.shape, generator=stream) for name, value in network.state_dict().items()}
    network.load_state_dict(state, assign=True)
    return network
