"""`protect`: face crops in memory through one method, and what was measured."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cloakbench.bench.config.build import build
from cloakbench.bench.config.networks import is_embedded
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.files.whole_file import whole_file
from cloakbench.bench.core.machine import checked_device
from cloakbench.bench.core.random_streams import stream_seed
from cloakbench.bench.core.status import OK
from cloakbench.bench.engine.worker import to_float
from cloakbench.bench.plan.plan import make_protector
from cloakbench.bench.python.blocks import part_block, remembered
from cloakbench.bench.python.composing import ConfigDirs, compose_part, config_folders, keyed
from cloakbench.bench.python.experiments import Recognisers, threads_kept
from cloakbench.bench.python.loading import load_recogniser
from cloakbench.bench.python.pictures import as_photos, as_pil
from cloakbench.bench.python.references import (
    given_generator,
    given_landmarks,
    given_references,
    views_of_people,
)
from cloakbench.datasets.base import FaceSet
from cloakbench.methods.base import Protected, Protector
from cloakbench.methods.context import Cost, Need, NetworkKind, ProtectContext
from cloakbench.methods.photo_batch import PhotoBatch
from cloakbench.models.base import Recogniser, embed_in_batches
from cloakbench.models.generators import Generator

CHUNK = 50
"""Photos in one call of a method that changes each photo for itself; bounds memory, and decides last bits."""

_ONE_PERSON = "person"


@dataclass(frozen=True, repr=False)
class ProtectedImages:
    """Protected photos and what was measured.

    Attributes:
        images: uint8 RGB ``[N, 3, H, W]``; a photo whose status is not ``ok`` is the original.
        measured: one row for each photo: image_id, person, status, linf_255 and l2_255 (distance from the original in
            grey levels), and a column ``cosine_NAME`` for each recogniser that looked at it: how alike protected photo
            and original still are to it.
        cost: what it took.
        warnings: what to know before anything is published.
        private: what only the owners may have, such as keys of veils: tensors by name for each call of the method.
    """

    images: Tensor
    measured: pd.DataFrame
    cost: Cost
    warnings: tuple[str, ...]
    private: tuple[Mapping[str, Tensor], ...] = field(default=(), repr=False)

    def to_numpy(self) -> np.ndarray:
        """The photos, uint8 ``[N, H, W, 3]``."""
        return self.images.permute(0, 2, 3, 1).contiguous().numpy()

    def to_pil(self) -> list[Any]:
        """The photos as PIL images."""
        return [as_pil(photo) for photo in self.images]

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write the photos that are protected as PNG files, and return their paths: a failed one is not written.

        A file is called like its photo; where two would be called alike, the number of the photo stands before it.

        Raises:
            OSError: the folder cannot be written.
        """
        paths, names = [], [Path(str(name)).stem for name in self.measured["image_id"]]
        if len({name.casefold() for name in names}) < len(names):
            names = [f"{number}_{name}" for number, name in enumerate(names)]
        for photo, name, status in zip(self.images, names, self.measured["status"], strict=True):
            if status == OK:
                paths.append(Path(folder) / f"{name}.png")
                with whole_file(paths[-1]) as file:
                    as_pil(photo).save(file, "PNG")
        return paths

    def __repr__(self) -> str:
        failed = sum(status != OK for status in self.measured["status"])
        lines = [
            f"{len(self.images) - failed} protected images of {tuple(self.images.shape[2:])} pixels, {failed} failed"
        ]
        lines += [f"  warning: {warning}" for warning in self.warnings]
        return "\n".join([*lines, str(self.measured.describe().loc[["mean", "max"]].round(3))])


