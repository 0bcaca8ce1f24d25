"""The way of a person's photos: find the faces, protect them, put them back, save, and look at what was saved."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cloakbench.bench.core.errors import ConfigError, reason_of
from cloakbench.bench.core.escape import terminal
from cloakbench.bench.core.hashing import content_key
from cloakbench.bench.core.machine import MachineError, machine_trouble
from cloakbench.bench.core.status import METHOD_FAILED, OK
from cloakbench.bench.processes.progress import track
from cloakbench.bench.protect.discover import REPORTS, Photo, PhotoFolder, check_folders, clashing, collect
from cloakbench.bench.protect.evaluate import measure
from cloakbench.bench.protect.faces import Found, read
from cloakbench.bench.protect.finish import ProtectOutcome, finish
from cloakbench.bench.protect.inputs import CHUNK, MethodInputs, gather, protect_faces, trained, with_views
from cloakbench.bench.protect.report import PhotoChange, Row, face_row, failure_row
from cloakbench.bench.protect.settings import Settings
from cloakbench.bench.protect.sheet import pictures_of
from cloakbench.bench.protect.state import FinishedCopies, open_copies
from cloakbench.datasets.encoding import encode, keeps_alpha
from cloakbench.datasets.metadata import ON_WHITE, read_metadata
from cloakbench.datasets.paste import paste
from cloakbench.datasets.photos import PhotoError
from cloakbench.methods.base import MissingNeedError

_NAMED = 10  # of what was left alone, named on the screen

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Task:
    """A photo that needs a copy, and the names of what will make it and of who will judge it."""

    photo: Photo
    key: str
    judged: str


def run_protect(settings: Settings) -> ProtectOutcome:
    """Protect every photo that has no finished copy and write the report over all of them.

    Raises:
        ValueError: the folders cannot be used or the method lacks something; one line with the remedy.
    """
    check_folders(settings.source, settings.output)
    photo_folder = collect(settings.source, settings.format, settings.output)
    photos = photo_folder.photos
    _say_what_is_left(photo_folder)
    if not settings.overwrite:
        FinishedCopies(settings.output).refuse_strange_reports(REPORTS)
    with open_copies(settings.output) as copies:
        given = gather(settings, photos)
        rows, due = _sort(settings, copies, given, photos)
        given = trained(settings, with_views(settings, given)) if due else given
        reused = len(rows) - sum(found[0]["status"] != OK for found in rows.values())
        with track("protecting", len(due)) as tracker:
            for batch in _batches(settings, due):
                for task, found in _work(settings, copies, given, batch):
                    rows[task.photo.name] = found
                    tracker.advance(task.photo.name)
        table = [row for photo in photos for row in rows[photo.name]]
        return finish(settings, copies, photo_folder, table, reused, own_references=given.references is not None)


def _say_what_is_left(photo_folder: PhotoFolder) -> None:
    others = [terminal(item.name) for item in photo_folder.left if not item.may_hold_photos]
    if others:
        more = f" and {len(others) - _NAMED} more (see report.md)" if len(others) > _NAMED else ""
        log.info("left alone: %s%s", ", ".join(others[:_NAMED]), more)


def _sort(
    settings: Settings, copies: FinishedCopies, given: MethodInputs, photos: Sequence[Photo]
) -> tuple[dict[str, list[Row]], list[_Task]]:
    """Rows of what is finished or cannot be done, by photo, and the photos that remain."""
    rows: dict[str, list[Row]] = {}
    due: list[_Task] = []
    clashes = clashing(photos)
    shared = {**settings.inputs, **given.inputs}
    judged = content_key("judged", {key: settings.fingerprints[key] for key in settings.models})
    for photo in photos:
        if photo.name in clashes:
            rows[photo.name] = [failure_row(photo, "name_clash", clashes[photo.name])]
            continue
        if photo.is_raw:
            note = "a camera's raw file, of which only the preview could be read: convert it to JPEG or PNG"
            rows[photo.name] = [failure_row(photo, "unreadable", note)]
            continue
        try:
            key = _key(settings, shared, photo)
        except PhotoError as problem:
            rows[photo.name] = [failure_row(photo, problem.status, str(problem))]
            continue
        known = copies.finished(photo, key, judged)
        if known is not None:
            rows[photo.name] = known
        elif refusal := copies.refusal(photo, key, overwrite=settings.overwrite):
            rows[photo.name] = [failure_row(photo, "exists", refusal)]
        else:
            due.append(_Task(photo, key, judged))
    return rows, due


def _key(settings: Settings, shared: dict[str, Any], photo: Photo) -> str:
    """Name of everything that decides the bytes of a copy."""
    given = settings.finder.given(photo.path)
    inputs = {
        "photo": hashlib.sha256(read(photo.path)).hexdigest(),
        "name": photo.name,
        "face": settings.finder.detector.fingerprint() if given is None else given.tolist(),
        "files": dict(settings.protector.files_read([photo.name])),
    }
    return content_key("copy", {**shared, **inputs})


def _batches(settings: Settings, due: Sequence[_Task]) -> Iterator[Sequence[_Task]]:
    size = 1 if settings.protector.scope == "image" else CHUNK
    for first in range(0, len(due), size):
        yield due[first : first + size]


def _work(
    settings: Settings, copies: FinishedCopies, given: MethodInputs, batch: Sequence[_Task]
) -> Iterator[tuple[_Task, list[Row]]]:
    """The rows of each photo of a batch, as soon as its copy is in place."""
    found: dict[str, Found] = {}
    for task in batch:
        try:
            found[task.photo.name] = settings.finder.open(task.photo.path)
        except PhotoError as problem:
            yield task, [failure_row(task.photo, problem.status, str(problem))]
    tasks = [task for task in batch if task.photo.name in found]
    if not tasks:
        return
    faces = [(name, number, face) for name, one in found.items() for number, face in enumerate(one.faces)]
    names = [name if number == 0 else f"{name}#{number + 1}" for name, number, _ in faces]
    try:
        protected = protect_faces(settings, given, names, [face for *_, face in faces])
    except MissingNeedError:
        raise
    except Exception as problem:  # a method may raise anything; its photos become rows with a status
        if trouble := machine_trouble(problem):
            raise MachineError(trouble) from problem
        reason = reason_of(problem)
        log.debug("%s raised", settings.method, exc_info=True)
        for task in tasks:
            yield task, [failure_row(task.photo, METHOD_FAILED, reason)]
        return
    if protected.private:
        raise ConfigError(
            f"{settings.method} gives owners a {', '.join(sorted(protected.private))} that lifts its protection, which "
            "is not kept beside copies: choose another method"
        )
    for task in tasks:
        places = [place for place, (name, *_) in enumerate(faces) if name == task.photo.name]
        try:
            if any(protected.status[place] != OK for place in places):
                raise PhotoError(METHOD_FAILED, f"{settings.method} gave no picture for a face of it")
            yield task, _publish(settings, copies, task, found[task.photo.name], protected.images[places])
        except PhotoError as problem:
            yield task, [failure_row(task.photo, problem.status, str(problem))]


def _publish(settings: Settings, copies: FinishedCopies, task: _Task, found: Found, protected: Tensor) -> list[Row]:
    """Save the copy of one photo, judge it, put it in its place; raises `PhotoError`."""
    content = read(task.photo.path)
    original = settings.finder.decode(content)
    crops = torch.stack([face.crop for face in found.faces])
    matrices = torch.stack([face.matrix for face in found.faces])
    pasted = paste(original, protected.short() - crops.short(), matrices)
    budget = settings.protector.budget
    if torch.equal(pasted, original) and (budget is None or budget.size_255 > 0):
        raise PhotoError("unchanged", f"{settings.method} changed nothing: try another method or a larger budget")
    metadata = read_metadata(content, settings.metadata)
    try:
        encoded = encode(pasted, content, settings.format, metadata)
    except Exception as problem:  # encoders refuse what they cannot write with whatever their parts raise
        raise PhotoError("not_written", f"{reason_of(problem)}: set format=png, or convert the photo") from problem
    staged = copies.stage(encoded.content)
    saved = settings.finder.decode(encoded.content)
    given = settings.finder.given(task.photo.path)
    copied = measure(original, saved, found.faces, protected, settings.finder, given, settings.models, settings.device)
    alpha = keeps_alpha(content, settings.format)
    notes = [*(note for note in metadata.converted if not (alpha and note == ON_WHITE)), *encoded.notes]
    dropped = (*metadata.dropped, *encoded.dropped)
    if found.others:
        notes.append(f"{found.others} other faces in it are not protected")
    whole = PhotoChange(int((saved != original).any(0).sum()), torch.equal(saved, pasted))
    rows = []
    for number, (face, one) in enumerate(zip(found.faces, copied, strict=True), start=1):
        own = notes + ([] if one.found_again else ["its face is not found in the copy"])
        rows.append(face_row(task.photo, number, face, one, whole, dropped, own))
    pictures = pictures_of(original, saved, found.faces)
    copies.commit(staged, task.photo, task.key, task.judged, rows, pictures)
    return rows
