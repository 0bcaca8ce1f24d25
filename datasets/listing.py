"""`Layout` and `Listing`: what a data set holds on disk, before any photo is opened.

A *layout* knows how one public data set lies on disk: which file shows whom, what its labels say, which role a photo
has where the publisher fixed one. It lists and never decodes, so 100 000 photos are indexed in seconds; which of them
play a role, and what their crops look like, is decided in :mod:`cloakbench.datasets.photo_set`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from cloakbench.datasets.base import ManifestEntry, Role


class Segment(NamedTuple):
    """Part of a file, as in a RecordIO archive: ``length`` bytes from ``offset`` of ``path``."""

    path: str
    offset: int
    length: int


Place = str | Segment
"""Where the encoded photo lies: a file, or part of one."""

UNKNOWN = -1
"""Attribute value of a photo that has no such label."""


@dataclass(frozen=True)
class Listing:
    """The photos of a data set as columns, in the order in which splits look at them.

    Attributes:
        image_id: N names, unique, stable across machines: ``<identity>/<file>`` where the layout has identity folders.
        identity: N people. A data set without identities makes every photo its own person.
        place: where each photo lies.
        role: the role the publisher fixed for each photo, None where the split decides; empty when it decides all.
        landmarks: float32 ``[N, 5, 2]``, published points in pixels of the upright photo (eyes, nose tip, mouth
            corners, left to right); NaN where unknown, None when there are none at all.
        attributes: labels, int16 ``[N]`` each; ``UNKNOWN`` where a photo has none.
        aims: person to the person they are to be mistaken for, where a protocol fixes it; the latter's photos have
            the role ``auxiliary``.
        rejected: files that are listed but cannot be used, with the reason.
        ignored: how many other files were passed over.

    Raises:
        ValueError: columns differ in length.
    """

    image_id: Sequence[str]
    identity: Sequence[str]
    place: Sequence[Place]
    role: Sequence[Role | None] = ()
    landmarks: np.ndarray | None = None
    attributes: Mapping[str, np.ndarray] = field(default_factory=dict)
    aims: Mapping[str, str] = field(default_factory=dict)
    rejected: tuple[ManifestEntry, ...] = ()
    ignored: int = 0

    def __post_init__(self) -> None:
        count = len(self.image_id)
        columns = [self.identity, self.place, *self.attributes.values()]
        columns += [self.role] if len(self.role) else []
        columns += [self.landmarks] if self.landmarks is not None else []
        if any(len(column) != count for column in columns):
            raise ValueError(f"a column does not have {count} entries, the number of photos")

    def __len__(self) -> int:
        return len(self.image_id)


class RemoteFile(NamedTuple):
    """One file that the publisher lets everybody download.

    ``unpack`` is True for an archive (tar or zip), whose members go to the data set's root.
    """

    urls: tuple[str, ...]
    name: str
    sha256: str | None = None
    unpack: bool = False


class Layout(ABC):
    """How one public data set lies on disk.

    Class attributes say what ``cloakbench fetch`` and ``cloakbench doctor`` print: the publisher's page, the licence in
    a few words, what must lie where under the root, how much disk it takes, and the files that may be fetched without
    signing anything (most publishers want a form, and then there are none).
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    page: ClassVar[str]
    licence: ClassVar[str]
    folder: ClassVar[str]
    """What to put under the root, in words a person can follow: ``<identity>/<identity>_0001.jpg``."""
    disk_gib: ClassVar[float]
    files: ClassVar[tuple[RemoteFile, ...]] = ()

    def __init__(self, root: Path) -> None:
        self.root = root

    @abstractmethod
    def listing(self) -> Listing:
        """Every photo; reads folder listings and label files only.

        Raises:
            DatasetError: the root or a label file is missing or unreadable; the line names ``page`` and ``folder``.
        """
