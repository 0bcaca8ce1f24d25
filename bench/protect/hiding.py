"""`hide` and `unhide`: full photos whose faces are hidden from eyes, pixel by pixel, and the way back with their keys.

The crops that a method sees, and the pixels that each is written back to, are those of
:class:`cloakbench.bench.protect.layers.Layers`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from cloakbench.bench.core.status import METHOD_FAILED, OK
from cloakbench.bench.protect.faces import Face
from cloakbench.bench.protect.inputs import MethodInputs, protect_faces
from cloakbench.bench.protect.layers import Layers
from cloakbench.bench.protect.settings import Settings
from cloakbench.datasets.alignment import warp
from cloakbench.datasets.photos import PhotoError
from cloakbench.methods.base import Protector
from cloakbench.methods.recovery import recovered_photos

_CROPS = 256
"""In one call of a method; bounds memory."""


@dataclass
class Learnt:
    """What a method that learns per person learnt in its first call, and what it made private then.

    Attributes:
        fitted: for all further calls.
        keys: of the owner.
    """

    fitted: Any = None
    keys: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """A photo as it is to be saved.

    Attributes:
        photo: uint8 ``[3, H, W]``.
        crops: its protected faces, uint8 ``[F, 3, 112, 112]``.
        keys: what gives the original back; empty where nothing does.
    """

    photo: Tensor
    crops: Tensor
    keys: Mapping[str, Tensor] = field(default_factory=dict, repr=False)


def hide(
    settings: Settings, given: MethodInputs, learnt: Learnt, name: str, original: Tensor, faces: Sequence[Face]
) -> Made:
    """Hide the faces of a photo.

    Args:
        settings, given: as for every method.
        learnt: of the owner, empty before the first call.
        name: of the photo.
        original: uint8 ``[3, H, W]``.
        faces: those to hide; the pixels of one after the other.

    Raises:
        PhotoError: the method gave no picture.
    """
    photo, keys = original, []
    of_person = settings.protector.scope != "image"
    for number, face in enumerate(faces, start=1):
        layers = Layers.under(face.matrix, *original.shape[1:])
        crops, made = layers.read(photo), []
        for first in range(0, len(crops), _CROPS):
            part = [replace(face, crop=crop) for crop in crops[first : first + _CROPS]]
            names = [f"{name}#{number}@{first + place}" for place in range(len(part))]
            done = protect_faces(settings, given, names, part, learnt.fitted, as_it_is=True)
            if any(status != OK for status in done.status):
                raise PhotoError(METHOD_FAILED, f"{settings.method} gave no picture for a face of it")
            made.append(done.images)
            keys.append(done.private)
            if of_person and learnt.fitted is None:
                learnt.fitted, learnt.keys = done.fitted, done.private
        photo = layers.write(photo, torch.cat(made))
    names = keys[0] if keys else {}
    whole = learnt.keys if of_person else {key: torch.cat([one[key] for one in keys]) for key in names}
    return Made(photo, torch.stack([warp(photo, face.matrix) for face in faces]), whole)


def unhide(
    protector: Protector, photo: Tensor, matrices: Tensor, side: int, keys: Mapping[str, Tensor], device: torch.device
) -> Tensor:
    """A photo as it was before `hide`, uint8 ``[3, H, W]``.

    Args:
        protector: the method, as it was set.
        photo: uint8 ``[3, H, W]``.
        matrices: of its faces, in the order in which they were hidden, ``[F, 2, 3]``.
        side: of a crop.
        keys: what `hide` gave.
        device: where to compute.

    Raises:
        NotImplementedError, ValueError: as `cloakbench.methods.recovery.recovered_photos` says.
    """
    layers = [Layers.under(matrix, *photo.shape[1:], size=side) for matrix in matrices]
    behind = sum(len(one.source) for one in layers)
    for one in reversed(layers):  # where two faces share pixels, the last that was hidden is laid bare first
        behind -= len(one.source)
        crops = one.read(photo)
        rows = torch.arange(len(crops)) + behind if protector.scope == "image" else torch.zeros(len(crops)).long()
        parts = [
            recovered_photos(protector, some.to(device), keys, people).cpu()
            for some, people in zip(crops.split(_CROPS), rows.split(_CROPS), strict=True)
        ]
        photo = one.write(photo, torch.cat(parts))
    return photo


def psnr_of_faces(original: Tensor, recovered: Tensor, matrices: Tensor, side: int) -> float | None:
    """PSNR in dB over the photo pixels of the crops; None for equal ones."""
    under = torch.cat([Layers.under(matrix, *original.shape[1:], size=side).pixel for matrix in matrices])
    left, right = (one.flatten(1)[:, under].double() for one in (original, recovered))
    mse = float((left - right).square().mean())
    return None if mse == 0 else round(float(10 * torch.tensor(255.0**2 / mse).log10()), 2)
