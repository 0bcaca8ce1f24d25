"""Discovery of photos: which files are some, the names of their protected copies, and whether both folders can be used.

What a photo is, the data set's reader says (`cloakbench.datasets.photos.is_photo`): the content decides where the name
does not. Links to folders are followed, each real folder once, and so is each real file: what lies in the folder itself
comes first, then what few links lead to, then what lies less deep. A photo that two names lead to is protected under
the first.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.files.regular_file import leads_to_file, leads_to_folder
from cloakbench.datasets.encoding import Format, copy_name
from cloakbench.datasets.photos import is_litter, is_photo, kind_of_photo, named_like_a_photo, portable_name

_RAW = {".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"}
_OF_CAMERAS = {".heic", ".heif", ".jxl", *_RAW}
"""Photos that Pillow may not read: reported as unprotected and never passed over in silence."""

NOTES = ".cloakbench"
"""Folder in the output folder where this command keeps what it needs to go on."""

REPORTS = ("report.csv", "report.md", "report.png")
"""Files of the report in the output folder, whose names no copy may have."""


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

    @property
    def is_raw(self) -> bool:
        """Whether it is a camera's raw file, of which Pillow would see the small preview only."""
        return self.path.suffix.lower() in _RAW


@dataclass(frozen=True)
class Left:
    """A file or folder that was left alone, and why; ``may_hold_photos`` if somebody could miss photos in it."""

    name: str
    why: str
    may_hold_photos: bool = False


@dataclass(frozen=True)
class PhotoFolder:
    """What lies in an input folder.

    Attributes:
        photos: by name.
        left: what was left alone, by name.
        litter: how many hidden and system files and folders were passed over.
    """

    photos: tuple[Photo, ...]
    left: tuple[Left, ...] = ()
    litter: int = 0


class _Entry(NamedTuple):
    """A file on the way; the order in which names of one file are preferred."""

    links: int
    depth: int
    name: str
    path: Path
    claims: bool
    """Whether it is a photo, or may be a lost one."""


def collect(source: Path, wanted: Format = "same", output: Path | None = None) -> PhotoFolder:
    """The photos in a folder and the folders below it, and what else there is.

    A damaged photo, and a link that leads nowhere, is a photo, so that it is reported. A single file is a photo
    whatever its name.

    Args:
        source: a folder, or a photo.
        wanted: type of the copies, which decides their names.
        output: a folder that is not entered.

    Raises:
        ConfigError: there is no such file or folder, it cannot be listed, or it holds no photo.
    """
    if source.is_file():
        return PhotoFolder((_photo(Path(source.name), source, wanted),))
    if not source.is_dir():
        fault = f"{source} is no file or folder" if source.exists() else f"there is no file or folder {source}"
        raise ConfigError(f"{fault}: name your photos with input=FOLDER")
    walk = _Walk(source, output)
    entries = sorted(walk.entries())
    photos, left, known = [], walk.left, {}
    for entry in entries:
        name = portable_name(entry.name)
        if not entry.claims:
            left.append(Left(name, "not a photo"))
            continue
        real = os.path.realpath(entry.path) if entry.links or entry.path.is_symlink() else str(walk.real(entry.path))
        if known.setdefault(real, name) is not name:
            left.append(Left(name, f"the same file as {known[real]}"))
            continue
        photos.append(_photo(Path(entry.name), entry.path, wanted))
    if not photos and not any(item.may_hold_photos for item in left):
        raise ConfigError(f"{source} holds no photo: name the folder of your photos with input=FOLDER")
    return PhotoFolder(
        tuple(sorted(photos, key=lambda photo: (photo.name, photo.path))),
        tuple(sorted(left, key=lambda item: item.name)),
        walk.litter,
    )


def clashing(photos: Sequence[Photo]) -> dict[str, str]:
    """Name of each photo whose copy would have another copy's name, and what to do; case does not tell names apart."""
    readable = [photo for photo in photos if photo.path.suffix.lower() not in _OF_CAMERAS]
    wanted = Counter(photo.output.casefold() for photo in readable)
    folders = {portable_name(part.as_posix()).casefold() for photo in readable for part in photo.target.parents}
    clashes = {}
    for photo in readable:
        name = photo.output.casefold()
        if wanted[name] > 1:
            clashes[photo.name] = f"another photo would become {photo.output}, too: rename one of them"
        elif name in folders:
            clashes[photo.name] = f"{photo.output} is a folder of other copies: rename one of the two"
        elif name in REPORTS:
            clashes[photo.name] = f"{photo.output} is a file of the report: rename the photo"
    return clashes


