"""Photos on disk as a data set: listed in full, opened only where a role may need them.

A layout (:mod:`cloakbench.datasets.layouts`) lists the photos of ``root``. More people may come from the identity
folders of ``distractor_root``, ``auxiliary_root`` and ``impostor_root``, each for that one role. Who plays what is
decided in :mod:`cloakbench.datasets.splits`, which opens photos as it goes. Each is brought to the 112x112 ArcFace
crop by its five points: those of a landmarks file, or else those the publisher gives, or else those of a detector. For
networks that were trained on face boxes the crop is the box instead, of a landmarks file or else of a detector.
Photos may have any size and format that Pillow reads (:mod:`cloakbench.datasets.photos` lists the rules).

Every photo that was opened is in the manifest, and so is what a listing alone shows to be of no use; the others count
in the log, and so adding a photo that nobody needs changes nothing. One that cannot be used has a status and a note and
never stops a run: that of its crop (:class:`cloakbench.datasets.crops.Crop`), that of its layout, or one of

* ``duplicate``: the same decoded pixels as a photo that was opened before, or the same name as a photo of an earlier
  root. So no photo is both reference and probe. Under two identities, one of the two labels is wrong: the note says so.
  Re-encoded copies with other pixels are not recognised.
* ``identity_clash``: the person also occurs in an earlier root, and so could play two roles; one line per person.
* ``unused``: fit for use, but of a person who lacks other photos, or more than a person needs.

Crops lie on disk and are mapped into memory: a data set may be larger than memory, and so may a role.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

from torch import Tensor

from cloakbench.bench.core.ranges import one_of, positive, whole
from cloakbench.datasets.base import ROLES, CropView, Dataset, FaceSet, FullPhoto, Manifest, ManifestEntry, Role
from cloakbench.datasets.cores import available_cores
from cloakbench.datasets.crop_buffer import Spool
from cloakbench.datasets.crop_reader import CropReader, PlacedPhoto
from cloakbench.datasets.crops import Cropper
from cloakbench.datasets.detection import Detector, read_boxes, read_landmarks
from cloakbench.datasets.layouts.identity_folders import IdentityFolders
from cloakbench.datasets.listing import Layout
from cloakbench.datasets.opened_photos import OpenedPhotos
from cloakbench.datasets.originals import Original, locate
from cloakbench.datasets.photo_index import Catalogue, build_catalogue
from cloakbench.datasets.photos import DatasetError, decode
from cloakbench.datasets.split_rule import SplitRule, TestSplit
from cloakbench.datasets.splits import assign_roles

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Index:
    """The data set after its photos were chosen."""

    faces: dict[Role, FaceSet]
    accepted: tuple[ManifestEntry, ...]
    rejected: tuple[ManifestEntry, ...]
    aims: dict[str, str]
    photos: Callable[[str], PlacedPhoto]


class PhotoSet(Dataset):
    """Photos of people in some layout. Nothing is read before faces, roles or the manifest are asked for.

    Args:
        root: where the data set lies.
        layout: how it lies there.
        name: what tables call this data set.
        aligned: the photos are aligned crops; they are only resized, where they are not 112x112 already.
        crop: what a crop shows: ``aligned``, the face at the ArcFace template, or ``box``, its box squared to the
            longer side (:mod:`cloakbench.datasets.box_crop`), for attribute networks that were trained on such.
        detector: finds faces; not used for aligned crops, and for photos whose points (and, with ``box``, box) are
            known.
        landmarks_file: CSV file with five points per photo (:func:`cloakbench.datasets.detection.read_landmarks`), and
            with its box (:func:`cloakbench.datasets.detection.read_boxes`).
        distractor_root, auxiliary_root, impostor_root: folders with one folder of photos per person.
        references_per_identity, probes_per_identity, distractors_per_identity, max_distractors, auxiliary_identities,
        auxiliary_per_identity, impostor_identities, impostors_per_identity, max_identities, test_share,
        validation_share, test_split, seed: see :class:`cloakbench.datasets.split_rule.SplitRule`.
        max_megapixels: larger photos are refused; decoding takes about ten bytes per pixel.
        min_crop_px: faces whose crop is narrower than this in the photo are refused.
        workers: processes that read photos, ``auto`` for one per core; 0 or 1 reads them in this process. Crops do not
            depend on it.
        cache: folder where crops are kept, so that a second run neither decodes nor detects.

    Raises:
        DatasetError: options contradict each other or are out of range. When first read: a root or label file is
            missing, nobody has enough usable photos, or the detector's package is missing.
    """

    def __init__(
        self,
        root: str | Path,
        layout: Callable[[Path], Layout] = IdentityFolders,
        *,
        name: str = "folder",
        aligned: bool = False,
        crop: CropView = "aligned",
        detector: Detector | None = None,
        landmarks_file: str | Path | None = None,
        distractor_root: str | Path | None = None,
        auxiliary_root: str | Path | None = None,
        impostor_root: str | Path | None = None,
        references_per_identity: int = 2,
        probes_per_identity: int | None = 3,
        distractors_per_identity: int | None = 1,
        max_distractors: int | None = None,
        auxiliary_identities: int = 0,
        auxiliary_per_identity: int | None = None,
        impostor_identities: int = 0,
        impostors_per_identity: int | None = None,
        max_identities: int | None = None,
        test_share: float | None = None,
        validation_share: float | None = None,
        test_split: TestSplit = "per_identity",
        seed: int = 0,
        max_megapixels: float = 100,
        min_crop_px: int = 32,
        workers: int | Literal["auto"] = 0,
        cache: str | Path | None = None,
    ) -> None:
        positive("max_megapixels", max_megapixels)
        whole("min_crop_px", min_crop_px, 0)
        if aligned and landmarks_file is not None:
            raise DatasetError("dataset.landmarks_file has no use with dataset.aligned=true: drop one of them")
        self.view: CropView = one_of("crop", crop, get_args(CropView))
        if aligned and self.view == "box":
            raise DatasetError(
                "dataset.crop=box needs whole photos, and dataset.aligned=true says that these are aligned crops: drop "
                "one of them"
            )
        self.layout = layout(_path(root))
        self.name = name
        self.version = self.layout.version
        roots: tuple[tuple[Role, str | Path | None], ...] = (
            ("distractor", distractor_root),
            ("auxiliary", auxiliary_root),
            ("impostor", impostor_root),
        )
        self._more: dict[Role, Layout] = {
            role: IdentityFolders(_path(folder), f"{role}_root") for role, folder in roots if folder
        }
        self._landmarks_file = None if landmarks_file is None else _path(landmarks_file)
        self._rule = SplitRule(
            references_per_identity=references_per_identity,
            probes_per_identity=probes_per_identity,
            distractors_per_identity=distractors_per_identity,
            max_distractors=max_distractors,
            auxiliary_identities=auxiliary_identities,
            auxiliary_per_identity=auxiliary_per_identity,
            impostor_identities=impostor_identities,
            impostors_per_identity=impostors_per_identity,
            max_identities=max_identities,
            test_share=test_share,
            validation_share=validation_share,
            test_split=test_split,
            seed=seed,
        )
        folder = None if cache is None else _path(cache)
        self._cropper = Cropper(detector, aligned, max_megapixels, min_crop_px, folder, self.view)
        self._workers = _process_count(workers)

    def roles(self) -> tuple[Role, ...]:
        return tuple(self._index.faces)

    def faces(self, role: Role) -> FaceSet:
        return self._index.faces[role]

    def aims(self) -> Mapping[str, str]:
        """Where the layout fixes them: for each subject the auxiliary person, if that person has a usable photo."""
        return self._index.aims

    def rejected(self) -> Iterable[ManifestEntry]:
        """Photos without a role, each with status and note; their digest is that of the file, if it could be read."""
        return self._index.rejected

    def manifest(self) -> Manifest:
        """Every opened photo; accepted ones carry a note where something was done to them that a reader should know."""
        return Manifest(self.name, self.version, (*self._index.accepted, *self._index.rejected))

    def original(self, image_id: str) -> Original:
        """The photo that a face was cut from; reads the file again. See :func:`cloakbench.datasets.originals.locate`.

        Raises:
            KeyError: there is no photo of that name.
            PhotoError: it can no longer be used.
        """
        return locate(self._cropper, *self._index.photos(image_id))

    def photo(self, image_id: str) -> FullPhoto | None:
        """The photo that a face was cut from, read again as `original` does.

        Raises:
            KeyError: there is no photo of that name.
            PhotoError: it can no longer be used.
        """
        original = self.original(image_id)
        return FullPhoto(decode(original.content, self._cropper.max_megapixels), original.matrix)

    @cached_property
    def _index(self) -> _Index:
        catalogue = build_catalogue(self.layout.listing(), {role: more.listing() for role, more in self._more.items()})
        ignored = catalogue.main.ignored
        log.info("%s: %d photos listed, %d other files and folders ignored", self.layout.root, len(catalogue), ignored)
        spool = Spool(self._spool_folder())
        reader = CropReader(self._cropper, self._photo(catalogue), self._workers)
        try:
            photos = OpenedPhotos(catalogue, reader, spool)
            assigned = assign_roles(catalogue.people, catalogue.image_id, self._rule, photos)
            rows: dict[Role, list[int]] = {role: [] for role in ROLES if role in assigned.values()}
            for row in sorted(assigned):
                rows[assigned[row]].append(row)
            faces: dict[Role, FaceSet] = {role: photos.faces(some) for role, some in rows.items()}
        finally:
            reader.close()
            spool.close()
        accepted = tuple(entry for role, some in rows.items() for entry in photos.entries(role, some))
        rejected = (*catalogue.rejected, *photos.without_role(assigned))
        self._report(rows, rejected, len(catalogue) - len(photos))
        rows_by_name = {name: row for row, name in enumerate(catalogue.image_id)}
        photo = self._photo(catalogue)
        aims = self._aims(catalogue, faces)
        return _Index(faces, accepted, rejected, aims, lambda name: photo(rows_by_name[name]))

    def _photo(self, catalogue: Catalogue) -> Callable[[int], PlacedPhoto]:
        """Where the photo of a row lies, and its points and box where they are known."""
        given: dict[Path, Tensor] = {}
        boxes: dict[Path, Tensor] = {}
        if self._landmarks_file is not None:
            given = read_landmarks(self._landmarks_file, self.layout.root)
            if self.view == "box":
                boxes = read_boxes(self._landmarks_file, self.layout.root)
        if not (given or self._cropper.aligned or self._cropper.detector or catalogue.main.landmarks is not None):
            raise DatasetError("photos that are not aligned need dataset.detector or dataset.landmarks_file")
        if self.view == "box" and not (boxes or self._cropper.detector):
            raise DatasetError(
                "dataset.crop=box needs dataset.detector, or a dataset.landmarks_file with the columns box_left, "
                "box_top, box_right, box_bottom"
            )

        def photo(row: int) -> PlacedPhoto:
            place = catalogue.place[row]
            path = Path(place).resolve() if given and isinstance(place, str) else None
            points = None if path is None else given.get(path)
            box = None if path is None else boxes.get(path)
            return PlacedPhoto(place, catalogue.landmarks(row) if points is None else points, box)

        return photo

    def _spool_folder(self) -> Path | None:
        """Crops on their way lie beside the cache, which is on a disk with room."""
        folder = self._cropper.cache
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise DatasetError(
                    f"cannot write the crop cache {folder} ({error.strerror}): set dataset.cache to another folder or "
                    "to null"
                ) from error
        return folder

    def _aims(self, catalogue: Catalogue, faces: Mapping[Role, FaceSet]) -> dict[str, str]:
        wanted = catalogue.main.aims
        if not wanted:
            return {}
        known = set(faces["auxiliary"].identity) if "auxiliary" in faces else set()
        subjects = {name for role in faces.keys() & {"probe", "train", "test"} for name in faces[role].identity}
        lost = sorted({wanted[name] for name in subjects & wanted.keys()} - known)
        if lost:
            log.warning("%s: no usable photo of %s, whom others are to be mistaken for", self.name, ", ".join(lost))
        return {name: wanted[name] for name in sorted(subjects & wanted.keys()) if wanted[name] in known}

    def _report(self, rows: Mapping[Role, list[int]], rejected: Iterable[ManifestEntry], unopened: int) -> None:
        counts = ", ".join(f"{role} {len(some)}" for role, some in rows.items())
        log.info("%s: %s; %d listed photos were not needed and not opened", self.layout.root, counts, unopened)
        faults = Counter(entry.status for entry in rejected if entry.status != "unused")
        if faults:
            counts = ", ".join(f"{status} {count}" for status, count in sorted(faults.items()))
            log.warning("%s: some files cannot be used, the manifest says why: %s", self.layout.root, counts)


def _process_count(workers: int | Literal["auto"]) -> int:
    if workers == "auto":
        return available_cores()
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 0:
        raise DatasetError(f"dataset.workers is {workers!r}: use auto or a number of processes")
    return workers


def _path(path: str | Path) -> Path:
    return Path(path).expanduser()
