"""What became of a photo: how much its face was changed, and what recognisers make of the saved copy.

The saved file is read back and its face found again, as by somebody who only has the copy.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cloakbench.bench.machine import MachineError, machine_trouble
from cloakbench.bench.protecting.faces import Face, FaceFinder
from cloakbench.bench.quality import ssim
from cloakbench.datasets.paste import crop_box
from cloakbench.datasets.photos import PhotoError
from cloakbench.models.base import Recogniser

_SSIM_WINDOW = 11
_BAND_ROWS = 512  # of the face region at a time: SSIM of a face of 4000 pixels would take gigabytes
_SAME_FACE = 0.1  # of the crop's side: how far the points of the same face may move, on average

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Change:
    """Original against saved copy, in the box of photo pixels that the crop covers.

    Attributes:
        max_255, mean_255: absolute change in grey levels, over pixels and channels.
        ssim: structural similarity; None for a region too small for its window.
    """

    max_255: int
    mean_255: float
    ssim: float | None


@dataclass(frozen=True)
class Similarity:
    """Cosine to the original face under one model; None where there is no answer.

    Attributes:
        crop: of the protected crop as the method made it.
        photo: of the face found again in the saved photo: what protection is left after the way through the file.
    """

    crop: float | None
    photo: float | None


@dataclass(frozen=True)
class Verdict:
    """One face of a saved copy."""

    change: Change
    similarity: Mapping[str, Similarity] = field(default_factory=dict)
    found_again: bool = True


def measure(
    original: Tensor,
    saved: Tensor,
    faces: Sequence[Face],
    protected: Tensor,
    finder: FaceFinder,
    given: Tensor | None,
    models: Mapping[str, Recogniser],
    device: torch.device,
) -> list[Verdict]:
    """One verdict per face.

    Args:
        original, saved: the photo and its copy as read back, uint8 ``[3, H, W]``.
        faces: the faces that were protected.
        protected: their protected crops, uint8 ``[F, 3, 112, 112]``.
        finder: finds faces in the copy as it did in the photo.
        given: the points that were given for this photo, if any; they are used again.
        models: who judges.
        device: where the models are.
    """
    try:
        again = finder.find(saved, given).faces
    except PhotoError:
        again = ()
    verdicts = []
    for face, crop in zip(faces, protected, strict=True):
        seen = _nearest(face, again)
        crops = [face.crop, crop] + ([seen.crop] if seen else [])
        similarity = {key: _similarity(model, key, torch.stack(crops), device) for key, model in models.items()}
        verdicts.append(Verdict(_change(original, saved, face), similarity, seen is not None))
    return verdicts


def _nearest(face: Face, others: Sequence[Face]) -> Face | None:
    def distance(other: Face) -> float:
        return float((other.points - face.points).norm(dim=1).mean())

    nearest = min(others, key=distance, default=None)
    return nearest if nearest is not None and distance(nearest) < _SAME_FACE * face.side_px else None


@torch.no_grad()
def _similarity(model: Recogniser, key: str, crops: Tensor, device: torch.device) -> Similarity:
    try:
        embeddings = model.embed(crops.to(device=device, dtype=torch.float32) / 255)
    except Exception as problem:  # a judge that raises is a gap; the copy is as good without it
        if trouble := machine_trouble(problem):
            raise MachineError(trouble) from problem
        log.warning("%s gave no answer: %s", key, problem)
        return Similarity(None, None)
    cosines = [float(value) for value in embeddings[1:] @ embeddings[0]]
    rounded = [round(value, 4) if math.isfinite(value) else None for value in cosines]
    return Similarity(rounded[0], rounded[1] if len(rounded) > 1 else None)


def _change(original: Tensor, saved: Tensor, face: Face) -> Change:
    left, top, right, bottom = crop_box(face.matrix, *original.shape[1:])
    before, after = original[:, top:bottom, left:right], saved[:, top:bottom, left:right]
    difference = (after.short() - before.short()).abs()
    return Change(int(difference.max()), round(float(difference.double().mean()), 4), _ssim(before, after))


def _ssim(before: Tensor, after: Tensor) -> float | None:
    """SSIM band by band; the mean over bands, weighted by their windows, is that of the whole region."""
    height, width = before.shape[1:]
    if min(height, width) < _SSIM_WINDOW:
        return None
    windows, total = height - _SSIM_WINDOW + 1, 0.0
    for first in range(0, windows, _BAND_ROWS):
        rows = min(_BAND_ROWS, windows - first)
        band = slice(first, first + rows + _SSIM_WINDOW - 1)
        total += rows * float(ssim(before[None, :, band].float() / 255, after[None, :, band].float() / 255))
    return round(total / windows, 4)
