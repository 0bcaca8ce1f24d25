"""Photos protected elsewhere: the door for every system whose code or weights cannot be had here."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from cloakbench.bench.core.files.regular_file import read_regular
from cloakbench.bench.core.ranges import SettingError
from cloakbench.datasets.photos import PhotoError, decode
from cloakbench.methods.base import Protector, Scope
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.parts.photo_failures import FAILED
from cloakbench.methods.photo_batch import PhotoBatch

log = logging.getLogger(__name__)

_NAMED = 10  # photos and files named in a line; the others are counted
_EXPORTED = "manifest.json"  # beside the folder `crops`, in what `cloakbench export` writes
_MAX_MEGAPIXELS = 100  # of a file that is opened; far above any photo that is protected here
_COARSE_SIDE = 56  # pixels of a side, about, at which photos are told from one another
_MUCH_CLOSER = 0.5


class Precomputed(Protector):
    """Reads each protected photo from a folder; no paper, no budget.

    A photo named ``p1/a.jpg`` is ``folder/p1/a.jpg``, or else the one file there that is called ``p1/a.jpg`` or
    ``p1/a`` with the suffix of some image type: ``p1/a.png``. Two such files are an error. The folder that ``cloakbench
    export`` wrote is taken as it is, once its crops were changed.

    Files are decoded as photos of a data set are (`cloakbench.datasets.photos`). One that is missing, unreadable, of
    another size or of another photo (it is much closer to that one than to its own) gives that photo the status
    ``method_failed`` (rows of NaN say so to the caller), and the reason in the log and in the facts of the call; the
    other photos go on.

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
        files, digests = _Files(self.folder), {}
        for name in image_id:
            try:
                digests[name] = hashlib.sha256(read_regular(files.find(name))).hexdigest()
            except (OSError, ValueError) as problem:
                # A second file that fits changes the answer, too.
                digests[name] = "" if isinstance(problem, OSError) else str(problem)
        return digests

    def review(self, wanted: Sequence[str], known: Collection[str]) -> list[str]:
        """What does not fit between the folder and an experiment, a line each: photos without a file, files without a
        photo.

        Args:
            wanted: the photos that are to be protected.
            known: all photos of the experiment; files of the others are no surprise.
        """
        files, lines = _Files(self.folder), []
        missing = [files.pattern(name) for name in wanted if not files.fitting(name)]
        if missing:
            lines.append(f"{len(missing)} of {len(wanted)} photos have no file in {self.folder}: {_some(missing)}")
        fitting = {path for name in known for path in files.fitting(name)}
        extra = [path.relative_to(files.root).as_posix() for path in files.all() if path not in fitting]
        if extra:
            lines.append(f"{len(extra)} files in {self.folder} belong to no photo of the experiment: {_some(extra)}")
        return lines

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        photos, files = torch.full_like(batch.images, float("nan")), _Files(self.folder)
        failed: dict[str, str] = {}
        found: dict[str, Path] = {}
        for image_id in batch.image_id:
            try:
                found[image_id] = files.find(image_id)
            except (OSError, ValueError) as problem:
                failed[image_id] = str(problem)
        shared = Counter(found.values())
        for row, image_id in zip(photos, batch.image_id, strict=True):
            path = found.get(image_id)
            if path is None:
                continue
            if shared[path] > 1 and not files.is_exact(path, image_id):
                failed[image_id] = f"{files.shown(path)} fits more than one photo: call it {image_id}.png"
                continue
            try:
                row.copy_(_read(path, row.shape))
            except (OSError, ValueError, PhotoError) as problem:
                failed[image_id] = f"{files.shown(path)}: {problem}"
        for place, other in _mistaken(batch.images, photos).items():
            image_id = batch.image_id[place]
            failed[image_id] = f"{files.shown(found[image_id])} shows {batch.image_id[other]}: check the names"
            photos[place] = float("nan")
        if failed:
            context.facts[FAILED] = failed
            reasons = [f"{image_id}: {reason}" for image_id, reason in failed.items()]
            log.warning("precomputed: %d of %d photos failed: %s", len(failed), len(photos), _some(reasons, "; "))
        return photos


