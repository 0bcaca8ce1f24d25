"""State of an output folder: what is finished in it, written so that a killed run leaves no half file, forgets nothing.

``OUTPUT/.cloakbench`` holds one small JSON file per photo: the key of what made the copy, the copy's digest, and its
rows of the report; and beside it the photo's pictures for the sheet. Both are written before the copy is moved into
place. A copy is finished when all are there and agree. One more file holds the digests of the report's files, so that
those of somebody else are known from ours. No link in the folder is followed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.files.file_lock import NoLocksError, try_lock
from cloakbench.bench.core.files.held_file import HeldFile
from cloakbench.bench.protect.discover import NOTES, Photo
from cloakbench.bench.protect.owned_files import cannot_write, content_of, digest_of, obstacle, stage, write_whole

_REPORTS = "reports.json"


class FinishedCopies:
    """The finished work of one output folder; made by `open_copies`, which keeps other processes out."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self._folder = output / NOTES

    def finished(self, photo: Photo, key: str, judged: str) -> list[dict[str, Any]] | None:
        """The report rows of a copy that the same inputs made and the same models judged; else None."""
        note = self._note(photo)
        if (note.get("key"), note.get("judged")) != (key, judged) or obstacle(self.output, photo.target):
            return None
        there = digest_of(self.output / photo.target), digest_of(self._place(photo, ".png"))
        return note["rows"] if (note["sha256"], note.get("pictures")) == there else None

    def refusal(self, photo: Photo, key: str, *, overwrite: bool) -> str:
        """Why the copy must not be written, and what to do; empty where nothing is in the way but a copy that the same
        inputs made."""
        if hindrance := obstacle(self.output, photo.target):
            return hindrance
        place = self.output / photo.target
        if overwrite or not os.path.lexists(place):
            return ""
        note = self._note(photo)
        if note.get("key") == key and note.get("sha256") == digest_of(place):
            return ""
        return f"{photo.output} is there already and was made otherwise: set overwrite=true or another output"

    def refuse_strange_reports(self, names: Sequence[str]) -> None:
        """Stop before the report of somebody else would be replaced.

        Raises:
            ConfigError: there is a file of that name that this command did not write, or wrote and somebody changed.
        """
        known = self._known_reports()
        strange = [
            name
            for name in names
            if os.path.lexists(self.output / name) and digest_of(self.output / name) not in known.get(name, [])
        ]
        if strange:
            raise ConfigError(
                f"{', '.join(strange)} in {self.output} {'is' if len(strange) == 1 else 'are'} not as this command "
                "writes it: choose another output=FOLDER, or set overwrite=true to replace it"
            )

    def stage(self, content: bytes) -> Path:
        """A file that is not in its place yet, safe on disk."""
        place = self._temporary()
        try:
            stage(content, place)
        except OSError as problem:
            raise cannot_write(self.output, problem) from problem
        return place

    def commit(
        self, staged: Path, photo: Photo, key: str, judged: str, rows: list[dict[str, Any]], pictures: bytes
    ) -> None:
        """Move a staged copy into its place and note what it is."""
        self._write(self._place(photo, ".png"), pictures)
        note = {"key": key, "judged": judged, "sha256": digest_of(staged), "rows": rows}
        note["pictures"] = hashlib.sha256(pictures).hexdigest()
        self._write(self._place(photo, ".json"), json.dumps(note, allow_nan=False, indent=1).encode())
        self._move(staged, self.output / photo.target)

    def pictures(self, photo: Photo) -> bytes | None:
        """What `commit` kept for the sheet."""
        return content_of(self._place(photo, ".png"))

    def write_reports(self, contents: Mapping[str, bytes]) -> None:
        """The files of the report, each whole or as it was. Before that, their digests beside those of the last ones:
        a run that is killed in between knows both."""
        known = self._known_reports()
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        notes = {name: list(dict.fromkeys([*known.get(name, [])[-1:], digests[name]])) for name in contents}
        self._write(self._folder / _REPORTS, json.dumps(notes, indent=1).encode())
        for name, content in contents.items():
            self._write(self.output / name, content)

    def _write(self, place: Path, content: bytes) -> None:
        try:
            write_whole(place, content, self._temporary())
        except OSError as problem:
            raise cannot_write(self.output, problem) from problem

    def _move(self, staged: Path, place: Path) -> None:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            staged.replace(place)
        except OSError as problem:
            raise cannot_write(self.output, problem) from problem

    def _temporary(self) -> Path:
        return self._folder / f"{secrets.token_hex(8)}.tmp"

    def _note(self, photo: Photo) -> dict[str, Any]:
        return self._json(self._place(photo, ".json"))

    def _known_reports(self) -> dict[str, list[str]]:
        return self._json(self._folder / _REPORTS)

    @staticmethod
    def _json(place: Path) -> dict[str, Any]:
        try:
            found = json.loads(content_of(place) or b"{}")
        except ValueError:  # damaged: what it told of is made again
            return {}
        return found if isinstance(found, dict) else {}

    def _place(self, photo: Photo, suffix: str) -> Path:
        return self._folder / f"{hashlib.sha256(photo.name.encode()).hexdigest()[:32]}{suffix}"


@contextmanager
def open_copies(output: Path) -> Iterator[FinishedCopies]:
    """The copies of an output folder, which is made when it is missing; remains of a killed run are removed.

    Raises:
        ConfigError: the folder cannot be written to, or another process writes there.
    """
    copies, folder = FinishedCopies(output), output / NOTES
    try:
        output.mkdir(parents=True, exist_ok=True)
        if folder.is_symlink():
            raise ConfigError(f"{folder} is a link, which is not followed: remove it or choose another output=FOLDER")
        folder.mkdir(exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        lock = os.fdopen(os.open(folder / "lock", flags, 0o666), "r+b", buffering=0)
    except OSError as problem:
        if problem.errno == errno.ELOOP:
            raise ConfigError(f"{folder / 'lock'} is a link, which is not followed: remove it") from problem
        raise cannot_write(output, problem) from problem
    with ExitStack() as stack:
        stack.enter_context(lock)
        try:
            mine = try_lock(lock)
        except NoLocksError:
            mine = stack.enter_context(HeldFile(folder / "lock.held").held())
        if not mine:
            raise ConfigError(f"another process writes to {output}: wait for it or choose another folder")
        for remains in folder.glob("*.tmp"):
            remains.unlink(missing_ok=True)
        yield copies
