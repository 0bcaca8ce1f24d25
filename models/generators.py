"""The generator contract: one photo of a person goes in, other pictures of the person come out.

A method that has one photo only may ask for them (`Need.GENERATOR`); the benchmark makes them once for each photo and
hands them over as ``PhotoBatch.views``. A generator sees pixels and draws, and nothing else of a person.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.core.ranges import whole
from cloakbench.models.weight_file import WeightError
from cloakbench.models.zoo import WEIGHTS, read_card, read_weights

TRAIN = "cloakbench generator"
"""The command that trains the embedded generator again."""


@dataclass(frozen=True)
class GeneratorCard:
    """What a reader of a table needs to know about a generator.

    Attributes:
        name: key of the generator in configs and tables.
        kind: how it makes pictures, in a few words.
        training_set: on which faces it was trained; ``none`` for one that was not.
        weights_sha256: digest of the weight files, the part of the card that enters every key; empty without weights.
        licence_code, licence_weights, licence_training_data: short licence names; ``unknown`` when not published.
        page: where the weights and their terms are published.
        note: what else a reader must know.
        rendered: it learnt from faces of the embedded world, and knows no others.
    """

    name: str
    kind: str
    training_set: str = "none"
    weights_sha256: str = ""
    licence_code: str = "unknown"
    licence_weights: str = "unknown"
    licence_training_data: str = "unknown"
    page: str = ""
    note: str = ""
    rendered: bool = False

    @property
    def in_words(self) -> str:
        """For a line of a report."""
        weights = f", weights {self.weights_sha256[:12]} ({self.licence_weights})" if self.weights_sha256 else ""
        return f"{self.name}: {self.kind}{weights}" + (f"; {self.note}" if self.note else "")

    @property
    def caution(self) -> str:
        """For those who use it on photographs; empty where there is nothing to say."""
        if not self.rendered:
            return ""
        return (
            f"generator {self.name} learnt from rendered faces, and its views of a photograph hardly differ from it: a "
            "mask learns less from them; set generator=augment, or another of cloakbench list generators"
        )


class GeneratorError(ValueError):
    """A generator answered with something that is no pictures; one line that names it."""


class Generator(nn.Module, ABC):
    """Makes other pictures of people, each from one photo; frozen, in eval mode whatever ``train()`` is called with.

    A subclass sets `card`, implements `draw_views` and calls `freeze` at the end of its constructor. What it makes of a
    photo depends on that photo and its stream alone, never on the other photos of the call.
    """

    card: GeneratorCard
    passes_per_view: int = 0
    """Network passes that one picture takes; 0 without a network."""

    def freeze(self) -> None:
        """No gradients and no batch statistics from now on."""
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Generator:
        """Stays in eval mode."""
        return super().train(False)

    @final
    @torch.no_grad()
    def views(self, photos: Tensor, count: int, streams: Sequence[torch.Generator]) -> Tensor:
        """Other pictures of people, float ``[N, K, 3, H, W]`` in [0, 1] on the device of ``photos``.

        Args:
            photos: float32 RGB ``[N, 3, H, W]`` in [0, 1], one aligned photo of each person, mostly 112x112.
            count: pictures K of each, at least 1.
            streams: for each photo the CPU generator that everything random about its pictures is drawn from.

        Raises:
            SettingError: ``count`` is below 1.
            ValueError: the photos are none, or there is not one stream for each.
            GeneratorError: the answer has another size, a value that is not finite, or one outside [0, 1].
        """
        whole("views", count)
        if photos.ndim != 4 or photos.shape[1] != 3 or photos.dtype != torch.float32:
            raise ValueError(
                f"{self.card.name}: photos must be float32 [N, 3, H, W], got {photos.dtype} {tuple(photos.shape)}"
            )
        if len(streams) != len(photos):
            raise ValueError(f"{self.card.name}: {len(streams)} streams for {len(photos)} photos: give one for each")
        made = self.draw_views(photos, count, streams)
        self._check(made, (len(photos), count, *photos.shape[1:]))
        return made

    @abstractmethod
    def draw_views(self, photos: Tensor, count: int, streams: Sequence[torch.Generator]) -> Tensor:
        """The pictures of `views`, which checks arguments and answer."""

    def _check(self, made: Tensor, expected: tuple[int, ...]) -> None:
        name = self.card.name
        if not isinstance(made, Tensor) or tuple(made.shape) != expected:
            found = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
            raise GeneratorError(f"generator {name} gave {found} where {expected} was asked for: correct its pictures")
        if not made.numel():
            return
        low, high = map(float, made.aminmax())  # NaN where there is one
        if not bool(made.isfinite().all()):
            raise GeneratorError(f"generator {name} gave a value that is not finite: choose another generator or photo")
        if not (low >= 0 and high <= 1):
            raise GeneratorError(
                f"generator {name} gave values from {low:.3g} to {high:.3g}: pictures must lie in [0, 1]"
            )


def view_streams(seed: int, photos: Sequence[str]) -> list[torch.Generator]:
    """The stream of each photo, by the digests of their pixels."""
    return [generator(seed, "views", digest) for digest in photos]


class EmbeddedGenerator(Generator):
    """A small network of this project's, whose weights come with the package.

    Args:
        network: ``(photos [M, 3, H, W] in [0, 1], noise [M, noise_size])`` to pictures ``[M, 3, H, W]``, which are cut
            to [0, 1]; it must treat each row for itself.
        noise_size: normal numbers that one picture is drawn from.
        card: what to know of it.
    """

    passes_per_view = 1

    def __init__(self, network: nn.Module, noise_size: int, card: GeneratorCard) -> None:
        super().__init__()
        self.network = network
        self.noise_size = whole("noise_size", noise_size)
        self.card = card
        self.freeze()

    def draw_views(self, photos: Tensor, count: int, streams: Sequence[torch.Generator]) -> Tensor:
        noise = torch.stack([torch.randn(count, self.noise_size, generator=stream) for stream in streams])
        flat = noise.flatten(0, 1).to(photos.device)
        made = self.network(photos.repeat_interleave(count, dim=0), flat)
        return made.clamp(0, 1).view(len(photos), count, *made.shape[1:])


def load_embedded_generator(
    *, name: str, network: Callable[[], nn.Module], noise_size: int, folder: str | Path | None = None
) -> EmbeddedGenerator:
    """A generator that this project trained, from ``<name>.safetensors`` and the card ``<name>.json`` beside the zoo's.

    Args:
        name: file name of weights and card.
        network: builds the untrained network; called on the meta device, so nothing is initialised in vain.
        noise_size: see `EmbeddedGenerator`.
        folder: where weights and card lie; None is the package's own folder.

    Raises:
        WeightError: weights missing, altered, or of another network.
    """
    place = WEIGHTS if folder is None else Path(folder)
    card = read_card(name, place, TRAIN)
    state = read_weights(name, card["sha256"], place, TRAIN)
    with torch.device("meta"):
        module = network()
    try:
        module.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise WeightError(
            f"weights of {name!r} do not fit conf/generator/{name}.yaml: {reason}; restore both, or train it again"
        ) from None
    described = GeneratorCard(
        name=name,
        kind="small network",
        training_set=card["training_set"],
        weights_sha256=card["sha256"],
        licence_code="MIT",
        licence_weights="MIT",
        licence_training_data="MIT",
        note=card.get("note", "trained on rendered faces"),
        rendered=True,
    )
    return EmbeddedGenerator(module, noise_size, described)
