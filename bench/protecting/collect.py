"""Which files are photos, what their protected copies are called, and whether the two folders can be used."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from cloakbench.bench.plan import ConfigError
from cloakbench.datasets.photos import portable_name

_OF_CAMERAS = {".heic", ".heif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"}
"""Photos that Pillow may not read: reported as unprotected and never passed over in silence."""


@dataclass(frozen=True)
class Photo:
    """A file that is, or claims to be, a photo.

    Attributes:
        name: its path below the input folder as portable text: ``summer/a.jpg``. It seeds per-photo randomness.
        path: where it lies.
        target: where its protected copy goes, below the output folder.
    """

    name: str
    path: Path
    target: Path

    @property
    def output(self) -> str:
        """``target`` as portable text."""
        return portable_name(self.target.as_posix())


def collect(source: Path, suffix: str = ".png") -> tuple[list[Photo], int]:
    """The photos in a folder and the folders below it, by name, and how many other files there are.

    Names decide, so that a damaged photo is reported. Hidden files and folders are neither photos nor counted. A single
    file is a photo whatever its name.

    Raises:
        ConfigError: there is no such file or folder, it cannot be listed, or it holds no photo.
    """
    if source.is_file():
        return [Photo(portable_name(source.name), source, Path(source.name).with_suffix(suffix))], 0
    if not source.is_dir():
        raise ConfigError(f"there is no file or folder {source}: name your photos with input=FOLDER")
    photos, others = [], 0
    for folder, folders, files in os.walk(source, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if name.startswith("."):
                continue
            path = Path(folder, name)
            if _is_photo(path):
                inner = path.relative_to(source)
                photos.append(Photo(portable_name(inner.as_posix()), path, inner.with_suffix(suffix)))
            else:
                others += 1
    if not photos:
        raise ConfigError(f"{source} holds no photo: name the folder of your photos with input=FOLDER")
    return sorted(photos, key=lambda photo: (photo.name, photo.path)), others


def clashing(photos: Sequence[Photo]) -> dict[str, str]:
    """Name of each photo whose copy would have another copy's name, and what to do; case does not tell names apart."""
    readable = [photo for photo in photos if photo.path.suffix.lower() not in _OF_CAMERAS]
    wanted = Counter(photo.output.casefold() for photo in readable)
    return {
        photo.name: f"another photo would become {photo.output}, too: rename one of them"
        for photo in readable
        if wanted[photo.output.casefold()] > 1
    }


def check_folders(source: Path, output: Path) -> None:
    """Originals and copies must not lie among each other.

    Raises:
        ConfigError: they would.
    """
    inside, outside = source.resolve(), output.resolve()
    if outside.exists() and not outside.is_dir():
        raise ConfigError(f"output {output} is a file: name a folder with output=FOLDER")
    if source.is_file():
        if outside == inside.parent:
            raise ConfigError(f"output {output} is the photo's own folder: name another one with output=FOLDER")
    elif inside == outside or inside in outside.parents or outside in inside.parents:
        raise ConfigError(
            f"output {output} and input {source} lie in one another: name a folder beside the photos with output=FOLDER"
        )


def _is_photo(path: Path) -> bool:
    suffix = path.suffix.lower()
    kind = Image.registered_extensions().get(suffix, "")
    return suffix in _OF_CAMERAS or Image.MIME.get(kind, "").startswith("image/")


def _refuse(error: OSError) -> None:
    raise ConfigError(f"cannot list {error.filename} ({error.strerror}): make the folder readable or move it")
