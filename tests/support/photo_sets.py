"""Folders of drawn photos, and a detector that finds the same face in each of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.datasets.alignment import ARCFACE_TEMPLATE
from cloakbench.datasets.detection import Detection
from cloakbench.datasets.photo_set import PhotoSet

TEMPLATE = torch.tensor(ARCFACE_TEMPLATE)


class StubDetector:
    """Finds the template face at the top left of every photo that is not black; counts the photos it saw."""

    def __init__(self) -> None:
        self.seen = 0

    def fingerprint(self) -> str:
        return "stub"

    def detect(self, images: Sequence[Tensor]) -> list[Detection]:
        self.seen += len(images)
        faces = [int(image.any()) for image in images]
        box = torch.tensor([[20.0, 20.0, 90.0, 110.0]])
        return [Detection(box[:n], TEMPLATE[None][:n], torch.ones(n)) for n in faces]


def photo(path: Path, seed: object = None, size: tuple[int, int] = (120, 130)) -> Path:
    """A noise image, different for each path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=generator(seed or path.name, path.parent))
    Image.fromarray(values.numpy()).save(path)
    return path


def pixels(path: Path) -> Tensor:
    return torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)


def people(root: Path, **counts: int) -> Path:
    for identity, count in counts.items():
        for number in range(count):
            photo(root / identity / f"{number}.png", f"{identity} {number}")
    return root


def statuses(data: PhotoSet) -> dict[str, str]:
    return {entry.image_id: entry.status for entry in data.manifest().entries}
