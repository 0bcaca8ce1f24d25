"""A folder of photos, ``root/<identity>/<photo>``, as a data set.

Photos may have any size, name and format that Pillow reads (:mod:`cloakbench.datasets.photos` lists the rules). Each is
brought to the 112x112 ArcFace crop by its landmarks: those of a landmarks file, or else those of a detector
(:mod:`cloakbench.datasets.alignment`). Every file ends up in the manifest. One that cannot be used has a status and a
note and never stops a run: the crop's own (:class:`cloakbench.datasets.crops.Crop`) or one of

* ``duplicate``: the same decoded pixels, or the same name, as an earlier photo of any role. The first in the order of
  roots, identities and names is kept, so no photo is both reference and probe. Under two identities, one of the two
  labels is wrong: the note says so. Re-encoded copies with other pixels are not recognised.
* ``identity_clash``: the person also occurs in an earlier root, and so could play two roles.
* ``no_photos``: an identity folder without a photo.
* ``unused``: fit for use, but the split does not need it.

Sources of people, in order: ``root`` (split by :mod:`cloakbench.datasets.splits`), then the optional
``distractor_root``, ``auxiliary_root`` and ``impostor_root``, each in the same layout and each for one role.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from cloakbench.datasets.base import OK, ROLES, Dataset, FaceSet, Manifest, ManifestEntry, Role
from cloakbench.datasets.crops import Crop, Cropper
from cloakbench.datasets.detection import Detector, read_landmarks
from cloakbench.datasets.layouts.identity_folders import IdentityFolders
from cloakbench.datasets.photos import DatasetError
from cloakbench.datasets.splits import SplitRule, assign_roles

_PROGRESS_SECONDS = 10.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PhotoFile:
    """A listed photo."""

    image_id: str
    identity: str
    path: Path


@dataclass(frozen=True)
class _Index:
    """The folder after one pass over its files."""

    faces: dict[Role, FaceSet]
    notes: dict[str, str]
    rejected: tuple[ManifestEntry, ...]


class Folder(Dataset):
    """Photos of people in one folder each. Nothing is read before faces, roles or the manifest are asked for.

    Args:
        root: folder with one folder of photos per person.
        name: what tables call this data set.
        aligned: the photos are aligned crops; they are only resized, where they are not 112x112 already.
        detector: finds faces; not used for aligned crops and for photos in the landmarks file.
        landmarks_file: CSV file with five points per photo (:func:`cloakbench.datasets.detection.read_landmarks`).
        distractor_root: more people, for the role ``distractor``.
        auxiliary_root: more people, for the role ``auxiliary``.
        impostor_root: more people, for the role ``impostor``.
        references_per_identity, probes_per_identity, distractors_per_identity, auxiliary_identities,
        impostor_identities, max_identities, seed: see :class:`cloakbench.datasets.splits.SplitRule`.
        max_megapixels: larger photos are refused; decoding takes about four bytes per pixel.
        min_crop_px: faces whose crop is narrower than this in the photo are refused.
        cache: folder where crops are kept, so that a second run neither decodes nor detects.

    Raises:
        DatasetError: options contradict each other or are out of range. When first read: a root is missing or holds no
            identity folder, nobody has enough usable photos, or the detector's package is missing.
    """

    version = "1"

    def __init__(
        self,
        root: str | Path,
        *,
        name: str = "folder",
        aligned: bool = False,
        detector: Detector | None = None,
        landmarks_file: str | Path | None = None,
        distractor_root: str | Path | None = None,
        auxiliary_root: str | Path | None = None,
        impostor_root: str | Path | None = None,
        references_per_identity: int = 2,
        probes_per_identity: int | None = 3,
        distractors_per_identity: int | None = 1,
        auxiliary_identities: int = 0,
        impostor_identities: int = 0,
        max_identities: int | None = None,
        seed: int = 0,
        max_megapixels: float = 100,
        min_crop_px: int = 32,
        cache: str | Path | None = None,
    ) -> None:
        if aligned and landmarks_file is not None:
            raise DatasetError("dataset.landmarks_file has no use with dataset.aligned=true: drop one of them")
        if not aligned and detector is None and landmarks_file is None:
            raise DatasetError("photos that are not aligned need dataset.detector or dataset.landmarks_file")
        self.name = name
        self._root = _path(root)
        roots: tuple[tuple[Role, str | Path | None], ...] = (
            ("distractor", distractor_root),
            ("auxiliary", auxiliary_root),
            ("impostor", impostor_root),
        )
        self._more_roots: dict[Role, Path] = {role: _path(folder) for role, folder in roots if folder}
        self._landmarks_file = None if landmarks_file is None else _path(landmarks_file)
        self._rule = SplitRule(
            references_per_identity,
            probes_per_identity,
            distractors_per_identity,
            auxiliary_identities,
            impostor_identities,
            max_identities,
            seed,
        )
        self._cropper = Cropper(detector, aligned, max_megapixels, min_crop_px, None if cache is None else _path(cache))

    def roles(self) -> tuple[Role, ...]:
        return tuple(role for role in ROLES if role in self._index.faces)

    def faces(self, role: Role) -> FaceSet:
        return self._index.faces[role]

    def rejected(self) -> Iterable[ManifestEntry]:
        """Files without a role, each with status and note; their digest is that of the file, if it could be read."""
        return self._index.rejected

    def manifest(self) -> Manifest:
        """Every file; accepted ones carry a note where something was done to them that a reader should know."""
        manifest = super().manifest()
        notes = self._index.notes
        noted = [replace(e, note=notes[e.image_id]) if e.role and e.image_id in notes else e for e in manifest.entries]
        return replace(manifest, entries=tuple(noted))

    @cached_property
    def _index(self) -> _Index:
        photos, source, rejected = self._collect()
        usable: dict[str, tuple[PhotoFile, Crop]] = {}
        first_copy: dict[str, PhotoFile] = {}
        for photo, crop in zip(photos, self._crop_all(photos), strict=True):
            status, note = crop.status, crop.note
            original = first_copy.setdefault(crop.pixels_sha256, photo) if status == OK else photo
            if original is not photo:
                status, note = "duplicate", f"same pixels as {original.image_id}"
                if original.identity != photo.identity:
                    note += ", another person: one of the two labels is wrong"
            if status == OK:
                usable[photo.image_id] = (photo, crop)
            else:
                rejected.append(ManifestEntry(photo.image_id, photo.identity, "", crop.file_sha256, status, note))

        assigned = self._assign(usable, source)
        for image_id, (photo, crop) in usable.items():
            if image_id not in assigned:
                note = "the split does not need it"
                rejected.append(ManifestEntry(image_id, photo.identity, "", crop.file_sha256, "unused", note))
        self._report(assigned, rejected)
        faces: dict[Role, FaceSet] = {
            role: _face_set([item for image_id, item in usable.items() if assigned.get(image_id) == role])
            for role in ROLES
            if role in assigned.values()
        }
        notes = {image_id: crop.note for image_id, (_, crop) in usable.items() if crop.note}
        return _Index(faces, notes, tuple(rejected))

    def _collect(self) -> tuple[list[PhotoFile], dict[str, Role | None], list[ManifestEntry]]:
        """Photos that may get a role, the one role of each identity outside ``root``, and what is rejected unread."""
        photos: dict[str, PhotoFile] = {}
        source: dict[str, Role | None] = {}
        rejected: list[ManifestEntry] = []
        roots: list[tuple[Role | None, Path]] = [(None, self._root), *self._more_roots.items()]
        for role, root in roots:
            found = IdentityFolders(root, f"{role}_root" if role else "root").listing()
            if found.ignored:
                log.info("%s: %d other files and folders ignored", root, found.ignored)
            rejected += found.rejected
            columns = zip(found.image_id, found.identity, found.place, strict=True)
            for photo in (PhotoFile(image_id, identity, Path(str(place))) for image_id, identity, place in columns):
                if source.setdefault(photo.identity, role) != role:
                    status, note = "identity_clash", "an earlier root has a person of this name: remove or rename one"
                elif photo.image_id in photos:
                    status, note = "duplicate", "another file has the same name after Unicode normalisation: rename it"
                else:
                    photos[photo.image_id] = photo
                    continue
                rejected.append(ManifestEntry(photo.image_id, photo.identity, "", "", status, note))
        return list(photos.values()), source, rejected

    def _assign(self, usable: Iterable[str], source: Mapping[str, Role | None]) -> dict[str, Role]:
        """The role of each usable photo that gets one; ids start with the identity."""
        people: dict[Role | None, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for image_id in usable:
            identity = image_id.split("/", 1)[0]
            people[source[identity]][identity].append(image_id)
        assigned = assign_roles(people[None], self._rule)
        for role in self._more_roots:
            limit = self._rule.distractors_per_identity if role == "distractor" else None
            for names in people[role].values():
                assigned |= dict.fromkeys(names[:limit], role)
        return assigned

    def _crop_all(self, photos: list[PhotoFile]) -> list[Crop]:
        points: dict[Path, Tensor] = {}
        if self._landmarks_file is not None:
            points = read_landmarks(self._landmarks_file, self._root)
        crops: list[Crop] = []
        reported = time.monotonic()
        for photo in photos:
            crops.append(self._cropper.crop(photo.path, points.get(photo.path.resolve())))
            if time.monotonic() - reported > _PROGRESS_SECONDS:
                reported = time.monotonic()
                log.info("%d of %d photos read", len(crops), len(photos))
        return crops

    def _report(self, assigned: dict[str, Role], rejected: list[ManifestEntry]) -> None:
        roles = ", ".join(f"{role} {count}" for role, count in sorted(Counter(assigned.values()).items()))
        log.info("%s: %s", self._root, roles)
        faults = Counter(entry.status for entry in rejected if entry.status != "unused")
        if faults:
            counts = ", ".join(f"{status} {count}" for status, count in sorted(faults.items()))
            log.warning("%s: some files cannot be used, the manifest says why: %s", self._root, counts)


def _face_set(items: list[tuple[PhotoFile, Crop]]) -> FaceSet:
    images = [crop.image for _, crop in items if crop.image is not None]
    landmarks = [crop.landmarks for _, crop in items if crop.landmarks is not None]
    return FaceSet(
        torch.stack(images),
        tuple(photo.image_id for photo, _ in items),
        tuple(photo.identity for photo, _ in items),
        torch.stack(landmarks) if landmarks else None,
    )


def _path(path: str | Path) -> Path:
    return Path(path).expanduser()
