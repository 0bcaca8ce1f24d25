"""Photos packed in an MXNet RecordIO file, found through its index without MXNet.

A record is the magic number, a word with a part flag (3 bits) and a length (29 bits), then that many bytes, padded to a
multiple of four. An image record starts with a header of 24 bytes: ``flag`` (uint32), ``label`` (float32), ``id`` and
``id2`` (uint64); ``flag`` > 0 says that so many float32 labels follow, the first of which counts. The index file has
one line ``key<TAB>offset`` per record. All numbers are little-endian (dmlc-core ``recordio.h``, ``mxnet.recordio``).

The InsightFace packing adds a record 0 whose two labels are the first key behind the photos and the end of all keys;
the keys between them hold each person's range of photos and no image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cloakbench.bench.core.files.regular_file import NotRegularError, require_regular
from cloakbench.datasets.layouts.reading import absent, read_lines, read_numbers
from cloakbench.datasets.listing import Layout, Segment
from cloakbench.datasets.photos import DatasetError
from cloakbench.datasets.text_lists import quoted

MAGIC = 0xCED7230A
_LENGTH_BITS = 29
_HEADER_BYTES = 24
_NOT_THERE = "there is none where the index says; the file is cut off, or the two do not belong together"


@dataclass(frozen=True)
class Records:
    """The photos of a RecordIO file.

    Attributes:
        keys: int64 ``[N]``, ascending.
        labels: int64 ``[N]``, the class of each photo.
        places: where each encoded photo lies.
        split: bool ``[N]``: the record is in several parts, because its data contains the magic number; it has no
            single place and its label is not read.
    """

    keys: np.ndarray
    labels: np.ndarray
    places: Sequence[Segment]
    split: np.ndarray


def read_records(layout: Layout, record_file: Path, index_file: Path) -> Records:
    """Labels and places of all photos. Of each record its first 40 bytes are read.

    Raises:
        DatasetError: a file is missing, the index is malformed or belongs to another file, or the file is cut off.
    """
    keys, offsets = _read_index(layout, index_file)
    try:
        require_regular(record_file)
        size = record_file.stat().st_size
        words = np.memmap(record_file, dtype="<u4", mode="r", shape=(size // 4,)) if size >= 4 else np.empty(0, "<u4")
    except NotRegularError as error:
        raise DatasetError(f"{layout.name}: {record_file}: {error.strerror}: put the file itself there") from error
    except OSError as error:
        raise absent(layout, record_file) from error
    header = _Headers(record_file, words, size, keys, offsets)
    if keys[0] == 0 and header.flag[0] > 0:
        first, end = (int(header.word(0, place).view("<f4")) for place in (8, 9))
        if not 0 < first <= end or len(keys) != end or keys[-1] != end - 1:
            raise DatasetError(
                f"{index_file} lists {len(keys)} records, {record_file.name} announces {end}: fetch both again"
            )
        photo = (keys > 0) & (keys < first)
    else:
        photo = np.ones(len(keys), dtype=bool)
    return header.photos(photo)


class _Headers:
    """The headers of all records of one file, as columns."""

    def __init__(self, path: Path, words: np.ndarray, size: int, keys: np.ndarray, offsets: np.ndarray) -> None:
        self.path, self.words, self.keys, self.offsets = path, words, keys, offsets
        starts = offsets // 4
        broken = (offsets % 4 != 0) | (offsets < 0) | (offsets + 8 + _HEADER_BYTES > size)
        self._require(
            ~broken,
            _NOT_THERE,
        )
        self._require(words[starts] == MAGIC, _NOT_THERE)
        length = words[starts + 1].astype(np.int64)
        self.part = length >> _LENGTH_BITS
        self.length = length & ((1 << _LENGTH_BITS) - 1)
        self._require(offsets + 8 + self.length <= size, "the file ends inside the record: fetch it again")
        self.flag = np.where(self.part == 0, words[starts + 2].astype(np.int64), 0)
        self._require(
            (self.part > 0) | (self.length >= _HEADER_BYTES + 4 * self.flag), "the record is shorter than its header"
        )

    def word(self, row: int, place: int) -> np.ndarray:
        """Word ``place`` of the record at ``row``."""
        return self.words[self.offsets[row] // 4 + place]

    def photos(self, chosen: np.ndarray) -> Records:
        keys, offsets, flag = self.keys[chosen], self.offsets[chosen], self.flag[chosen]
        split = self.part[chosen] > 0
        label_word = offsets // 4 + np.where(flag > 0, 8, 3)
        values = self.words[np.where(split, 0, label_word)].view("<f4")
        labels = np.where(split, -1, values)
        sound = split | ((labels >= 0) & (labels == np.floor(labels)) & np.isfinite(labels))
        if not sound.all():
            raise DatasetError(f"{self.path}, record {keys[~sound][0]}: its label is not a whole number")
        start = offsets + 8 + _HEADER_BYTES + 4 * flag
        length = self.length[chosen] - _HEADER_BYTES - 4 * flag
        path = str(self.path)
        places = [Segment(path, a, b) for a, b in zip(start.tolist(), length.tolist(), strict=True)]
        return Records(keys, labels.astype(np.int64), places, split)

    def _require(self, sound: np.ndarray, reason: str) -> None:
        if not sound.all():
            raise DatasetError(f"{self.path}, record {self.keys[~sound][0]}: {reason}")


def _read_index(layout: Layout, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Keys, ascending, and offsets."""
    lines = read_lines(layout, path)
    for number, line in enumerate(lines, start=1):
        if len(line.split()) != 2:
            raise DatasetError(f"{path}, line {number}: {quoted(line)}; expected a key and an offset")
    table = read_numbers(path, lines, range(2), np.int64)
    table = table[np.argsort(table[:, 0], kind="stable")]
    if (np.diff(table[:, 0]) == 0).any():
        raise DatasetError(f"{path}: key {table[1:, 0][np.diff(table[:, 0]) == 0][0]} occurs twice")
    return table[:, 0], table[:, 1]
