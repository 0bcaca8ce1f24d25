"""What is finished in an output folder, written so that a killed run leaves no half file and forgets nothing.

``OUTPUT/.cloakbench`` holds one small JSON file per photo: the key of what made the copy, the copy's digest, and its
rows of the report. It is written before the copy is moved into place. A copy is finished when both are there and agree.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cloakbench.bench.plan import ConfigError
from cloakbench.bench.protecting.collect import Photo

_FOLDER = ".cloakbench"


class Ledger:
    """The finished work of one output folder; made by `open_ledger`, which keeps other processes out."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self._folder = output / _FOLDER

    def finished(self, photo: Photo, key: str, judged: str) -> list[dict[str, Any]] | None:
        """The report rows of a copy that the same inputs made and the same models judged; else None."""
        note = self._note(photo)
        if (note.get("key"), note.get("judged")) != (key, judged):
            return None
        return note["rows"] if note["sha256"] == _digest(self.output / photo.target) else None

    def may_write(self, photo: Photo, key: str) -> bool:
        """Whether nothing is in the way but a copy that the same inputs made."""
        place = self.output / photo.target
        if not (place.exists() or place.is_symlink()):
            return True
        note = self._note(photo)
        return note.get("key") == key and note.get("sha256") == _digest(place)

    def stage(self, content: bytes) -> Path:
        """A file that is not in its place yet, safe on disk."""
        place = self._folder / f"{secrets.token_hex(8)}.tmp"
        try:
            with place.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as problem:
            with suppress(OSError):
                place.unlink(missing_ok=True)
            raise self._explained(problem) from problem
        return place

    def commit(self, staged: Path, photo: Photo, key: str, judged: str, rows: list[dict[str, Any]]) -> None:
        """Move a staged copy into its place and note what it is."""
        note = {"key": key, "judged": judged, "sha256": _digest(staged), "rows": rows}
        self.write(self._place(photo), json.dumps(note, allow_nan=False, indent=1).encode())
        self._move(staged, self.output / photo.target)

    def write(self, place: Path, content: bytes) -> None:
        """A whole file or none."""
        self._move(self.stage(content), place)

    def _move(self, staged: Path, place: Path) -> None:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            staged.replace(place)
        except OSError as problem:
            raise self._explained(problem) from problem

    def _note(self, photo: Photo) -> dict[str, Any]:
        try:
            return json.loads(self._place(photo).read_bytes())
        except (OSError, ValueError):  # none, or damaged: the copy is made again
            return {}

    def _place(self, photo: Photo) -> Path:
        return self._folder / f"{hashlib.sha256(photo.name.encode()).hexdigest()[:32]}.json"

    def _explained(self, problem: OSError) -> ConfigError:
        reason = problem.strerror or str(problem)
        return ConfigError(
            f"cannot write to {self.output} ({reason}): make room there, or choose another output=FOLDER"
        )


@contextmanager
def open_ledger(output: Path) -> Iterator[Ledger]:
    """The ledger of an output folder, which is made when it is missing; remains of a killed run are removed.

    Raises:
        ConfigError: the folder cannot be written to, or another process writes there.
    """
    ledger, folder = Ledger(output), output / _FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("wb")
    except OSError as problem:
        raise ledger._explained(problem) from problem
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            raise ConfigError(f"another process writes to {output}: wait for it or choose another folder") from problem
        for remains in folder.glob("*.tmp"):
            remains.unlink(missing_ok=True)
        yield ledger


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
