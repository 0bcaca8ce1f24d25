"""The way of a person's photos: find the faces, protect them, put them back, save, and look at what was saved."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
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
from cloakbench.bench.protect.hiding import Learnt, Made, hide, psnr_of_faces, unhide
from cloakbench.bench.protect.inputs import CHUNK, MethodInputs, gather, protect_faces, trained, with_views
from cloakbench.bench.protect.keys.folder import KeyFolder
from cloakbench.bench.protect.keys.note import KeyNote, glances, without_targets
from cloakbench.bench.protect.owned_files import digest_of
from cloakbench.bench.protect.report import PhotoChange, Row, face_row, failure_row
from cloakbench.bench.protect.settings import Settings
from cloakbench.bench.protect.sheet import pictures_of
from cloakbench.bench.protect.state import FinishedCopies, open_copies
from cloakbench.datasets.alignment import CROP_SIZE
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
        settings = _with_secret(settings)
        given = gather(settings, photos)
        rows, due = _sort(settings, copies, given, photos)
        given, learnt = trained(settings, with_views(settings, given)) if due else given, Learnt()
        reused = len(rows) - sum(found[0]["status"] != OK for found in rows.values())
        with track("protecting", len(due)) as tracker:
            for batch in _batches(settings, due):
                for task, found in _work(settings, copies, given, learnt, batch):
                    rows[task.photo.name] = found
                    tracker.advance(task.photo.name)
        table = [row for photo in photos for row in rows[photo.name]]
        references = 0 if given.references is None else len(given.references)
        return finish(settings, copies, photo_folder, table, reused, references=references)


def _with_secret(settings: Settings) -> Settings:
    """The settings with their owner's secret for a seed, where keys are made and the user gave none."""
    if settings.keys is None or settings.seed_given:
        return settings
    secret, fresh = KeyFolder(settings.keys).secret()
    log.info("keys come from a secret number, %s in %s", "drawn now and kept" if fresh else "kept", settings.keys)
    return replace(settings, seed=secret)


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
        if known is not None and (settings.keys is None or _has_key(settings, settings.keys, photo)):
            rows[photo.name] = known
        elif refusal := copies.refusal(photo, key, overwrite=settings.overwrite):
            rows[photo.name] = [failure_row(photo, "exists", refusal)]
        else:
            due.append(_Task(photo, key, judged))
    return rows, due


def _has_key(settings: Settings, keys: Path, photo: Photo) -> bool:
    return KeyFolder(keys).has(photo.output, digest_of(settings.output / photo.target))


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
    size = 1 if settings.hides or settings.protector.scope == "image" else CHUNK
    for first in range(0, len(due), size):
        yield due[first : first + size]


