"""`KeyFolder`: the keys of protected copies, what their owner must know to use them, and the secret they come from.

``FOLDER/NAME.json`` tells of the copy ``NAME`` (:mod:`cloakbench.bench.protect.keys.note`). A note is never written
over that of another copy, which may be published: that one moves to ``FOLDER/NAME.DIGEST.json``.
``FOLDER/keys/DIGEST.safetensors`` holds the keys themselves, one file for all photos that share one.
``FOLDER/owner.secret`` is the number that random parts of keys are drawn from. Files have mode 0600 and their folders
0700. They are read as data: of a method only its name and its settings are kept, and what that name means is said by
the configs of whoever recovers.
"""

from __future__ import annotations

import glob
import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.files.seal import DamagedError, open_json, sealed_json
from cloakbench.bench.protect.keys.note import KeyFileError, KeyNote
from cloakbench.bench.protect.owned_files import content_of, obstacle, write_whole

_SECRET = Path("owner.secret")
_SECRET_BITS = 128
_SUFFIXES = (".json", ".safetensors", ".secret")


class KeyFolder:
    """A folder of keys.

    Args:
        folder: made when something is put into it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def secret(self) -> tuple[int, bool]:
        """The owner's secret, and whether it was drawn just now: a run that goes on makes the same keys.

        Raises:
            ConfigError: it is damaged, or the folder cannot be written to.
        """
        content = content_of(self.folder / _SECRET)
        if fresh := content is None:
            content = sealed_json(str(secrets.randbits(_SECRET_BITS)), _SECRET.name)
            self._write(_SECRET, content)
        try:
            return int(open_json(content, _SECRET.name)), fresh
        except (DamagedError, ValueError, KeyError, TypeError) as problem:
            raise ConfigError(
                f"{_SECRET} in {self.folder} is damaged: put back a copy of it, or name another keys=FOLDER (what was "
                "protected comes back without it)"
            ) from problem

    def put_keys(self, keys: Mapping[str, Tensor]) -> str:
        """Keep keys, unless they are kept already; returns their digest.

        Raises:
            ConfigError: the folder cannot be written to.
        """
        content = save({name: tensor.cpu().contiguous() for name, tensor in keys.items()})
        digest = hashlib.sha256(content).hexdigest()[:32]
        self._write(Path("keys", f"{digest}.safetensors"), content)
        return digest

    def put(self, name: str, note: KeyNote) -> None:
        """Keep what is known of the key of a copy called ``name``, and what is known of another one of that name.

        Raises:
            ConfigError: the folder cannot be written to.
        """
        place = _inner(name)
        before = content_of(self.folder / place)
        if before is not None and before != note.content:
            try:
                digest = KeyNote.opened(before).file_sha256
            except KeyFileError:  # nobody can use it
                digest = note.file_sha256
            if digest != note.file_sha256:
                self._write(_inner(f"{name}.{digest[:16]}"), before)
        self._write(place, note.content)

    def has(self, name: str, file_sha256: str) -> bool:
        """Whether the note and the key of a copy are there, of that very file."""
        try:
            note = self.notes(name, file_sha256)[0]
            self.keys(note)
        except KeyFileError:
            return False
        return file_sha256 == note.file_sha256

    def notes(self, name: str, file_sha256: str) -> list[KeyNote]:
        """What is known of the keys of copies of a name: of that very file alone, or else of the last one and then of
        those before it.

        Raises:
            KeyFileError: there is no such key, or what is known of the last one is not enough.
        """
        place = _inner(name)
        content = content_of(self.folder / place)
        if content is None:
            raise KeyFileError(f"{self.folder} has no key of it: name the folder that protecting it wrote")
        try:
            notes = [KeyNote.opened(content), *self._before(place)]
        except KeyFileError as problem:
            raise KeyFileError(f"{place} in {self.folder} {problem}") from problem
        return [note for note in notes if note.file_sha256 == file_sha256][:1] or notes

    def keys(self, note: KeyNote) -> dict[str, Tensor]:
        """The keys of a copy.

        Raises:
            KeyFileError: they are gone or damaged.
        """
        inner = Path("keys", f"{Path(note.key).name}.safetensors")
        content = content_of(self.folder / inner)
        if content is None:
            raise KeyFileError(f"{inner} is not in {self.folder}: without it the photo stays as it is")
        if hashlib.sha256(content).hexdigest()[:32] != note.key:
            raise KeyFileError(f"{inner} in {self.folder} is damaged: put back a copy, or protect the photo again")
        try:
            return load(content)
        except SafetensorError as problem:
            raise KeyFileError(f"{inner} in {self.folder} holds no keys") from problem

    def open_to_others(self) -> list[str]:
        """Names of files in it that others than their owner may read."""
        found = [path for path in sorted(self.folder.rglob("*")) if path.suffix in _SUFFIXES]
        return [str(path.relative_to(self.folder)) for path in found if path.is_file() and path.stat().st_mode & 0o077]

    def _before(self, place: Path) -> Iterator[KeyNote]:
        """Notes that `put` moved away, as far as they can be read."""
        for path in sorted((self.folder / place).parent.glob(f"{glob.escape(place.stem)}.*.json")):
            with suppress(KeyFileError):
                yield KeyNote.opened(content_of(path) or b"")

    def _write(self, inner: Path, content: bytes) -> None:
        if hindrance := obstacle(self.folder, inner):
            raise ConfigError(hindrance.replace("the output folder", f"keys={self.folder}"))
        place = self.folder / inner
        if content_of(place) == content:
            place.chmod(0o600)
            return
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            for part in reversed(inner.parents):
                (self.folder / part).mkdir(mode=0o700, exist_ok=True)
            write_whole(place, content, self.folder / f".writing-{os.getpid()}-{secrets.token_hex(8)}", 0o600)
        except OSError as problem:
            reason = problem.strerror or str(problem)
            raise ConfigError(f"cannot write keys to {self.folder} ({reason}): choose another keys=FOLDER") from problem


def _inner(name: str) -> Path:
    """Where the note of a copy lies: below the folder, whatever the copy is called."""
    path = Path(name)
    return path.with_name(f"{path.name}.json")