class _Files:
    """The files of the folder, looked up by photo; each inner folder is listed once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        exported = (folder / _EXPORTED).is_file() and (folder / "crops").is_dir()
        self.root = (folder / "crops" if exported else folder).resolve()
        self._listed: dict[Path, list[str]] = {}

    def find(self, image_id: str) -> Path:
        """The file of a photo.

        Raises:
            FileNotFoundError: there is none.
            ValueError: there are several.
        """
        fitting = self.fitting(image_id)
        if not fitting:
            raise FileNotFoundError(f"no file {self.pattern(image_id)} in {self.folder}")
        if len(fitting) > 1:
            names = " and ".join(self.shown(path) for path in fitting)
            raise ValueError(f"{names} in {self.folder} both fit: keep one")
        return fitting[0]

    def fitting(self, image_id: str) -> list[Path]:
        """The file of exactly that name, or else every file that differs in the image suffix."""
        name = PurePosixPath(image_id).name
        place = self.root / image_id
        if self._is_inside(place):
            return [place]
        stem = _stem(name)
        return [
            path
            for other in self._names(place.parent)
            if Path(other).suffix.lower() in _suffixes() and Path(other).stem in (name, stem)
            if self._is_inside(path := place.parent / other)
        ]

    def is_exact(self, path: Path, image_id: str) -> bool:
        """Whether a file has just the photo's name."""
        return path == self.root / image_id

    def pattern(self, image_id: str) -> str:
        """What was looked for, as a shell writes it: ``p1/a.*``."""
        return f"{PurePosixPath(image_id).with_name(_stem(PurePosixPath(image_id).name))}.*"

    def shown(self, path: Path) -> str:
        """A file's name within the folder."""
        return path.relative_to(self.root).as_posix()

    def all(self) -> Iterator[Path]:
        """Every file that is not hidden."""
        for folder, folders, names in os.walk(self.root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))

    def _names(self, folder: Path) -> list[str]:
        if folder not in self._listed:
            try:
                self._listed[folder] = sorted(path.name for path in folder.iterdir())
            except OSError:
                self._listed[folder] = []
        return self._listed[folder]

    def _is_inside(self, path: Path) -> bool:
        # An image id such as ../x must not lead out of the folder.
        return path.is_file() and path.resolve().is_relative_to(self.root)


def _stem(name: str) -> str:
    """A photo's name without the suffix of an image type."""
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in _suffixes() else name


def _suffixes() -> Collection[str]:
    return Image.registered_extensions().keys() | {".heic", ".heif", ".jxl"}


def _read(path: Path, shape: torch.Size) -> Tensor:
    """RGB in [0, 1] of the wanted shape ``[3, H, W]``."""
    pixels = decode(read_regular(path), _MAX_MEGAPIXELS)
    if pixels.shape != shape:
        height, width = pixels.shape[1:]
        raise ValueError(f"it is {width}x{height}, the photo is {shape[2]}x{shape[1]}: give it the photo's size")
    return pixels.float() / 255


def _mistaken(originals: Tensor, protected: Tensor) -> dict[int, int]:
    """Rows whose protected photo is much closer to another original than to its own, and which original that is."""
    read = protected.flatten(1).sum(dim=1).isfinite().nonzero().flatten()
    if not len(read):
        return {}
    block = max(1, originals.shape[-1] // _COARSE_SIDE)
    here, there = (F.avg_pool2d(images, block, ceil_mode=True).flatten(1) for images in (protected[read], originals))
    distance = torch.cdist(here, there, compute_mode="donot_use_mm_for_euclid_dist")
    nearest, other = distance.min(dim=1)
    own = distance[torch.arange(len(read)), read]
    return {int(read[k]): int(other[k]) for k in range(len(read)) if nearest[k] < _MUCH_CLOSER * own[k]}


def _some(items: Sequence[str], between: str = ", ") -> str:
    """The first ten, and how many more."""
    more = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return between.join(items[:_NAMED]) + more
