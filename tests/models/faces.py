"""Toy faces for training tests: each identity is a coarse colour pattern plus noise, so nets can tell them apart."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from cloakbench.bench.core.random_streams import generator
from cloakbench.datasets.base import Dataset, FaceSet, Role


def toy_faces(
    identities: int, images_per_identity: int, seed: int, progress: Callable[[int, int], None] | None = None
) -> FaceSet:
    """``identities * images_per_identity`` images of 112x112."""
    draws = generator(seed, "toy faces")
    patterns = F.interpolate(torch.rand(identities, 3, 4, 4, generator=draws), size=112)
    noise = torch.randn(identities * images_per_identity, 3, 14, 14, generator=draws) * 0.1
    images = patterns.repeat_interleave(images_per_identity, 0) + F.interpolate(noise, size=112)
    names = [f"toy-{seed}/{person:03d}" for person in range(identities)]
    if progress is not None:
        progress(len(images), len(images))
    return FaceSet(
        (images.clamp(0, 1) * 255).round().to(torch.uint8),
        tuple(f"{name}/{photo}" for name in names for photo in range(images_per_identity)),
        tuple(name for name in names for _ in range(images_per_identity)),
    )


class ToyWorld(Dataset):
    """Probes and distractors made of toy faces."""

    name = "toy"
    version = "1"

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def faces(self, role: Role) -> FaceSet:
        return toy_faces(12, 5, self.seed) if role == "probe" else toy_faces(20, 1, self.seed + 1)

    def roles(self) -> tuple[Role, ...]:
        return ("probe", "distractor")


def toy_labelled(
    identities: int, images_per_identity: int, seed: int, progress: Callable[[int, int], None] | None = None
) -> FaceSet:
    """Toy faces with two labels: ``band``, a bright band or none, and ``tint``, the strongest of three channels."""
    faces = toy_faces(identities, images_per_identity, seed, progress)
    person = torch.arange(len(faces)) // images_per_identity
    band, tint = person % 2, person % 3
    images = faces.images // 2
    images[band == 1, :, 40:72] += 70
    for channel in range(3):
        images[tint == channel, channel] += 54
    return FaceSet(images, faces.image_id, faces.identity, None, {"band": band, "tint": tint})