def protect(
    images: Any,
    *,
    method: str | Protector,
    surrogate: Recognisers | None = None,
    epsilon_255: float | None = None,
    references: Any = None,
    reference_landmarks: Any = None,
    generator: str | Generator | None = None,
    people: Sequence[str] | None = None,
    auxiliary: FaceSet | None = None,
    targets: Recognisers = (),
    seed: int = 0,
    device: str = "cpu",
    force: bool = False,
    config_dir: ConfigDirs = (),
) -> ProtectedImages:
    """Protect face crops with one method.

    The images are faces as recognisers get them: cut out, aligned, of one size, mostly 112x112. ``cloakbench protect``
    on the command line takes whole photos, finds the faces in them and puts them back.

    Args:
        images: paths, PIL images, a uint8 array ``[N, H, W, 3]``, or a tensor ``[N, 3, H, W]``, uint8 or float in
            [0, 1], which is rounded to 8 bits first.
        method: by name or as an object.
        surrogate: one or several recognisers whose gradients the method may use.
        epsilon_255: budget in grey levels; default: the method's own.
        references: other photos of the person, for methods that learn a mask for each person; with ``people`` a mapping
            from person to photos, equally many of each.
        reference_landmarks: points of the faces on them ``[R, 5, 2]``, for methods that ask; with ``people`` a mapping.
        generator: by name or as an object, for methods that want other pictures of a person, which it makes of the
            first reference.
        people: whom each image shows; default: one person.
        auxiliary: faces of other people, for methods that train or aim.
        targets: recognisers who look at the result beside the surrogates.
        seed: names every random stream; for a method with keys a secret one, such as ``secrets.randbits(128)``.
        device: where to compute.
        force: also work against recognisers of rendered faces only, which hides no real face.
        config_dir: one or several folders of your own configs.

    Raises:
        ConfigError: something is missing, cannot be read or does not exist; one line with the remedy.

    Example:
        >>> import cloakbench, numpy
        >>> faces = numpy.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), dtype=numpy.uint8)
        >>> done = cloakbench.protect(faces, method="pgd", surrogate="cosface_ir", epsilon_255=4, force=True)
        >>> done.to_numpy().shape, int(done.measured["linf_255"].max())
        ((2, 112, 112, 3), 4)
    """
    folders, place = config_folders(config_dir), checked_device(device, "device")
    photos, names = as_photos(images, "images")
    protector = _method(method, epsilon_255, folders)
    attacked = _recognisers(surrogate, "surrogate", place, folders)
    _check(protector, attacked, force)
    owners = list(people) if people is not None else [_ONE_PERSON] * len(photos)
    if len(owners) != len(photos):
        raise ConfigError(f"people names {len(owners)} people for {len(photos)} images: name one for each")
    photos_of = given_references(protector, references, owners)
    points_of = given_landmarks(protector, reference_landmarks, photos_of)
    maker = given_generator(protector, generator, folders)
    with threads_kept():
        torch.set_num_threads(1)  # sums in another order round differently
        views_of = views_of_people(protector, maker, photos_of, seed, place)
        given = _Given(tuple(dict.fromkeys(owners)), photos_of, points_of, views_of, auxiliary, seed, place)
        context = _trained(protector, given.context(protector, tuple(attacked.values())))
        size = CHUNK if protector.scope == "image" else len(photos)
        chunks = [slice(first, first + size) for first in range(0, len(photos), size)]
        done = [
            protector.protect(given.batch(protector, photos[some], names[some], owners[some]), context)
            for some in chunks
        ]
        judges = {**attacked, **_recognisers(targets, "targets", place, folders)}
        return _measured(photos, names, owners, done, judges)