def check_folders(source: Path, output: Path) -> None:
    """Originals and copies must not lie among each other.

    Raises:
        ConfigError: they would.
    """
    inside, outside = source.resolve(), output.resolve()
    if outside.exists() and not outside.is_dir():
        raise ConfigError(f"output {output} is a file: name a folder with output=FOLDER")
    if source.is_file():
        if outside in (inside.parent, source.absolute().parent.resolve()):
            raise ConfigError(f"output {output} is the photo's own folder: name another one with output=FOLDER")
    elif inside == outside or inside in outside.parents or outside in inside.parents:
        raise ConfigError(
            f"output {output} and input {source} lie in one another: name a folder beside the photos with output=FOLDER"
        )


class _Walk:
    """One walk through a folder and what its links lead to."""

    def __init__(self, source: Path, output: Path | None) -> None:
        self.source = source
        self.left: list[Left] = []
        self.litter = 0
        self._real_source = Path(os.path.realpath(source))
        self._seen = {self._identity(source): "the input folder"}
        self._output = self._identity(output) if output is not None and output.exists() else None

    def real(self, path: Path) -> Path:
        """Where a file lies that no link below the source leads to."""
        return self._real_source / path.relative_to(self.source)

    def entries(self) -> Iterator[_Entry]:
        """Every file; folders behind links after all others."""
        links: list[tuple[int, int, str, Path]] = []
        folders = deque([(self.source, 0)])
        while folders or links:
            if not folders:
                links.sort(reverse=True)
                passed, _, name, path = links.pop()
                if self._may_follow(name, path):
                    folders.append((path, passed))
                continue
            folder, passed = folders.popleft()
            for entry in self._listed(folder):
                path = Path(entry.path)
                inner = path.relative_to(self.source)
                name, depth, linked = inner.as_posix(), len(inner.parts), entry.is_symlink()
                if is_litter(entry.name):
                    self.litter += 1
                elif not leads_to_folder(entry):
                    claims = self._claims(entry, linked=linked)
                    yield _Entry(passed + linked, depth, name, path, claims)
                elif linked:
                    links.append((passed + 1, depth, name, path))
                elif self._new(name, path):
                    folders.append((path, passed))

    def _listed(self, folder: Path) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise ConfigError(
                f"cannot list {folder} ({error.strerror}): make the folder readable or move it"
            ) from error

    @staticmethod
    def _claims(entry: os.DirEntry[str], *, linked: bool) -> bool:
        if linked and not os.path.exists(entry.path):  # noqa: PTH110 (answers for links in a circle, too)
            return True
        if leads_to_file(entry):
            return is_photo(entry) or Path(entry.name).suffix.lower() in _OF_CAMERAS
        return named_like_a_photo(entry.name)

    def _may_follow(self, name: str, path: Path) -> bool:
        if Path(os.path.realpath(path)) == Path(self._real_source.anchor):
            self.left.append(
                Left(portable_name(name), "a link to the whole file system, not followed: remove it", True)
            )
            return False
        return self._new(name, path)

    def _new(self, name: str, path: Path) -> bool:
        identity = self._identity(path)
        why = ""
        if identity == self._output or (path / NOTES).is_dir():
            why = "holds protected copies"
        elif identity in self._seen:
            why = f"the same folder as {self._seen[identity]}"
        if why:
            self.left.append(Left(portable_name(name), why))
            return False
        self._seen[identity] = portable_name(name)
        return True

    @staticmethod
    def _identity(folder: Path) -> tuple[int, int]:
        facts = folder.stat()
        return facts.st_dev, facts.st_ino


def _photo(inner: Path, path: Path, wanted: Format) -> Photo:
    kind = kind_of_photo(path) if path.is_file() else ""
    return Photo(portable_name(inner.as_posix()), path, copy_name(inner, kind, wanted))
