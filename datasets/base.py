"""`Dataset` and `FaceSet`: faces in named roles, with a manifest, as a data set hands them to the benchmark.

Images are 8-bit RGB, NCHW, aligned to the 112x112 ArcFace template unless a data set says otherwise.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

from cloakbench.bench.core.status import OK

CropView = Literal["aligned", "box"]
"""What a crop shows: the face, aligned to the ArcFace template, or its box, squared to its longer side."""

Role = Literal["reference", "probe", "distractor", "auxiliary", "impostor", "train", "validation", "test"]
"""What a photo is used for.

``reference``: photos a person gives to build a mask. ``probe``: photos that are protected, published and attacked.
``distractor``: other people in the attacker's gallery. ``auxiliary``: public faces for anchors, aims and training.
``impostor``: people whose pairs calibrate verification thresholds. ``train``/``test``: poisoning and attributes;
``validation``: a part between the two, on which settings are chosen.
"""

ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class FaceSet:
    """Faces that share a role.

    Attributes:
        images: uint8 ``[N, 3, H, W]``, RGB.
        image_id: N names, unique and stable across machines.
        identity: N names of the people shown.
        landmarks: optional float ``[N, 5, 2]``, pixels ``(x, y)``: eyes, nose, mouth corners, left to right.
        attributes: labelled attributes, each an integer tensor ``[N]``.

    Raises:
        ValueError: lengths differ, an id is repeated, or the images are not uint8 RGB.
    """

    images: Tensor
    image_id: tuple[str, ...]
    identity: tuple[str, ...]
    landmarks: Tensor | None = None
    attributes: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.image_id)
        if self.images.dtype != torch.uint8 or self.images.ndim != 4 or self.images.shape[1] != 3:
            raise ValueError(f"images must be uint8 [N, 3, H, W], got {self.images.dtype} {tuple(self.images.shape)}")
        columns = [self.images, self.identity, *self.attributes.values()]
        if self.landmarks is not None:
            columns.append(self.landmarks)
        if any(len(column) != count for column in columns):
            raise ValueError(f"a column does not have {count} entries, the number of image ids")
        if len(set(self.image_id)) != count:
            raise ValueError("image ids are not unique")

    def __len__(self) -> int:
        return len(self.image_id)

    def select(self, rows: Sequence[int] | Tensor) -> FaceSet:
        """The faces at ``rows``, in that order."""
        index = torch.as_tensor(rows, dtype=torch.long)
        places = index.tolist()
        return FaceSet(
            self.images[index],
            tuple(self.image_id[i] for i in places),
            tuple(self.identity[i] for i in places),
            None if self.landmarks is None else self.landmarks[index],
            {name: values[index] for name, values in self.attributes.items()},
        )

    def identities(self) -> tuple[str, ...]:
        """The distinct identities in order of first appearance."""
        return tuple(dict.fromkeys(self.identity))

    def rows_by_identity(self) -> dict[str, list[int]]:
        """The rows of each identity, in order of first appearance."""
        rows: dict[str, list[int]] = {}
        for row, identity in enumerate(self.identity):
            rows.setdefault(identity, []).append(row)
        return rows

    def labels(self) -> Tensor:
        """The place of each face's identity among `identities`, long ``[N]``."""
        place = {identity: number for number, identity in enumerate(self.identities())}
        return torch.tensor([place[identity] for identity in self.identity], dtype=torch.long)

    def digests(self) -> list[str]:
        """sha256 of each image's pixels."""
        return [hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in self.images.contiguous()]


@dataclass(frozen=True)
class FullPhoto:
    """A photo as it was before its face was cut out.

    Attributes:
        pixels: uint8 ``[3, H, W]``, upright RGB.
        matrix: similarity ``[2, 3]`` from it to the crop; None where the photo came aligned and is the crop itself, at
            its own size.
    """

    pixels: Tensor
    matrix: Tensor | None = None


@dataclass(frozen=True)
class ManifestEntry:
    """One image of a data set and the role it plays; ``status`` other than ``ok`` says why it plays none."""

    image_id: str
    identity: str
    role: str
    sha256: str
    status: str = OK
    note: str = ""


@dataclass(frozen=True)
class Manifest:
    """Which images an experiment used, each with its digest. The report of one run never mixes digests."""

    name: str
    version: str
    entries: tuple[ManifestEntry, ...]

    def digest(self) -> str:
        """sha256 over everything that identifies the data: name, version, and every entry in order."""
        lines = [f"{self.name} {self.version}"]
        lines += ["\t".join((e.image_id, e.identity, e.role, e.sha256, e.status)) for e in self.entries]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class Dataset(ABC):
    """A source of faces in named roles.

    A subclass computes or reads its faces lazily. Which photos play which role is a function of its configuration
    alone; ``reference`` and ``probe`` never share a photo and ``auxiliary`` and ``impostor`` never share a person
    with any other role.
    """

    name: str
    version: str
    view: CropView = "aligned"
    """What its crops show; networks are asked about the kind that they were trained on."""
    rendered: bool = False
    """Whether it shows the embedded world, the only one that networks which come with this project know."""

    @abstractmethod
    def faces(self, role: Role) -> FaceSet:
        """The faces of one role; raises ``KeyError`` when this data set does not have the role."""

    @abstractmethod
    def roles(self) -> tuple[Role, ...]:
        """The roles this data set offers."""

    def aims(self) -> Mapping[str, str]:
        """Person to the auxiliary person they are to be mistaken for, where the data set's protocol fixes that."""
        return {}

    def photo(self, image_id: str) -> FullPhoto | None:
        """The photo that a face was cut from; None where the data set has crops alone."""
        return None

    def rejected(self) -> Iterable[ManifestEntry]:
        """Images that could not be used, each with its reason; none unless a subclass says so."""
        return ()

    def manifest(self) -> Manifest:
        """Every image with its role and digest, rejected ones last."""
        entries = [
            ManifestEntry(image_id, identity, role, sha256)
            for role in self.roles()
            for faces in [self.faces(role)]
            for image_id, identity, sha256 in zip(faces.image_id, faces.identity, faces.digests(), strict=True)
        ]
        return Manifest(self.name, self.version, (*entries, *self.rejected()))
