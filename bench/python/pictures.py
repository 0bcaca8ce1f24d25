"""Pictures as people have them (files, PIL, arrays, tensors) and as methods take them: uint8 RGB ``[N, 3, H, W]``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cloakbench.bench.core.errors import ConfigError
from cloakbench.datasets.photos import PhotoError, decode

_MAX_MEGAPIXELS = 100
_KINDS = "give paths, PIL images, a uint8 array [N, H, W, 3], or a tensor [N, 3, H, W], uint8 or float in 0 to 1"


def as_photos(images: Any, where: str) -> tuple[Tensor, list[str]]:
    """Pictures of any kind as uint8 ``[N, 3, H, W]``, and a name for each: of its file, or its number.

    Where two files are called alike, their paths are their names.

    Args:
        images: one path or PIL image, a sequence of them, a uint8 array ``[N, H, W, 3]``, or a tensor
            ``[N, 3, H, W]``, uint8 or float in [0, 1] and then rounded to 8 bits.
        where: what a message calls them.

    Raises:
        ConfigError: they are of no such kind, cannot be read, or differ in size; one line naming the first.
    """
    if isinstance(images, np.ndarray):
        photos = _from_array(images, where)
    elif isinstance(images, Tensor):
        photos = _from_tensor(images, where)
    else:
        return _from_many(images, where)
    if not len(photos):
        raise ConfigError(f"{where} is empty: {_KINDS}")
    return photos, [str(number) for number in range(len(photos))]


def as_pil(photo: Tensor) -> Image.Image:
    """A uint8 photo ``[3, H, W]`` as a PIL image."""
    return Image.fromarray(photo.permute(1, 2, 0).contiguous().numpy())


def _from_array(images: np.ndarray, where: str) -> Tensor:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ConfigError(f"{where} is an array {images.dtype} {images.shape}: {_KINDS}")
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).contiguous()


def _from_tensor(images: Tensor, where: str) -> Tensor:
    if images.ndim != 4 or images.shape[1] != 3 or not (images.dtype == torch.uint8 or images.is_floating_point()):
        raise ConfigError(f"{where} is a tensor {images.dtype} {tuple(images.shape)}: {_KINDS}")
    images = images.detach().cpu()
    if images.dtype == torch.uint8:
        return images.contiguous()
    if images.numel() and not (images.min() >= 0 and images.max() <= 1):  # NaN is refused, too
        raise ConfigError(f"{where} has values outside 0 to 1: divide 8-bit values by 255, or give them as uint8")
    return (images.float() * 255).round().to(torch.uint8)


def _from_many(images: Any, where: str) -> tuple[Tensor, list[str]]:
    one = isinstance(images, str | os.PathLike | Image.Image)
    several: Sequence[Any] = [images] if one else images
    if not isinstance(several, list | tuple):
        raise ConfigError(f"{where} is a {type(images).__name__}: {_KINDS}")
    if not several:
        raise ConfigError(f"{where} is empty: {_KINDS}")
    photos = [_one(image, f"{where}[{number}]") for number, image in enumerate(several)]
    for number, photo in enumerate(photos):
        if photo.shape != photos[0].shape:
            sizes = [f"{shape[2]}x{shape[1]}" for shape in (photo.shape, photos[0].shape)]
            raise ConfigError(
                f"{where}[{number}] is {sizes[0]} and the first is {sizes[1]}: crop the faces to one size, or use "
                "cloakbench protect on the command line, which finds them in photos"
            )
    paths = [os.fspath(one) if isinstance(one, str | os.PathLike) else str(n) for n, one in enumerate(several)]
    names = [Path(path).name for path in paths]
    return torch.stack(photos), names if len(set(names)) == len(names) else paths


def _one(image: Any, where: str) -> Tensor:
    if isinstance(image, Image.Image):
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()
    if not isinstance(image, str | os.PathLike):
        raise ConfigError(f"{where} is a {type(image).__name__}: {_KINDS}")
    try:
        return decode(Path(image).read_bytes(), _MAX_MEGAPIXELS)
    except PhotoError as problem:
        raise ConfigError(f"{where}, {os.fspath(image)}: {problem}") from problem
    except OSError as problem:
        raise ConfigError(f"{where}, {os.fspath(image)}: {problem.strerror or problem}") from problem
