"""VGGFace2: 3.31 million photos of 9 131 people, 8 631 of them for training and 500 for testing.

Cao, Shen, Xie, Parkhi, Zisserman, "VGGFace2: A dataset for recognising faces across pose and age", FG 2018;
https://github.com/ox-vgg/vgg_face2. The publisher took the photos offline in December 2020 (issue 50 there) and has no
current page for them: use a copy you hold. Lists and annotations were under CC BY-SA 4.0; that says nothing about the
photos, which belong to their owners.
"""

from __future__ import annotations

import csv
import os.path
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cloakbench.datasets.layouts.people import list_people
from cloakbench.datasets.layouts.reading import read_lines
from cloakbench.datasets.listing import UNKNOWN, Layout, Listing
from cloakbench.datasets.photos import DatasetError
from cloakbench.datasets.text_lists import quoted

_META = "identity_meta.csv"
_CODES = {"m": 0, "f": 1}


class VggFace2(Layout):
    """Loosely cropped photos of people named ``n000001`` and so on.

    With ``identity_meta.csv`` in the root there is the attribute ``gender``, 0 male and 1 female, unknown for people
    that file does not have.

    Args:
        root: folder with ``train`` and ``test``.
        split: ``test`` lists the 500 people that recognisers trained on this data set have not seen.
    """

    name = "vggface2"
    page = "https://github.com/ox-vgg/vgg_face2"
    licence = "photos: none, owners' rights; lists: CC BY-SA 4.0; withdrawn by the publisher in 2020"
    folder = "test/n000001/0001_01.jpg, train/n000002/0001_01.jpg and, optionally, identity_meta.csv"
    disk_gib = 71.0  # the archives, about 36 GB train and 2 GB test, and what they unpack to

    def __init__(self, root: Path, split: Literal["train", "test"] = "test") -> None:
        super().__init__(root)
        if split not in ("train", "test"):
            raise DatasetError(f"dataset.layout.split is {split!r}: it must be train or test")
        self.split = split

    def listing(self) -> Listing:
        people = list_people(self, self.root / self.split)
        meta = self.root / _META
        if not os.path.lexists(meta):
            return people
        gender = self._genders(meta)
        codes = np.array([gender.get(person, UNKNOWN) for person in people.identity], dtype=np.int16)
        return Listing(
            people.image_id,
            people.identity,
            people.place,
            attributes={"gender": codes},
            rejected=people.rejected,
            ignored=people.ignored,
        )

    def _genders(self, path: Path) -> dict[str, int]:
        """Rows ``Class_ID, Name, Sample_Num, Flag, Gender``; the published file has spaces behind its commas."""
        rows = csv.reader(read_lines(self, path), skipinitialspace=True)
        try:
            return self._read_genders(path, rows)
        except csv.Error as error:
            raise DatasetError(f"{path}, line {rows.line_num}: not CSV ({error}): fetch it again") from error

    def _read_genders(self, path: Path, rows: Any) -> dict[str, int]:
        header = [title.strip() for title in next(rows, ())]
        if "Class_ID" not in header or "Gender" not in header:
            raise DatasetError(f"{path}, line 1: there is no column Class_ID or Gender")
        person, gender = header.index("Class_ID"), header.index("Gender")
        found = {}
        for row in rows:
            code = row[gender].strip() if len(row) > max(person, gender) else ""
            if code not in _CODES:
                raise DatasetError(f"{path}, line {rows.line_num}: Gender is {quoted(code)}, it must be m or f")
            found[row[person].strip()] = _CODES[code]
        return found
