"""One folder per person: ``root/<identity>/<photo>``, the layout of one's own photos and of many public sets.

Passed over and only counted: hidden files and folders and other litter (``__MACOSX``, ``Thumbs.db``), empty folders,
links that lead back to the root or above it, files beside the identity folders, folders inside them, and files that are
not images. What is no plain file (a named pipe, a socket, a device) is never opened. A file with the suffix of an image
is listed whatever it holds, so that a damaged photo is reported and not overlooked, and so are photos in formats that
cannot be read (HEIC, JPEG XL). Names become valid, NFC-normalised Unicode, equal on every file system. Two statuses are
given here:

* ``no_photos``: an identity folder that holds something, but no photo, or that is locked.
* ``duplicate``: two files have the same name after normalisation; the first by its stored name is kept.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from cloakbench.bench.core.files.regular_file import leads_to_folder
from cloakbench.datasets.base import ManifestEntry
from cloakbench.datasets.listing import Layout, Listing
from cloakbench.datasets.photos import DatasetError, is_litter, is_photo, portable_name


class IdentityFolders(Layout):
    """Photos in one folder per person, of any size, name and format that Pillow reads.

    Args:
        root: folder with one folder of photos per person.
        option: the data set's option that named the root, for error messages.
    """

    name: ClassVar[str] = "folder"
    page: ClassVar[str] = "your own photos"
    licence: ClassVar[str] = "yours"
    folder: ClassVar[str] = "<identity>/<photo>"
    disk_gib: ClassVar[float] = 0

    def __init__(self, root: Path, option: str = "root") -> None:
        super().__init__(root)
        self.option = option

    def listing(self) -> Listing:
        """Photos by identity, then by file name.

        Raises:
            DatasetError: the root is missing, cannot be listed, or has no identity folder.
        """
        folders, ignored = self._folders()
        photos: list[tuple[str, str, str]] = []
        rejected: list[ManifestEntry] = []
        for folder in folders:
            identity = portable_name(folder.name)
            found, passed_over, empty = _photos(folder)
            ignored += passed_over
            photos += [(identity, f"{identity}/{portable_name(name)}", path) for name, path in found]
            if empty:
                ignored += 1
            elif not found:
                note = "the folder holds no readable photo: add photos or remove it"
                rejected.append(ManifestEntry(f"{identity}/", identity, "", "", "no_photos", note))
        photos.sort()
        listed: dict[str, tuple[str, str, str]] = {}
        for photo in photos:
            if listed.setdefault(photo[1], photo) is not photo:
                note = "another file has the same name after Unicode normalisation: rename it"
                rejected.append(ManifestEntry(photo[1], photo[0], "", "", "duplicate", note))
        return Listing(
            image_id=tuple(listed),
            identity=tuple(identity for identity, _, _ in listed.values()),
            place=tuple(path for _, _, path in listed.values()),
            rejected=tuple(rejected),
            ignored=ignored,
        )

    def _folders(self) -> tuple[list[os.DirEntry[str]], int]:
        """The identity folders and how many other entries lie beside them."""
        try:
            with os.scandir(self.root) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise DatasetError(
                f"cannot list the photo folder {self.root} ({error.strerror}): set dataset.{self.option} to a folder "
                "that holds one folder of photos per person"
            ) from error
        folders = [entry for entry in found if self._may_be_a_person(entry)]
        if not folders:
            raise DatasetError(f"{self.root} has no identity folders: put each person's photos in {self.root}/<name>/")
        return folders, len(found) - len(folders)

    def _may_be_a_person(self, entry: os.DirEntry[str]) -> bool:
        if is_litter(entry.name) or not leads_to_folder(entry):
            return False
        return not (entry.is_symlink() and self.root.resolve().is_relative_to(Path(entry.path).resolve()))


def _photos(folder: os.DirEntry[str]) -> tuple[list[tuple[str, str]], int, bool]:
    """Name and path of each photo in a folder, how many other entries it has, and whether there is nothing but litter;
    a locked folder shows no photo and is not empty."""
    if not os.access(folder, os.R_OK | os.X_OK):
        return [], 0, False
    with os.scandir(folder) as entries:
        files = list(entries)
    found = [(entry.name, entry.path) for entry in files if is_photo(entry)]
    return found, len(files) - len(found), all(is_litter(entry.name) for entry in files)
