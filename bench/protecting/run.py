"""The way of a person's photos: find the faces, protect them, put them back, save, and look at what was saved."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cloakbench.bench.keys import content_key
from cloakbench.bench.machine import MachineError, machine_trouble
from cloakbench.bench.progress import track
from cloakbench.bench.protecting.collect import Photo, check_folders, clashing, collect
from cloakbench.bench.protecting.faces import Found, read
from cloakbench.bench.protecting.judge import measure
from cloakbench.bench.protecting.ledger import Ledger, open_ledger
from cloakbench.bench.protecting.people import CHUNK, Company, gather, protect_faces, trained
from cloakbench.bench.protecting.report import Row, face_row, failure_row, to_csv, to_markdown
from cloakbench.bench.protecting.settings import Settings, settings_in_words
from cloakbench.bench.reasons import reason_of
from cloakbench.datasets.base import OK
from cloakbench.datasets.metadata import SUFFIXES, encode, read_metadata
from cloakbench.datasets.paste import paste
from cloakbench.datasets.photos import PhotoError
from cloakbench.methods.base import METHOD_FAILED, MissingNeedError
from cloakbench.models.same_weights import same_weights

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a run did.

    Attributes:
        report: the report for people.
        protected: photos that have a protected copy.
        reused: how many of these an earlier run had made.
        problems: a line for each photo without one.
        warnings: what to know before anything is published.
    """

    report: Path
    protected: int
    reused: int
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Task:
    """A photo that needs a copy, and the names of what will make it and of who will judge it."""

    photo: Photo
    key: str
    judged: str


def run_protect(settings: Settings) -> Outcome:
    """Protect every photo that has no finished copy and write the report over all of them.

    Raises:
        ValueError: the folders cannot be used or the method lacks something; one line with the remedy.
    """
    check_folders(settings.source, settings.output)
    photos, others = collect(settings.source, SUFFIXES[settings.format])
    if others:
        log.info("%s: %d other files are no photos and were left alone", settings.source, others)
    with open_ledger(settings.output) as ledger:
        company = gather(settings, photos)
        rows, due = _sort(settings, ledger, company, photos)
        company = trained(settings, company) if due else company
        reused = len(rows) - sum(found[0]["status"] != OK for found in rows.values())
        with track("protecting", len(due)) as tracker:
            for batch in _batches(settings, due):
                for task, found in _work(settings, ledger, company, batch):
                    rows[task.photo.name] = found
                    tracker.advance(1, task.photo.name)
        table = [row for photo in photos for row in rows[photo.name]]
        return _finish(settings, ledger, table, reused, own_references=company.references is not None)


def _sort(
    settings: Settings, ledger: Ledger, company: Company, photos: Sequence[Photo]
) -> tuple[dict[str, list[Row]], list[_Task]]:
    """Rows of what is finished or cannot be done, by photo, and the photos that remain."""
    rows: dict[str, list[Row]] = {}
    due: list[_Task] = []
    clashes = clashing(photos)
    shared = {**settings.inputs, **company.inputs}
    judged = content_key("judged", {key: settings.fingerprints[key] for key in settings.models})
    for photo in photos:
        if photo.name in clashes:
            rows[photo.name] = [failure_row(photo, "name_clash", clashes[photo.name])]
            continue
        try:
            key = _key(settings, shared, photo)
        except PhotoError as problem:
            rows[photo.name] = [failure_row(photo, problem.status, str(problem))]
            continue
        known = ledger.finished(photo, key, judged)
        if known is not None:
            rows[photo.name] = known
        elif settings.overwrite or ledger.may_write(photo, key):
            due.append(_Task(photo, key, judged))
        else:
            note = f"{photo.output} is there already and was made otherwise: set overwrite=true or another output"
            rows[photo.name] = [failure_row(photo, "exists", note)]
    return rows, due


def _key(settings: Settings, shared: dict[str, Any], photo: Photo) -> str:
    """Name of everything that decides the bytes of a copy."""
    given = settings.finder.given(photo.path)
    inputs = {
        "photo": hashlib.sha256(read(photo.path)).hexdigest(),
        "name": photo.name,
        "face": settings.detector.fingerprint() if given is None else given.tolist(),
        "files": dict(settings.protector.files_read([photo.name])),
    }
    return content_key("copy", {**shared, **inputs})


def _batches(settings: Settings, due: Sequence[_Task]) -> Iterator[Sequence[_Task]]:
    size = 1 if settings.protector.scope == "image" else CHUNK
    for first in range(0, len(due), size):
        yield due[first : first + size]


def _work(
    settings: Settings, ledger: Ledger, company: Company, batch: Sequence[_Task]
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
        protected = protect_faces(settings, company, names, [face for *_, face in faces])
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
    for task in tasks:
        places = [place for place, (name, *_) in enumerate(faces) if name == task.photo.name]
        try:
            if any(protected.status[place] != OK for place in places):
                raise PhotoError(METHOD_FAILED, f"{settings.method} gave no picture for a face of it")
            yield task, _publish(settings, ledger, task, found[task.photo.name], protected.images[places])
        except PhotoError as problem:
            yield task, [failure_row(task.photo, problem.status, str(problem))]


def _publish(settings: Settings, ledger: Ledger, task: _Task, found: Found, protected: Tensor) -> list[Row]:
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
    staged = ledger.stage(encode(pasted, settings.format, metadata))
    saved = settings.finder.decode(staged.read_bytes())
    given = settings.finder.given(task.photo.path)
    verdicts = measure(
        original, saved, found.faces, protected, settings.finder, given, settings.models, settings.device
    )
    notes = list(metadata.converted)
    if found.others:
        notes.append(f"{found.others} other faces in it are not protected")
    changed_pixels = int((saved != original).any(0).sum())
    rows = []
    for number, (face, verdict) in enumerate(zip(found.faces, verdicts, strict=True), start=1):
        own = notes + ([] if verdict.found_again else ["its face is not found in the copy"])
        rows.append(face_row(task.photo, number, face, verdict, changed_pixels, metadata.dropped, own))
    ledger.commit(staged, task.photo, task.key, task.judged, rows)
    return rows


def _finish(settings: Settings, ledger: Ledger, table: list[Row], reused: int, *, own_references: bool) -> Outcome:
    warnings = []
    if settings.embedded:
        warnings.append(
            f"{', '.join(settings.embedded)} learnt from rendered faces: changes made against it hide no real face. "
            "Choose a recogniser of real faces with model@surrogate=NAME."
        )
    if own_references and settings.references is None:
        warnings.append(
            "The change was learnt from these photos themselves; its effect on other photos of the person is not shown."
        )
    if settings.format == "jpeg":
        warnings.append("JPEG changes every pixel a little, also outside the face and beyond the budget.")
    alike = same_weights(settings.models)  # a judge that is a surrogate under another name says as little
    labels = {
        key: key if alike[key].isdisjoint(settings.surrogates) else f"{key} (surrogate)" for key in settings.models
    }
    shown = [row | {"cosines": {labels[k]: v for k, v in row.get("cosines", {}).items()}} for row in table]
    text = to_markdown(shown, list(labels.values()), settings_in_words(settings), warnings)
    ledger.write(settings.output / "report.csv", to_csv(table, list(settings.models)))
    ledger.write(settings.output / "report.md", text)
    problems = tuple(f"{row['file']}: {row['status']}: {row['notes']}" for row in table if row["status"] != OK)
    protected = len({row["file"] for row in table if row["status"] == OK})
    return Outcome(settings.output / "report.md", protected, reused, problems, tuple(warnings))