def _work(
    settings: Settings, copies: FinishedCopies, given: MethodInputs, learnt: Learnt, batch: Sequence[_Task]
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
    try:
        makers = _makers(settings, given, learnt, tasks, found)
    except (MissingNeedError, ConfigError):
        raise
    except PhotoError as problem:
        for task in tasks:
            yield task, [failure_row(task.photo, problem.status, str(problem))]
        return
    except Exception as problem:  # a method may raise anything; its photos become rows with a status
        if trouble := machine_trouble(problem):
            raise MachineError(trouble) from problem
        reason = reason_of(problem)
        log.debug("%s raised", settings.method, exc_info=True)
        for task in tasks:
            yield task, [failure_row(task.photo, METHOD_FAILED, reason)]
        return
    for task in tasks:
        try:
            yield task, _publish(settings, copies, task, found[task.photo.name], makers[task.photo.name])
        except PhotoError as problem:
            yield task, [failure_row(task.photo, problem.status, str(problem))]


_Maker = Callable[[Tensor], Made]
"""From a photo, uint8 ``[3, H, W]``, to its copy; raises `PhotoError` where there is none."""


def _makers(
    settings: Settings, given: MethodInputs, learnt: Learnt, tasks: Sequence[_Task], found: Mapping[str, Found]
) -> dict[str, _Maker]:
    """What the method did to each photo of a batch, by name; whole photos are made one at a time."""
    if settings.hides:
        [task] = tasks
        name, one = task.photo.name, found[task.photo.name]
        made = hide(settings, given, learnt, name, settings.finder.decode(read(task.photo.path)), one.faces)
        _refuse_lost_keys(settings, made.keys)
        return {name: lambda original: made}
    shown = {task.photo.name: found[task.photo.name].faces for task in tasks}
    faces = [(name, number, face) for name, some in shown.items() for number, face in enumerate(some)]
    names = [name if number == 0 else f"{name}#{number + 1}" for name, number, _ in faces]
    protected = protect_faces(settings, given, names, [face for *_, face in faces])
    _refuse_lost_keys(settings, protected.private)
    makers: dict[str, _Maker] = {}
    for task in tasks:
        places = [place for place, (name, *_) in enumerate(faces) if name == task.photo.name]
        finished = all(protected.status[place] == OK for place in places)
        crops = protected.images[places] if finished else None
        makers[task.photo.name] = partial(_pasted, settings, found[task.photo.name], crops)
    return makers


def _refuse_lost_keys(settings: Settings, keys: Mapping[str, Tensor]) -> None:
    if keys and settings.keys is None:
        raise ConfigError(
            f"{settings.method} gives owners a {', '.join(sorted(keys))} that lifts its protection, which is not kept "
            "beside copies: choose another method"
        )


def _pasted(settings: Settings, found: Found, crops: Tensor | None, original: Tensor) -> Made:
    if crops is None:
        raise PhotoError(METHOD_FAILED, f"{settings.method} gave no picture for a face of it")
    before = torch.stack([face.crop for face in found.faces])
    matrices = torch.stack([face.matrix for face in found.faces])
    return Made(paste(original, crops.short() - before.short(), matrices), crops)


def _publish(settings: Settings, copies: FinishedCopies, task: _Task, found: Found, make: _Maker) -> list[Row]:
    """Save the copy of one photo and what gives it back, judge it, put it in its place; raises `PhotoError`."""
    content = read(task.photo.path)
    original = settings.finder.decode(content)
    made = make(original)
    pasted = made.photo
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
    copied = measure(original, saved, found.faces, made.crops, settings.finder, given, settings.models, settings.device)
    alpha = keeps_alpha(content, settings.format)
    notes = [*(note for note in metadata.converted if not (alpha and note == ON_WHITE)), *encoded.notes]
    dropped = (*metadata.dropped, *encoded.dropped)
    if found.others:
        notes.append(f"{found.others} other faces in it are not protected")
    if settings.keys is not None:
        notes.append(_keep_keys(settings, KeyFolder(settings.keys), task, found, made, original, encoded.content))
    whole = PhotoChange(int((saved != original).any(0).sum()), torch.equal(saved, pasted))
    rows = []
    for number, (face, one) in enumerate(zip(found.faces, copied, strict=True), start=1):
        own = notes + ([] if one.found_again else ["its face is not found in the copy"])
        rows.append(face_row(task.photo, number, face, one, whole, dropped, own))
    # No original stands beside a copy whose faces nobody is to see.
    pictures = pictures_of(saved if settings.hides else original, saved, found.faces)
    copies.commit(staged, task.photo, task.key, task.judged, rows, pictures)
    return rows


def _keep_keys(
    settings: Settings, folder: KeyFolder, task: _Task, found: Found, made: Made, original: Tensor, content: bytes
) -> str:
    """Write what gives a copy back, and say how near to the original that brings it."""
    saved, matrices = settings.finder.decode(content), torch.stack([face.matrix for face in found.faces]).double()
    back = unhide(settings.protector, saved, matrices, CROP_SIZE, made.keys, settings.device)
    psnr = psnr_of_faces(original, back, matrices, CROP_SIZE)
    folder.put(
        task.photo.output,
        KeyNote(
            photo=task.photo.name,
            method=settings.method,
            settings=without_targets(settings.method_config),
            height=original.shape[1],
            width=original.shape[2],
            side=CROP_SIZE,
            matrices=matrices.tolist(),
            scope=settings.protector.scope,
            key=folder.put_keys(made.keys),
            file_sha256=hashlib.sha256(content).hexdigest(),
            **glances(saved, back, matrices[0], CROP_SIZE),
            psnr_db=psnr,
        ),
    )
    exact = torch.equal(saved, made.photo)
    lossy = "" if exact else ", since files of its type lose something (format=png does not)"
    return f"its key gives the faces back {'without loss' if psnr is None else f'at {psnr:.1f} dB'}{lossy}"
