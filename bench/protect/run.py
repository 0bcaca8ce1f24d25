"""The way of a person's photos: find the faces, protect them, put them back, save, and look at what was saved."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cloakbench.bench.core.errors import reason_of
from cloakbench.bench.core.escape import terminal
from cloakbench.bench.core.hashing import content_key
from cloakbench.bench.core.machine import MachineError, machine_trouble
from cloakbench.bench.processes.progress import track
from cloakbench.bench.protect.discover import REPORTS, Album, Photo, check_folders, clashing, collect
from cloakbench.bench.protect.evaluate import measure
from cloakbench.bench.protect.faces import Found, read
from cloakbench.bench.protect.inputs import CHUNK, MethodInputs, gather, protect_faces, trained
from cloakbench.bench.protect.recognition import Threshold, find_thresholds, summary, verdict
from cloakbench.bench.protect.report import (
    PhotoChange,
    Row,
    face_row,
    failure_row,
    left_rows,
    to_csv,
    to_markdown,
)
from cloakbench.bench.protect.settings import Settings, settings_in_words
from cloakbench.bench.protect.sheet import Shown, draw_sheet, pictures_of
from cloakbench.bench.protect.state import Ledger, open_ledger
from cloakbench.datasets.base import OK
from cloakbench.datasets.encoding import encode, keeps_alpha
from cloakbench.datasets.metadata import ON_WHITE, read_metadata
from cloakbench.datasets.paste import paste
from cloakbench.datasets.photos import PhotoError
from cloakbench.methods.base import METHOD_FAILED, MissingNeedError
from cloakbench.models.same_weights import same_weights

_NAMED = 10  # of what was left alone, named on the screen

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
        verdicts: a line for each recogniser: how many faces it still knows.
    """

    report: Path
    protected: int
    reused: int
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    verdicts: tuple[str, ...] = ()


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
    album = collect(settings.source, settings.format, settings.output)
    photos = album.photos
    _say_what_is_left(album)
    if not settings.overwrite:
        Ledger(settings.output).refuse_strange_reports(REPORTS)
    with open_ledger(settings.output) as ledger:
        given = gather(settings, photos)
        rows, due = _sort(settings, ledger, given, photos)
        given = trained(settings, given) if due else given
        reused = len(rows) - sum(found[0]["status"] != OK for found in rows.values())
        with track("protecting", len(due)) as tracker:
            for batch in _batches(settings, due):
                for task, found in _work(settings, ledger, given, batch):
                    rows[task.photo.name] = found
                    tracker.advance(1, task.photo.name)
        table = [row for photo in photos for row in rows[photo.name]]
        return _finish(settings, ledger, album, table, reused, own_references=given.references is not None)


def _say_what_is_left(album: Album) -> None:
    others = [terminal(item.name) for item in album.left if not item.may_hold_photos]
    if others:
        more = f" and {len(others) - _NAMED} more (see report.md)" if len(others) > _NAMED else ""
        log.info("left alone: %s%s", ", ".join(others[:_NAMED]), more)


def _sort(
    settings: Settings, ledger: Ledger, given: MethodInputs, photos: Sequence[Photo]
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
        known = ledger.finished(photo, key, judged)
        if known is not None:
            rows[photo.name] = known
        elif refusal := ledger.refusal(photo, key, overwrite=settings.overwrite):
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
        "face": settings.detector.fingerprint() if given is None else given.tolist(),
        "files": dict(settings.protector.files_read([photo.name])),
    }
    return content_key("copy", {**shared, **inputs})


def _batches(settings: Settings, due: Sequence[_Task]) -> Iterator[Sequence[_Task]]:
    size = 1 if settings.protector.scope == "image" else CHUNK
    for first in range(0, len(due), size):
        yield due[first : first + size]


