"""Inputs of a method: the faces of one person's photos and, where it asks, other photos and other people.

Which photos share a call decides the last bits of a sum and so, after a ``sign``, grey levels. A method of image scope
therefore gets one photo at a time, and its copy depends on that photo, its name, the settings and the references and
other people it asks for. A method that learns per person gets up to `CHUNK` photos in a call; what it learns depends on
the references, never on the photos that happen to be due.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from torch import Tensor

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.hashing import tensor_digest
from cloakbench.bench.core.random_streams import stream_seed
from cloakbench.bench.engine.views import stored_views, view_inputs
from cloakbench.bench.protect.blurred import BlurredRecogniser, GreyRecogniser, without_colour
from cloakbench.bench.protect.discover import Photo, collect
from cloakbench.bench.protect.faces import Face
from cloakbench.bench.protect.settings import OF_REFERENCES, Settings, needs_others
from cloakbench.datasets.base import FaceSet
from cloakbench.datasets.photos import PhotoError
from cloakbench.methods.base import Protected
from cloakbench.methods.context import Need, NetworkKind, ProtectContext
from cloakbench.methods.photo_batch import PhotoBatch
from cloakbench.models.base import Recogniser

CHUNK = 200
"""Photos in one call of a method that learns per person; bounds memory."""

_OWNER = "owner"
_PAUSE_SECONDS = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MethodInputs:
    """What a method may look at beside the photo it protects.

    Attributes:
        references: uint8 ``[R, 3, 112, 112]``, photos of the person, or None.
        reference_id: their names.
        reference_landmarks: ``[R, 5, 2]``, points of the faces on them, or None.
        views: uint8 ``[K, 3, 112, 112]``, what a generator made of the first of them, or None.
        auxiliary: faces of other people, or None.
        aim: uint8 ``[1, 3, 112, 112]``, the face to be mistaken for, or None.
        trained: what the method trained once, before any photo, by stage; follows from settings and auxiliary faces.
    """

    references: Tensor | None = None
    reference_id: tuple[str, ...] = ()
    reference_landmarks: Tensor | None = None
    views: Tensor | None = None
    auxiliary: FaceSet | None = None
    aim: Tensor | None = None
    trained: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)

    @property
    def inputs(self) -> dict[str, Any]:
        """What of it can change a copy; views follow from the references, the generator and the seed."""
        parts = {
            "references": self.references,
            "auxiliary": self.auxiliary.images if self.auxiliary else None,
            "aim": self.aim,
        }
        digests = {name: "" if part is None else tensor_digest(part) for name, part in parts.items()}
        if self.reference_landmarks is not None:
            digests["reference_landmarks"] = tensor_digest(self.reference_landmarks)
        return {**digests, "reference_id": list(self.reference_id)}


def gather(settings: Settings, photos: Sequence[Photo]) -> MethodInputs:
    """Read what the method asks for, and nothing when it asks for nothing.

    Raises:
        ConfigError: a folder holds nothing usable.
    """
    protector = settings.protector
    references, points, names = None, None, ()
    if protector.needs & OF_REFERENCES:
        found = photos if settings.references is None else collect(settings.references).photos
        faces = _faces(settings, found, settings.max_references)
        if not faces:
            where = settings.references or settings.source
            raise ConfigError(f"{where} holds no usable photo to learn from: name others with references=FOLDER")
        references, names = torch.stack([face.crop for face in faces.values()]), tuple(faces)
        if Need.REFERENCE_LANDMARKS in protector.needs:
            points = torch.stack([face.landmarks for face in faces.values()])
    auxiliary = aim = None
    if needs_others(protector):
        auxiliary = _others(settings)
        people = auxiliary.identities()
        chosen = people[stream_seed(settings.seed, "target", _OWNER) % len(people)]
        aim = auxiliary.images[[auxiliary.identity.index(chosen)]]
    aim = aim if Need.AIM in protector.needs else None
    return MethodInputs(references, names, points, auxiliary=auxiliary, aim=aim)


def with_views(settings: Settings, given: MethodInputs) -> MethodInputs:
    """The inputs with other pictures of the person, where the method asks for them; made once and kept in the store.

    Raises:
        GeneratorError: the generator gives no pictures.
    """
    generator, references = settings.generator, given.references
    if generator is None or references is None:
        return given
    count, photo = settings.protector.view_count, tensor_digest(references[:1])
    log.info("making %d views of %s with %s", count, given.reference_id[0], generator.card.name)
    asked = view_inputs(settings.generator_digest, count, photo, settings.seed)
    while True:
        made = stored_views(settings.store, lambda: generator, references[:1], [asked], settings.device)
        if made is not None:
            return replace(given, views=made.images[0])
        time.sleep(_PAUSE_SECONDS)  # another process is at it


def trained(settings: Settings, given: MethodInputs) -> MethodInputs:
    """The inputs with what the method trains once, where it does."""
    if not settings.protector.is_trained:
        return given
    log.info("training %s", settings.method)
    return replace(given, trained=settings.protector.run_training(_context(settings, given)).tensors)


def protect_faces(
    settings: Settings,
    given: MethodInputs,
    names: Sequence[str],
    faces: Sequence[Face],
    fitted: Any = None,
    *,
    as_it_is: bool = False,
) -> Protected:
    """One call of the method on the crops of some faces; what it does to a grey one is grey, unless it is to be taken
    ``as_it_is``. ``fitted`` is what an earlier call learnt of the person.

    Surrogates see grey where the method changes photos one by one and this one is grey, and where it learns from
    references and all of them are. In other cases the grey part of the change is taken.
    """
    one_by_one = settings.protector.scope == "image"
    shown = torch.stack([face.crop for face in faces]) if one_by_one else given.references
    grey = not as_it_is and shown is not None and bool((shown == shown[:, :1]).all())

    def floats(images: Tensor) -> Tensor:
        return images.to(device=settings.device, dtype=torch.float32) / 255

    batch = PhotoBatch(
        images=floats(torch.stack([face.crop for face in faces])),
        image_id=tuple(names),
        owner=torch.zeros(len(faces), dtype=torch.long, device=settings.device),
        identities=(_OWNER,),
        references=None if given.references is None else floats(given.references)[None],
        reference_id=(given.reference_id,) if given.reference_id else (),
        reference_landmarks=None
        if given.reference_landmarks is None
        else given.reference_landmarks[None].to(settings.device),
        views=None if given.views is None else floats(given.views)[None],
        landmarks=torch.stack([face.landmarks for face in faces]).to(settings.device),
        aim_photos=None if given.aim is None else floats(given.aim),
    )
    protected = settings.protector.protect(batch, _context(settings, given, grey=grey), fitted)
    if as_it_is:
        return protected
    images = [
        _as_grey(face.crop, image) if face.is_grey else image
        for face, image in zip(faces, protected.images, strict=True)
    ]
    return replace(protected, images=torch.stack(images))


def _as_grey(crop: Tensor, protected: Tensor) -> Tensor:
    """The crop with the grey part of the change, uint8 ``[3, 112, 112]``: no value changes more than before."""
    change = without_colour(protected.float() - crop.float()).round()
    return (crop.float() + change).clamp(0, 255).to(torch.uint8)


def _context(settings: Settings, given: MethodInputs, *, grey: bool = False) -> ProtectContext:
    surrogates: tuple[Recogniser, ...] = tuple(settings.surrogates.values())
    if settings.soften:
        soft = tuple(BlurredRecogniser(model) for model in surrogates)
        surrogates = (*surrogates, *soft) if settings.hides else soft
    if grey:
        surrogates = tuple(GreyRecogniser(model) for model in surrogates)
    return ProtectContext(
        {NetworkKind.RECOGNISER: surrogates}, given.auxiliary, settings.seed, settings.device, given.trained
    )


def _others(settings: Settings) -> FaceSet:
    """Faces of other people: those of a folder, or for embedded surrogates those of their world."""
    folder: Path | None = settings.auxiliary
    if folder is None:
        return instantiate(dict(settings.world)).faces("auxiliary")
    faces = _faces(settings, [photo for photo in collect(folder).photos if "/" in photo.name])
    if not faces:
        raise ConfigError(f"{folder} has no usable photo in a folder of its person: put them in {folder}/<name>/")
    crops = torch.stack([face.crop for face in faces.values()])
    return FaceSet(crops, tuple(faces), tuple(name.split("/")[0] for name in faces))


def _faces(settings: Settings, photos: Sequence[Photo], most: int | None = None) -> dict[str, Face]:
    """Name to main face of the first usable photos, in the order given."""
    faces: dict[str, Face] = {}
    for photo in photos:
        if len(faces) == most:
            break
        try:
            faces[photo.name] = settings.finder.open(photo.path).faces[0]
        except PhotoError as problem:
            log.warning("%s is not used: %s", photo.path, problem)
    return faces
