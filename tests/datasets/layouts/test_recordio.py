"""RecordIO: photos found byte for byte, labels of both kinds, and files that are cut off or do not belong together."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cloakbench.datasets.layouts.casia_webface_recordio import CasiaWebFaceRecordIo
from cloakbench.datasets.listing import Segment
from cloakbench.datasets.photos import DatasetError

from . import planted
from .planted import record, record_files


def test_places_hold_exactly_the_photos(tmp_path: Path) -> None:
    planted.casia_webface_recordio(tmp_path)
    listing = CasiaWebFaceRecordIo(tmp_path).listing()
    assert list(listing.identity) == [str(n // 5) for n in range(20)]
    assert listing.image_id[6] == "1/7"
    content = (tmp_path / "train.rec").read_bytes()
    for key, place in enumerate(listing.place, start=1):
        assert isinstance(place, Segment)
        image = content[place.offset : place.offset + place.length]
        assert image == planted.picture(key)
        Image.open(io.BytesIO(image)).verify()


def test_plain_packing_without_a_record_of_ranges(tmp_path: Path) -> None:
    record_files(tmp_path, [record(0, [label], planted.picture(label), label) for label in (3, 3, 8)])
    listing = CasiaWebFaceRecordIo(tmp_path).listing()
    assert list(listing.image_id) == ["3/0", "3/1", "8/2"]


def test_record_in_parts_is_rejected_and_the_rest_is_listed(tmp_path: Path) -> None:
    record_files(tmp_path, [record(0, [1], b"photo"), record(0, [2], b"photo", part=1), record(0, [1], b"photo")])
    listing = CasiaWebFaceRecordIo(tmp_path).listing()
    assert list(listing.image_id) == ["1/0", "1/2"]
    assert [(entry.image_id, entry.status) for entry in listing.rejected] == [("record 1", "split_record")]


def cut(path: Path, count: int) -> None:
    path.write_bytes(path.read_bytes()[:-count])


def shifted_index(root: Path) -> None:
    lines = (root / "train.idx").read_text().splitlines()
    planted.write(root / "train.idx", *(f"{line.split()[0]}\t{int(line.split()[1]) + 4}" for line in lines))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: cut(root / "train.rec", 4), "train.rec, record 24: the file ends inside the record"),
        (lambda root: cut(root / "train.rec", 5000), "train.rec, record 1.: there is none where the index says"),
        (lambda root: (root / "train.rec").write_bytes(b""), "train.rec, record 0: there is none where"),
        (shifted_index, "train.rec, record 0: there is none where the index says"),
        (lambda root: cut(root / "train.idx", 9), "train.idx lists 24 records, train.rec announces 25"),
        (lambda root: (root / "train.idx").write_text("0\t0\n1 x\n"), "train.idx, line 2: .*'x'"),
        (lambda root: (root / "train.idx").write_text("0\t0\n0\t0\n"), "key 0 occurs twice"),
        (lambda root: (root / "train.idx").unlink(), "train.idx does not exist; get it from https://github.com"),
        (lambda root: (root / "train.rec").unlink(), "train.rec does not exist; get it from https://github.com"),
        (lambda root: record_files(root, [record(0, [1.5], b"photo")]), "record 0: its label is not a whole number"),
        (lambda root: record_files(root, [record(0, [np.nan], b"photo")]), "record 0: its label is not a whole number"),
    ],
)
def test_damage_is_one_line(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    planted.casia_webface_recordio(tmp_path)
    damage(tmp_path)
    with pytest.raises(DatasetError, match=message) as caught:
        CasiaWebFaceRecordIo(tmp_path).listing()
    assert "\n" not in str(caught.value)


def test_a_hundred_thousand_records_are_listed_in_seconds(tmp_path: Path) -> None:
    count = 100_000
    one = record(0, [7], b"x" * 40)
    head = record(2, [count + 1, count + 1])
    (tmp_path / "train.rec").write_bytes(head + one * count)
    offsets = [0, *range(len(head), len(head) + len(one) * count, len(one))]
    (tmp_path / "train.idx").write_text("".join(f"{key}\t{offset}\n" for key, offset in enumerate(offsets)))
    started = time.perf_counter()
    listing = CasiaWebFaceRecordIo(tmp_path).listing()
    seconds = time.perf_counter() - started
    assert len(listing) == count
    assert listing.place[-1] == Segment(str(tmp_path / "train.rec"), len(head) + len(one) * count - 40, 40)
    assert seconds < 12, "490 000 records must take less than a minute"
