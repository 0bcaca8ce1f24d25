"""Photos of the synthetic world that belong together: who is on them, their names, their pixels.

The pixels of a photo depend on the name of the photo, the name of the person, the two scales and the renderer, on
nothing else: not on the batch it is in, its place there, or how many are drawn at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

from cloakbench.bench.core.code_digests import code_digest
from cloakbench.bench.core.random_streams import generator
from cloakbench.datasets.synthetic import identity, nuisance, palette
from cloakbench.datasets.synthetic.photograph import NOISE_SHAPES
from cloakbench.datasets.synthetic.render import render

Item = TypeVar("Item")

RENDER_BATCH = 16  # fastest: larger batches fall out of the cache

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "gender": ("feminine", "masculine"),
    "age": identity.AGE_BUCKETS,
    "complexion": tuple(f"group {group + 1}" for group in range(identity.COMPLEXIONS)),
    "hair_color": palette.HAIR_NAMES,
    "glasses": ("none", "glasses"),
    "expression": nuisance.EXPRESSIONS,
}
"""The labelled attributes and the names of their classes. Bald people keep the hair colour of brows and sides."""


_SPECIMENS = 32  # people and photos; every class of every attribute is among them
_OFFSET = 0.447
"""Puts the specimens' statistics as far from a rounding boundary as it gets: 0.016 grey levels, which is what 200
pixels of one photo off by one level come to. Another processor may round the last bit of ``hypot`` or ``exp``
otherwise and move single pixels; code that draws anything otherwise moves a mean or a spread by far more."""


@cache
def renderer_version() -> str:
    """Names how names become pixels; pixels of different versions must not be mixed.

    A digest of what is drawn, not of the code: mean and spread of every channel of a few photos in whole grey levels.
    Rearranging the renderer keeps its name, and so do machines that agree on all but last bits.
    """
    numbers = range(_SPECIMENS)
    batch = FaceBatch(
        tuple(f"renderer version/{number:02d}" for number in numbers),
        tuple(f"renderer version/{number} person" for number in numbers),
        identity_scale=1.3,
        nuisance_scale=1.0,
    )
    levels = (specimen_statistics(batch) + _OFFSET).floor().int().tolist()
    return f"2-{hashlib.sha256(str(levels).encode()).hexdigest()[:16]}"


def specimen_statistics(batch: FaceBatch) -> Tensor:
    """Mean and standard deviation of each channel of each photo in grey levels, float64 ``[6 N]``."""
    pixels = batch.render().images.double()
    return torch.cat([pixels.mean((2, 3)), pixels.std((2, 3))], dim=1).flatten()


@dataclass(frozen=True)
class Sheet:
    """Finished photos: uint8 ``images [N, 3, 112, 112]``, float32 ``landmarks [N, 5, 2]`` in pixels and int64
    ``attributes [N, 6]``, one column per entry of ``ATTRIBUTES``."""

    images: Tensor
    landmarks: Tensor
    attributes: Tensor


@dataclass(frozen=True)
class FaceBatch:
    """The names of photos and of the person on each, and how strongly people and photos vary."""

    photos: tuple[str, ...]
    people: tuple[str, ...]
    identity_scale: float
    nuisance_scale: float

    def __len__(self) -> int:
        return len(self.photos)

    def part(self, start: int, stop: int) -> FaceBatch:
        """The photos ``start`` to ``stop``."""
        return replace(self, photos=self.photos[start:stop], people=self.people[start:stop])

    def digest(self) -> str:
        """Names the batch's pixels: the renderer's code, scales and names."""
        # Kept pixels follow the code itself: a version tells what specimens show, and a rare feature may not be there.
        code = code_digest("cloakbench.datasets.synthetic.face_batch")
        text = "\n".join([code, f"{self.identity_scale!r} {self.nuisance_scale!r}", *self.photos, "by"])
        return hashlib.sha256("\n".join([text, *self.people]).encode()).hexdigest()[:20]

    def render(self) -> Sheet:
        """Draws all photos, in full batches: a shorter last batch is filled up and cut off again.

        A row of a full batch always goes through the same vector instructions; the odd rows of a shorter one would
        not, and ``hypot`` and ``exp`` may then differ in the last bit.
        """
        names = list(dict.fromkeys(self.people))
        place = {name: row for row, name in enumerate(names)}
        people = identity.sample_identities(_filled(names), scale=self.identity_scale)
        rows = torch.tensor(_filled([place[name] for name in self.people]))
        images, landmarks, attributes = [], [], []
        with _one_thread():
            for start in range(0, len(self), RENDER_BATCH):
                photos = _filled(self.photos[start : start + RENDER_BATCH])
                faces = people.select(rows[start : start + RENDER_BATCH])
                shots = nuisance.sample_nuisances(photos, faces, scale=self.nuisance_scale)
                drawn = render(faces, shots, *_sensor_noise(photos))
                images.append(drawn.images)
                landmarks.append(drawn.landmarks)
                labels = [faces.column(name) for name in identity.LABELS]
                labels += [shots.column(name) for name in nuisance.LABELS]
                attributes.append(torch.stack(labels, 1))
        return Sheet(*(torch.cat(part)[: len(self)] for part in (images, landmarks, attributes)))


def _filled(items: Sequence[Item]) -> list[Item]:
    """``items`` with the last one repeated up to a multiple of the batch size."""
    return [*items, *[items[-1]] * (-len(items) % RENDER_BATCH)]


def _sensor_noise(photos: Sequence[str]) -> tuple[Tensor, Tensor]:
    luma, colour = (torch.empty(len(photos), *shape) for shape in NOISE_SHAPES)
    for row, photo in enumerate(photos):
        stream = generator("synthetic sensor", photo)
        luma[row].normal_(generator=stream)
        colour[row].normal_(generator=stream)
    return luma, colour


@contextmanager
def _one_thread() -> Iterator[None]:
    """Threads split sums differently, which can move a pixel by one grey level; they are not faster here either."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