def _work(
    settings: Settings, ledger: Ledger, given: MethodInputs, batch: Sequence[_Task]
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
    try:
        encoded = encode(pasted, content, settings.format, metadata)
    except Exception as problem:  # encoders refuse what they cannot write with whatever their parts raise
        raise PhotoError("not_written", f"{reason_of(problem)}: set format=png, or convert the photo") from problem
    staged = ledger.stage(encoded.content)
    saved = settings.finder.decode(encoded.content)
    given = settings.finder.given(task.photo.path)
    verdicts = measure(
        original, saved, found.faces, protected, settings.finder, given, settings.models, settings.device
    )
    alpha = keeps_alpha(content, settings.format)
    notes = [*(note for note in metadata.converted if not (alpha and note == ON_WHITE)), *encoded.notes]
    dropped = (*metadata.dropped, *encoded.dropped)
    if found.others:
        notes.append(f"{found.others} other faces in it are not protected")
    whole = PhotoChange(int((saved != original).any(0).sum()), torch.equal(saved, pasted))
    rows = []
    for number, (face, judged) in enumerate(zip(found.faces, verdicts, strict=True), start=1):
        own = notes + ([] if judged.found_again else ["its face is not found in the copy"])
        rows.append(face_row(task.photo, number, face, judged, whole, dropped, own))
    pictures = pictures_of(original, saved, found.faces)
    ledger.commit(staged, task.photo, task.key, task.judged, rows, pictures)
    return rows


def _finish(
    settings: Settings, ledger: Ledger, album: Album, table: list[Row], reused: int, *, own_references: bool
) -> Outcome:
    thresholds = find_thresholds(settings) if any("cosines" in row for row in table) else {}
    table = [_with_verdict(row, thresholds) for row in table]
    alike = same_weights(settings.models)  # a judge that is a surrogate under another name says as little
    attacked = [key for key in settings.models if not alike[key].isdisjoint(settings.surrogates)]
    lines = summary(table, thresholds, attacked)
    warnings = _warnings(settings, table, own_references=own_references)
    labels = {key: f"{key} (surrogate)" if key in attacked else key for key in settings.models}
    labelled = [row | {"cosines": {labels[k]: v for k, v in row.get("cosines", {}).items()}} for row in table]
    listed = [*labelled, *left_rows(album)]
    said = [*settings_in_words(settings), *lines, *_threshold_words(thresholds)]
    reports = {
        "report.csv": to_csv([*table, *left_rows(album)], list(settings.models)),
        "report.md": to_markdown(listed, list(labels.values()), said, warnings, album),
    }
    if any(row["status"] == OK for row in table):
        reports["report.png"] = draw_sheet(_sheet(ledger, album, table))
    ledger.write_reports(reports)
    problems = tuple(
        terminal(f"{row['file']}: {row['status']}: {row['notes']}") for row in listed if row["status"] != OK
    )
    protected = len({row["file"] for row in table if row["status"] == OK})
    report = settings.output / "report.md"
    return Outcome(report, protected, reused, problems, tuple(warnings), tuple(lines))


def _with_verdict(row: Row, thresholds: Mapping[str, Threshold]) -> Row:
    return row | {"verdict": verdict(row["cosines"], thresholds)} if "cosines" in row else row


def _threshold_words(thresholds: Mapping[str, Threshold]) -> list[str]:
    return [
        f"Threshold of {key} at FAR 1e-3: {found.value:.4f}, {found.source}."
        for key, found in thresholds.items()
        if found.value is not None
    ]


def _sheet(ledger: Ledger, album: Album, table: Sequence[Row]) -> list[Shown]:
    """The protected photos, each with what is said of its first face."""
    words: dict[str, str] = {}
    for row in table:
        if row["status"] == OK:
            words.setdefault(row["file"], row["verdict"])
    return [
        Shown(photo.name, words[photo.name], ledger.pictures(photo)) for photo in album.photos if photo.name in words
    ]


def _warnings(settings: Settings, table: Sequence[Row], *, own_references: bool) -> list[str]:
    warnings = []
    embedded = [key for key in settings.surrogates if key in settings.embedded]
    if embedded:
        warnings.append(
            f"{', '.join(embedded)} learnt from rendered faces: changes made against it hide no real face. "
            "Choose a recogniser of real faces with model@surrogate=NAME."
        )
    if own_references and settings.references is None:
        warnings.append(
            "The change was learnt from these photos themselves; its effect on other photos of the person is not shown."
        )
    lossy = {row["file"] for row in table if row.get("exact") == "no"}
    if lossy:
        warnings.append(
            f"{len(lossy)} copies are of a type that loses something: JPEG changes every pixel a little, also outside "
            "the face and beyond the budget; format=png does not."
        )
    return warnings
