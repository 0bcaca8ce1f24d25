"""CelebA: 202 599 photos of 10 177 people with 40 attributes and five landmarks.

Liu, Luo, Wang, Tang, "Deep Learning Face Attributes in the Wild", ICCV 2015;
https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html. The files are on file-sharing services, behind pages and not behind
addresses. Label files start with the number of rows and the names of the columns, but for ``identity_CelebA.txt`` and
``list_eval_partition.txt``, which are rows only.

Landmarks are those of the aligned photos in whole pixels: left eye, right eye, nose, left and right mouth corner, as
seen in the photo. Whether pixels are counted from 0 or from 1 is not published; the numbers are taken as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import numpy as np

from cloakbench.datasets.layouts.impersonation import Impersonation
from cloakbench.datasets.layouts.reading import LabelTable, absent, files_in, read_table, rejection
from cloakbench.datasets.listing import UNKNOWN, Layout, Listing
from cloakbench.datasets.photos import DatasetError

ATTRIBUTES = 40
Partition = Literal["train", "val", "test"]
_PARTITIONS = get_args(Partition)


class CelebA(Layout):
    """Aligned and cropped photos, 178x218; attributes 0 or 1 under their published names.

    A listed photo without a file is rejected with the status ``missing``, one without an identity with
    ``no_identity``. Files that the attribute list does not name are ignored.

    Args:
        root: folder with ``img_align_celeba`` and the label files.
        identities: False makes every photo its own person and needs no ``identity_CelebA.txt``, which the publisher
            gives out separately.
        partition: only the photos of one official part; None takes all and needs no ``list_eval_partition.txt``.
        impersonation: fixed probes and targets instead of a split.
    """

    name = "celeba"
    page = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
    licence = "non-commercial research, not to be passed on"
    folder = (
        "img_align_celeba/000001.jpg, list_attr_celeba.txt, list_landmarks_align_celeba.txt, identity_CelebA.txt and "
        "list_eval_partition.txt"
    )
    disk_gib = 2.8  # img_align_celeba.zip, 1 443 490 838 bytes as its loaders state, and what it unpacks to

    def __init__(
        self,
        root: Path,
        *,
        identities: bool = True,
        partition: Partition | None = None,
        impersonation: Impersonation | None = None,
    ) -> None:
        super().__init__(root)
        if partition is not None and partition not in _PARTITIONS:
            raise DatasetError(
                f"dataset.layout.partition is {partition!r}: it must be null or {', '.join(_PARTITIONS)}"
            )
        if impersonation is not None and not identities:
            raise DatasetError("dataset.layout.impersonation needs dataset.layout.identities=true")
        self.identities = identities
        self.partition = partition
        self.impersonation = impersonation

    def listing(self) -> Listing:
        attributes = read_attributes(self, self.root / "list_attr_celeba.txt")
        names = attributes.names
        if self.partition is not None:
            parts = read_table(self, self.root / "list_eval_partition.txt", columns=1, allowed=range(3))
            chosen = parts.aligned_to(names)[:, 0] == _PARTITIONS.index(self.partition)
            names = tuple(name for name, take in zip(names, chosen.tolist(), strict=True) if take)
        people = dict(zip(names, names, strict=True))
        if self.identities:
            people = people_of(read_identities(self), names)
        found = place_photos(self, self.root / "img_align_celeba", names, people, attributes)
        points = read_table(
            self, self.root / "list_landmarks_align_celeba.txt", columns=10, titled=True, dtype=np.float32
        )
        landmarks = points.aligned_to(found.image_id, np.nan).reshape(-1, 5, 2)
        listing = Listing(
            found.image_id,
            found.identity,
            found.place,
            landmarks=landmarks,
            attributes=found.attributes,
            rejected=found.rejected,
            ignored=found.ignored,
        )
        return listing if self.impersonation is None else self.impersonation.applied(listing, self.root)


def read_attributes(layout: Layout, path: Path) -> LabelTable:
    """The 40 attributes, -1 or 1."""
    return read_table(layout, path, columns=ATTRIBUTES, titled=True, dtype=np.int16, allowed=(-1, 1))


def read_identities(layout: Layout) -> LabelTable:
    """Number of the person in each photo."""
    return read_table(layout, layout.root / "identity_CelebA.txt", columns=1)


def people_of(identities: LabelTable, names: tuple[str, ...]) -> dict[str, str]:
    """Photo to person, for the photos whose person is known."""
    numbers = identities.aligned_to(names)[:, 0].tolist()
    return {name: str(number) for name, number in zip(names, numbers, strict=True) if number != UNKNOWN}


def place_photos(
    layout: Layout, folder: Path, names: tuple[str, ...], people: dict[str, str], attributes: LabelTable
) -> Listing:
    """The photos ``names`` that are in ``folder`` and have a person, with their attributes as 0 and 1.

    Raises:
        DatasetError: the folder is missing or holds none of them.
    """
    files = files_in(layout, folder)
    usable = [name for name in names if name in files and name in people]
    if not usable:
        raise absent(layout, folder, "holds none of the listed photos whose person is known")
    rejected = []
    for name in names:
        if name not in files:
            rejected.append(rejection(name, "missing", "listed, but there is no such file", people.get(name, "")))
        elif name not in people:
            rejected.append(rejection(name, "no_identity", "the identity file does not have it"))
    values = attributes.aligned_to(usable, -1) > 0
    return Listing(
        usable,
        [people[name] for name in usable],
        [str(folder / name) for name in usable],
        attributes=dict(zip(attributes.columns, values.T.astype(np.int16), strict=True)),
        rejected=tuple(rejected),
        ignored=len(files - set(attributes.names)),
    )
