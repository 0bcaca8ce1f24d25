"""`MappedFaces`: any number of people who look like nobody, read from disk as a data set of photos is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cloakbench.bench.core.random_streams import stream_seed
from cloakbench.datasets.base import Dataset, FaceSet, Role

_PER_PERSON = {"reference": 1, "probe": 2}
_DISTRACTORS = 100
_SIDE = 112
_PHOTOS_AT_ONCE = 256


class MappedFaces(Dataset):
    """People with a reference and two probes each, and 100 distractors; every photo is random and as large as a crop.

    Args:
        people: how many.
        folder: where the photos lie; they are drawn there when they are missing.
    """

    name = "mapped_faces"
    version = "1"

    def __init__(self, people: int, folder: str) -> None:
        self._people, self._folder = people, Path(folder)

    def roles(self) -> tuple[Role, ...]:
        return ("reference", "probe", "distractor")

    def faces(self, role: Role) -> FaceSet:
        each = _PER_PERSON.get(role, 1)
        count = each * self._people if role in _PER_PERSON else _DISTRACTORS
        path, shape = self._folder / f"{role}-{count}.bin", (count, 3, _SIDE, _SIDE)
        if not path.exists():
            self._draw(role, path, shape)
        images = torch.from_numpy(np.memmap(path, np.uint8, "c", shape=shape))
        owner = role if role == "distractor" else "person"
        return FaceSet(
            images,
            tuple(f"{role}{row}" for row in range(count)),
            tuple(f"{owner}{row // each}" for row in range(count)),
        )

    @staticmethod
    def _draw(role: str, path: Path, shape: tuple[int, ...]) -> None:
        stream = np.random.default_rng(stream_seed(0, "mapped faces", role))
        with path.open("wb") as file:
            for first in range(0, shape[0], _PHOTOS_AT_ONCE):
                part = (min(_PHOTOS_AT_ONCE, shape[0] - first), *shape[1:])
                file.write(stream.integers(256, size=part, dtype=np.uint8).tobytes())
