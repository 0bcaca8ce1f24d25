"""The way back: protected photos and their keys in, the photos as they were out, with how near each comes."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cloakbench.bench.core import escape
from cloakbench.bench.core.errors import ConfigError, reason_of
from cloakbench.bench.core.status import OK
from cloakbench.bench.protect.discover import NOTES, REPORTS, Photo, check_folders, clashing, collect
from cloakbench.bench.protect.faces import read
from cloakbench.bench.protect.hiding import psnr_of_faces, unhide
from cloakbench.bench.protect.keys.folder import KeyFolder
from cloakbench.bench.protect.keys.note import KeyFileError, KeyNote, without_targets
from cloakbench.bench.protect.owned_files import cannot_write, content_of, obstacle, write_whole
from cloakbench.bench.protect.state import FinishedCopies, open_copies
from cloakbench.datasets.encoding import encode
from cloakbench.datasets.metadata import read_metadata
from cloakbench.datasets.photos import PhotoError, decode
from cloakbench.methods.base import Protector

_REPORTS = ("report.csv", "report.md")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][\w-]*")
_ALIKE = 0.7
"""Least correlation with the copy that a key is for: JPEG of quality 10 leaves 0.8 of it, another key 0.2."""
_SHOWN_MORE = 0.03
"""The most that a file may show more or less of the photo than the copy did, as a share of what recovery changes: JPEG
of quality 50 moves it by up to 0.016, alpha 0.25 in place of 0.2 by 0.05."""


@dataclass(frozen=True)
class RecoverSettings:
    """What to do.

    Attributes:
        source: protected photos.
        output: where the photos go.
        keys: the folder of their keys.
        originals: photos to compare with; None for none.
        method_config: gives the resolved config of a method by its name, as this installation has it.
        build: makes a method of such a config.
        overwrite, force, max_megapixels: see conf/recover.yaml.
        device: where to compute.
    """

    source: Path
    output: Path
    keys: Path
    originals: Path | None
    method_config: Callable[[str], Mapping[str, Any]]
    build: Callable[[Mapping[str, Any], str], Protector]
    overwrite: bool
    force: bool
    max_megapixels: float
    device: torch.device


@dataclass(frozen=True)
class RecoverOutcome:
    """What a run did: its report, how many photos came back, and a line for each that did not."""

    report: Path
    recovered: int
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass
class _Methods:
    """Methods by their name and settings, built once."""

    settings: RecoverSettings
    built: dict[str, Protector] = field(default_factory=dict)

    def of(self, note: KeyNote) -> Protector:
        """The method that a key is for, as it was set; raises `KeyFileError`."""
        key = json.dumps([note.method, dict(note.settings)], sort_keys=True)
        if key not in self.built:
            if not _PLAIN_NAME.fullmatch(str(note.method)):
                raise KeyFileError(f"its key is for {str(note.method)!r}, which is no name of a method")
            config = _merged(self.settings.method_config(note.method), without_targets(note.settings), note.method)
            self.built[key] = self.settings.build(config, note.method)
        return self.built[key]


def run_recover(settings: RecoverSettings) -> RecoverOutcome:
    """Give every photo back whose key is there, and write a report.

    Raises:
        ConfigError: the folders cannot be used; one line with the remedy.
    """
    check_folders(settings.source, settings.output)
    if not settings.keys.is_dir():
        raise ConfigError(f"there is no folder {settings.keys}: name the one that protecting wrote with keys=FOLDER")
    folder, methods = KeyFolder(settings.keys), _Methods(settings)
    photos = [one for one in collect(settings.source, "png", settings.output).photos if one.name not in REPORTS]
    if not settings.overwrite:
        FinishedCopies(settings.output).refuse_strange_reports(_REPORTS)
    clashes = clashing(photos)
    with open_copies(settings.output) as copies:
        rows = []
        for photo in photos:
            try:
                if photo.name in clashes:
                    raise PhotoError("name_clash", clashes[photo.name])
                rows.append(_recover(settings, folder, methods, photo))
            except PhotoError as problem:
                rows.append({"file": photo.name, "status": problem.status, "notes": str(problem)})
            except (KeyFileError, NotImplementedError, ValueError, LookupError, RuntimeError) as problem:
                note = str(problem) if isinstance(problem, KeyFileError) else reason_of(problem)
                rows.append({"file": photo.name, "status": "not_recovered", "notes": note})
        warnings = _warnings(settings, folder, rows)
        copies.write_reports({"report.csv": _csv(rows), "report.md": _markdown(rows, warnings)})
    problems = tuple(escape.terminal(f"{row['file']}: {row['notes']}") for row in rows if row["status"] != OK)
    return RecoverOutcome(settings.output / "report.md", len(rows) - len(problems), problems, tuple(warnings))


def _recover(settings: RecoverSettings, folder: KeyFolder, methods: _Methods, photo: Photo) -> dict[str, Any]:
    """Give one photo back; raises `PhotoError`, `KeyFileError`, and what the method raises."""
    content = read(photo.path)
    digest = hashlib.sha256(content).hexdigest()
    notes = folder.notes(photo.name, digest)
    published = decode(content, settings.max_megapixels)
    note = max(notes, key=lambda one: _likeness(one, published, digest))  # the first of equals is the last written
    as_written, forced = note.file_sha256 == digest, settings.force
    _refuse_others(note, published, alike=forced or _likeness(note, published, digest) >= _ALIKE)
    protector, matrices = methods.of(note), note.similarities
    back = unhide(protector, published, matrices, note.side, folder.keys(note), settings.device)
    if as_written and not note.gives(back):
        raise KeyFileError(
            f"its key gives another photo back than when it was made: {note.method} has changed, take that version"
        )
    if not as_written and not forced:
        _refuse_other_settings(note.shown_more(published, back))
    original = _original(settings, note.photo, published)
    psnr, known = note.psnr_db, as_written or original is not None
    if original is not None:
        psnr = psnr_of_faces(original, back, matrices, note.side)
    _save(settings, photo, encode(back, content, "png", read_metadata(content, "strip")).content)
    said = "unknown" if not known else "equal" if psnr is None else f"{psnr:.2f}"
    words = "" if as_written else "saved again since it was protected, which costs detail"
    return {"file": photo.name, "output": photo.output, "status": OK, "psnr_db": said, "notes": words}


def _likeness(note: KeyNote, published: Tensor, digest: str) -> float:
    """How much a photo is like the copy of a note: 1 for that very file, -1 for one of another size."""
    if note.file_sha256 == digest:
        return 1.0
    return note.likeness(published) if tuple(published.shape[1:]) == (note.height, note.width) else -1.0


def _refuse_others(note: KeyNote, published: Tensor, *, alike: bool) -> None:
    """Raises `KeyFileError` for a photo that cannot be the copy of a note."""
    if tuple(published.shape[1:]) != (note.height, note.width):
        raise KeyFileError(
            f"it is {published.shape[2]} x {published.shape[1]} pixels, and its key is for {note.width} x "
            f"{note.height}: take the file as it was published"
        )
    if not alike:
        raise KeyFileError(
            "it is not the photo that this key is for, but another person's, or made with another key, or edited: name "
            "the folder that protecting this copy wrote, or set force=true"
        )


def _refuse_other_settings(more: float) -> None:
    """Raises `KeyFileError` where a file shows more or less of the photo than the copy did, by that share."""
    if abs(more) > _SHOWN_MORE:
        raise KeyFileError(
            f"it shows {'more' if more > 0 else 'less'} of the photo than the copy that its key is for: it was made "
            "with other settings (another alpha), or changed by more than JPEG does: name the folder that protecting "
            "this copy wrote, or set force=true"
        )


def _original(settings: RecoverSettings, name: str, published: Tensor) -> Tensor | None:
    """The photo that a copy was made from, where it is there and of its size."""
    if settings.originals is None:
        return None
    folder = settings.originals if settings.originals.is_dir() else settings.originals.parent
    content = content_of(folder / name)
    try:
        pixels = None if content is None else decode(content, settings.max_megapixels)
    except PhotoError:
        return None
    return pixels if pixels is not None and pixels.shape == published.shape else None


def _save(settings: RecoverSettings, photo: Photo, content: bytes) -> None:
    if hindrance := obstacle(settings.output, photo.target):
        raise PhotoError("not_written", hindrance)
    place = settings.output / photo.target
    if not settings.overwrite and place.exists() and content_of(place) != content:
        raise PhotoError("exists", f"{photo.output} is there already: set overwrite=true or another output")
    try:
        write_whole(place, content, settings.output / NOTES / f"{secrets.token_hex(8)}.tmp")
    except OSError as problem:
        raise cannot_write(settings.output, problem) from problem


def _merged(own: Mapping[str, Any], kept: Mapping[str, Any], method: str) -> dict[str, Any]:
    """The config of a method with the settings that a key was made with."""
    if unknown := sorted(set(kept) - set(own)):
        raise KeyFileError(f"its key is for a {method} with a setting {unknown[0]}, which this version does not have")
    merged = dict(own)
    for name, value in kept.items():
        both = isinstance(value, Mapping) and isinstance(own[name], Mapping)
        merged[name] = _merged(own[name], value, method) if both else value
    return merged


def _warnings(settings: RecoverSettings, folder: KeyFolder, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    warnings = []
    if readable := folder.open_to_others():
        warnings.append(
            f"others than you may read {len(readable)} files of {settings.keys}, {readable[0]} among them, and so "
            f"recover your photos: chmod -R go= {settings.keys}"
        )
    if unknown := sum(row.get("psnr_db") == "unknown" for row in rows):
        warnings.append(
            f"{unknown} files are not as they were published, so how near their photos come is unknown: compare with "
            "originals=FOLDER"
        )
    return warnings


def _csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, ["file", "output", "status", "psnr_db", "notes"], restval="")
    writer.writeheader()
    writer.writerows({name: escape.csv(value) for name, value in row.items()} for row in rows)
    return stream.getvalue().encode("utf-8", "replace")


def _markdown(rows: Sequence[Mapping[str, Any]], warnings: Sequence[str]) -> bytes:
    done = sum(row["status"] == OK for row in rows)
    lines = ["# Recovered photos", "", f"{done} of {len(rows)} photos came back."]
    lines += [f"\n**{escape.markdown(warning)}**" for warning in warnings]
    lines += ["", "| Photo | Status | PSNR of the faces, dB | Notes |", "| --- | --- | --- | --- |"]
    for row in rows:
        cells = (row["file"], row["status"], row.get("psnr_db", ""), row["notes"])
        lines.append("| " + " | ".join(escape.markdown(str(cell)) for cell in cells) + " |")
    lines += [
        "",
        "PSNR against the original, over the pixels of the faces: as it was measured when the photo was protected, or",
        "against the photo of that name among the originals. Where a file is not as it was published, and nothing is",
        "there to compare with, it is unknown.",
    ]
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")