@dataclass(frozen=True)
class _Given:
    """What there is beside the photos."""

    people: tuple[str, ...]
    references: Mapping[str, Tensor]
    reference_landmarks: Mapping[str, Tensor]
    views: Mapping[str, Tensor]
    auxiliary: FaceSet | None
    seed: int
    device: torch.device

    def context(self, protector: Protector, attacked: Sequence[Recogniser]) -> ProtectContext:
        """What the method may use; its aims and auxiliary faces must have been given.

        Raises:
            ConfigError: they were not.
        """
        if not self.auxiliary and protector.needs & {Need.AUXILIARY, Need.AIM}:
            raise ConfigError(f"{protector.name} needs faces of other people: give them with auxiliary=FaceSet(...)")
        return ProtectContext({NetworkKind.RECOGNISER: attacked}, self.auxiliary, self.seed, self.device)

    def batch(self, protector: Protector, photos: Tensor, names: Sequence[str], owners: Sequence[str]) -> PhotoBatch:
        """Some of the photos with what belongs to their people."""
        people = tuple(person for person in self.people if person in owners)
        references = [self.references[person] for person in people] if self.references else []
        return PhotoBatch(
            images=to_float(photos, self.device),
            image_id=tuple(names),
            owner=torch.tensor([people.index(owner) for owner in owners], device=self.device),
            identities=people,
            references=to_float(torch.stack(references), self.device) if references else None,
            reference_landmarks=self._of(self.reference_landmarks, people),
            views=self._of(self.views, people),
            reference_id=tuple(tuple(f"reference {n}" for n in range(len(some))) for some in references),
            aim_photos=self._aims(people) if Need.AIM in protector.needs else None,
        )

    def _of(self, things: Mapping[str, Tensor], people: Sequence[str]) -> Tensor | None:
        """What each of the people has, in one tensor; None where there is nothing."""
        return torch.stack([things[person] for person in people]).to(self.device) if things else None

    def _aims(self, people: Sequence[str]) -> Tensor:
        """For each person somebody among the auxiliary faces."""
        assert self.auxiliary is not None
        rows = list(self.auxiliary.rows_by_identity().values())
        chosen = [rows[stream_seed(self.seed, "target", person) % len(rows)][0] for person in people]
        return to_float(self.auxiliary.images[chosen], self.device)


def _method(method: str | Protector, epsilon_255: float | None, folders: list[str]) -> Protector:
    budget = {} if epsilon_255 is None else {"epsilon_255": epsilon_255}
    if isinstance(method, str):
        return make_protector(compose_part("method", method, budget, folders), method, "method")
    if not isinstance(method, Protector):
        raise ConfigError(f"method is a {type(method).__name__}: give the name of a method, or a Protector")
    return make_protector(part_block(method, "method") | budget, method.name, "method") if budget else method


def _recognisers(given: Any, where: str, device: torch.device, folders: list[str]) -> dict[str, Recogniser]:
    found = {}
    for key, one in keyed(() if given is None else given, where).items():
        built = load_recogniser(one, config_dir=folders) if isinstance(one, str) else one
        if isinstance(one, Mapping):
            built = build(one, f"{where}.{key}", convert="all")
        if not isinstance(built, Recogniser):
            raise ConfigError(f"{where} is a {type(one).__name__}: give the name of a recogniser, or a Recogniser")
        found[key] = built.to(device)
    return found


def _check(protector: Protector, attacked: Mapping[str, Recogniser], force: bool) -> None:
    """Refuse what cannot be done, and what would look protected and is not."""
    if Need.SURROGATES not in protector.needs:
        return
    if not attacked:
        raise ConfigError(f"{protector.name} needs a recogniser to work against: give one with surrogate=NAME")
    embedded = [key for key, model in attacked.items() if is_embedded(remembered(model) or {})]
    if len(embedded) == len(attacked) and not force:
        raise ConfigError(
            f"{', '.join(embedded)} learnt from rendered faces, so changes made against it hide no real face: choose a "
            "recogniser of real faces with surrogate=NAME, or set force=True"
        )


def _trained(protector: Protector, context: ProtectContext) -> ProtectContext:
    if not protector.is_trained:
        return context
    return replace(context, trained=protector.run_training(context).tensors)


def _measured(
    photos: Tensor,
    names: Sequence[str],
    owners: Sequence[str],
    done: Sequence[Protected],
    judges: Mapping[str, Recogniser],
) -> ProtectedImages:
    protected = torch.cat([one.images for one in done])
    columns: dict[str, Any] = {
        "image_id": list(names),
        "person": list(owners),
        "status": [status for one in done for status in one.status],
        "linf_255": [value for one in done for value in one.linf_255.tolist()],
        "l2_255": [value for one in done for value in one.l2_255.tolist()],
    }
    for key, judge in judges.items():
        device = next(judge.parameters()).device
        before, after = (embed_in_batches(judge, some, CHUNK, device) for some in (photos, protected))
        columns[f"cosine_{key}"] = (before * after).sum(dim=1).tolist()
    warnings = tuple(dict.fromkeys(warning for one in done for warning in one.warnings))
    private = tuple(one.private for one in done if one.private)
    return ProtectedImages(protected, pd.DataFrame(columns), Cost.total([one.cost for one in done]), warnings, private)
