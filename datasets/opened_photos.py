"""The photos of a data set that have been opened, and what became of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from cloakbench.bench.core.status import OK
from cloakbench.datasets.base import FaceSet, ManifestEntry, Role
from cloakbench.datasets.crop_buffer import Spool
from cloakbench.datasets.crop_reader import CropReader
from cloakbench.datasets.photo_index import Catalogue

_PROGRESS_SECONDS = 10.0

log = logging.getLogger(__name__)


class _Opened(NamedTuple):
    status: str
    note: str
    file_sha256: str
    image_sha256: str
    number: int
    """Place in the spool; -1 for photos that cannot be used."""
    landmarks: Tensor | None


class OpenedPhotos:
    """Opens photos when asked; of photos with the same pixels, the one that is opened first is kept.

    Args:
        catalogue: every photo there is.
        reader: makes crops.
        spool: keeps them.
    """

    def __init__(self, catalogue: Catalogue, reader: CropReader, spool: Spool) -> None:
        self._catalogue = catalogue
        self._reader = reader
        self._spool = spool
        self._opened: dict[int, _Opened] = {}
        self._first_copy: dict[str, int] = {}
        self._reported = time.monotonic()

    def __len__(self) -> int:
        return len(self._opened)

    def expect(self, rows: Iterable[int]) -> None:
        """Rows that will be asked for, in this order."""
        self._reader.expect(row for row in rows if row not in self._opened)

    def usable(self, row: int) -> bool:
        """Whether the photo shows a face that no photo opened before shows in the same pixels."""
        if row not in self._opened:
            self._opened[row] = self._open(row)
            if time.monotonic() - self._reported > _PROGRESS_SECONDS:
                self._reported = time.monotonic()
                log.info("%d photos read", len(self._opened))
        return self._opened[row].status == OK

    def faces(self, rows: list[int]) -> FaceSet:
        """The faces of usable photos, mapped from disk."""
        some = [self._opened[row] for row in rows]
        landmarks = [one.landmarks for one in some if one.landmarks is not None]
        return FaceSet(
            self._spool.gather([one.number for one in some]),
            tuple(self._catalogue.image_id[row] for row in rows),
            tuple(self._catalogue.identity[row] for row in rows),
            torch.stack(landmarks) if landmarks else None,
            self._catalogue.attributes(rows),
        )

    def entries(self, role: Role, rows: Iterable[int]) -> list[ManifestEntry]:
        """Manifest lines of photos that play ``role``; the digest is that of the crop."""
        ids, names = self._catalogue.image_id, self._catalogue.identity
        some = [(row, self._opened[row]) for row in rows]
        return [ManifestEntry(ids[row], names[row], role, one.image_sha256, OK, one.note) for row, one in some]

    def without_role(self, assigned: Iterable[int]) -> list[ManifestEntry]:
        """Manifest lines of the other opened photos; the digest is that of the photo, if it could be read."""
        ids, names = self._catalogue.image_id, self._catalogue.identity
        lines: list[ManifestEntry] = []
        for row in sorted(self._opened.keys() - set(assigned)):
            one = self._opened[row]
            unused = one.status == OK
            status, note = ("unused", "the split does not need it") if unused else (one.status, one.note)
            lines.append(ManifestEntry(ids[row], names[row], "", one.file_sha256, status, note))
        return lines

    def _open(self, row: int) -> _Opened:
        crop = self._reader.crop(row)
        status, note = crop.status, crop.note
        first = self._first_copy.setdefault(crop.pixels_sha256, row) if status == OK else row
        if first != row:
            status, note = "duplicate", f"same pixels as {self._catalogue.image_id[first]}"
            if self._catalogue.identity[first] != self._catalogue.identity[row]:
                note += ", another person: one of the two labels is wrong"
        number = self._spool.append(crop.image) if status == OK and crop.image is not None else -1
        return _Opened(status, note, crop.file_sha256, crop.image_sha256, number, crop.landmarks)
