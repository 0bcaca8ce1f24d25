"""Photos protected elsewhere: the door for every system whose code or weights cannot be had here."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cloakbench.datasets.ranges import SettingError
from cloakbench.methods.base import People, Protector, Scope, Workbench

log = logging.getLogger(__name__)

SUFFIXES = (".png", ".bmp", ".webp", ".jpg", ".jpeg")
"""Tried in this order, lossless formats first."""


class Precomputed(Protector):
    """Reads each protected photo from a folder; no paper, no budget.

    A photo named ``p1/a.jpg`` is looked for as ``folder/p1/a.jpg`` and then as ``folder/p1/a.jpg.png`` and so on
    through `SUFFIXES`. A file that is missing, unreadable or of another size gives that photo the status
    ``method_failed`` (rows of NaN say so to the caller) and the reason in the log; the other photos go on.

    Args:
        folder: where the photos are.

    Raises:
        SettingError: there is no such folder, or no file in it.
    """

    name: ClassVar[str] = "precomputed"
    scope: ClassVar[Scope] = "image"
    paper: ClassVar[str] = "none: photos protected by another system"

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir() or not any(path.is_file() for path in self.folder.rglob("*")):
            lack = "it holds no file" if self.folder.is_dir() else "there is no such folder"
            raise SettingError("folder", folder, f"the folder of the protected photos ({lack})")

    def files_read(self, image_id: Sequence[str]) -> Mapping[str, str]:
        digests = {}
        for name in image_id:
            try:
                digests[name] = hashlib.sha256(self._find(name).read_bytes()).hexdigest()
            except OSError:
                digests[name] = ""
        return digests

    def perturb(self, people: People, fitted: Any, bench: Workbench) -> Tensor:
        photos = torch.full_like(people.images, float("nan"))
        for row, image_id in zip(photos, people.image_id, strict=True):
            try:
                row.copy_(_read(self._find(image_id), row.shape))
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as problem:
                log.warning("precomputed: %s: %s", image_id, problem)
        return photos

    def _find(self, image_id: str) -> Path:
        root = self.folder.resolve()
        for path in (root / image_id, *(root / f"{image_id}{suffix}" for suffix in SUFFIXES)):
            # An image id such as ../x must not lead out of the folder.
            if path.is_file() and path.resolve().is_relative_to(root):
                return path
        raise FileNotFoundError(f"no file of that name in {self.folder}")


def _read(path: Path, shape: torch.Size) -> Tensor:
    """RGB in [0, 1] of the wanted shape ``[3, H, W]``."""
    with Image.open(path) as image:
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    if pixels.shape != shape:
        raise ValueError(f"{path.name} is {tuple(pixels.shape[1:])}, the photo is {tuple(shape[1:])}")
    return pixels.float() / 255
