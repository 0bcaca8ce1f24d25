"""Evaluation of a protected photo: how much its face was changed, and what recognisers make of the saved copy.

The saved file is read back and its face found again, as by somebody who only has the copy; then once more after the
copy went through a JPEG file of quality 75, and at half its size, as services store uploads.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.core.machine import MachineError, machine_trouble
from cloakbench.bench.engine.transforms import Jpeg
from cloakbench.bench.protect.faces import Face, FaceFinder
from cloakbench.bench.protocols.quality.metrics import ssim
from cloakbench.datasets.paste import crop_box
from cloakbench.datasets.photos import PhotoError
from cloakbench.models.base import Recogniser

VIEWS: Mapping[str, str] = {"photo": "", "jpeg75": "after JPEG 75", "half": "at half size"}
"""The copy as it is, and what may happen to it: key and words."""

_JPEG_QUALITY = 75
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


Similarity = Mapping[str, float | None]
"""Cosine to the original face under one model; None where there is no answer. ``crop``: of the protected crop as the
method made it. ``photo``: of the face found again in the saved photo, what protection is left after the way through the
file. The other `VIEWS` likewise."""


@dataclass(frozen=True)
class CopiedFace:
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
) -> list[CopiedFace]:
    """What was changed of each face, and how alike it still is.

    Args:
        original, saved: the photo and its copy as read back, uint8 ``[3, H, W]``.
        faces: the faces that were protected.
        protected: their protected crops, uint8 ``[F, 3, 112, 112]``.
        finder: finds faces in the copy as it did in the photo.
        given: the points that were given for this photo, if any; they are used again.
        models: who judges.
        device: where the models are.
    """
    again = {name: _faces_of(seen, finder, given, original) for name, seen in _views(saved)}
    copied = []
    for face, crop in zip(faces, protected, strict=True):
        seen = {name: _nearest(face, others) for name, others in again.items()}
        crops = {"crop": crop} | {name: found.crop for name, found in seen.items() if found is not None}
        similarity = {key: _similarity(model, key, face.crop, crops, device) for key, model in models.items()}
        copied.append(CopiedFace(_change(original, saved, face), similarity, seen["photo"] is not None))
    return copied


def _views(saved: Tensor) -> Iterator[tuple[str, Tensor]]:
    yield "photo", saved
    yield "jpeg75", Jpeg(_JPEG_QUALITY)(saved[None], ["copy"])[0]
    size = [max(1, side // 2) for side in saved.shape[1:]]
    yield "half", F.interpolate(saved[None], size=size, mode="bilinear", antialias=True)[0]


def _faces_of(seen: Tensor, finder: FaceFinder, given: Tensor | None, original: Tensor) -> list[Face]:
    """The faces of a view of the copy, their points in pixels of the whole photo."""
    scale = torch.tensor([seen.shape[2] / original.shape[2], seen.shape[1] / original.shape[1]], dtype=torch.float64)
    small = replace(finder, min_crop_px=max(1, int(finder.min_crop_px * float(scale.min()))))
    try:
        found = small.find(seen, None if given is None else (given + 0.5) * scale - 0.5).faces
    except PhotoError:
        return []
    return [replace(face, points=(face.points + 0.5) / scale - 0.5) for face in found]


def _nearest(face: Face, others: Sequence[Face]) -> Face | None:
    def distance(other: Face) -> float:
        return float((other.points - face.points).norm(dim=1).mean())

    nearest = min(others, key=distance, default=None)
    return nearest if nearest is not None and distance(nearest) < _SAME_FACE * face.side_px else None


@torch.no_grad()
def _similarity(
    model: Recogniser, key: str, original: Tensor, crops: Mapping[str, Tensor], device: torch.device
) -> Similarity:
    nothing: dict[str, float | None] = dict.fromkeys(("crop", *VIEWS))
    stack = torch.stack([original, *crops.values()])
    try:
        embeddings = model.embed(stack.to(device=device, dtype=torch.float32) / 255)
    except Exception as problem:  # a judge that raises is a gap; the copy is as good without it
        if trouble := machine_trouble(problem):
            raise MachineError(trouble) from problem
        log.warning("%s gave no answer: %s", key, problem)
        return nothing
    cosines = [float(value) for value in embeddings[1:] @ embeddings[0]]
    rounded = [round(value, 4) if math.isfinite(value) else None for value in cosines]
    return nothing | dict(zip(crops, rounded, strict=True))


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
