"""The result store: a folder of entries named by content, shared by any number of runs and processes.

An entry is written under a temporary name, flushed to disk and renamed, so it is either absent or whole: a run
killed anywhere leaves at most a temporary file, which the next run removes. Each carries a seal over its bytes and its
name (`cloakbench.bench.core.files.seal`), which is checked whenever it is read. Work on an entry is claimed, see
`cloakbench.bench.store.claims`.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any

import pandas as pd
import torch
from torch import Tensor

from cloakbench.bench.core.files.array_file import map_npy
from cloakbench.bench.core.files.file_lock import NoLocksError, try_lock
from cloakbench.bench.core.files.held_file import is_alive
from cloakbench.bench.core.files.regular_file import open_regular, remove_opened
from cloakbench.bench.core.files.seal import (
    Bytes,
    DamagedError,
    check_seal,
    check_stream,
    seal,
    sealed_json,
    sealed_stream,
)
from cloakbench.bench.core.hashing import Inputs, byte_chunks
from cloakbench.bench.core.redaction import without_secret_settings
from cloakbench.bench.store import entries
from cloakbench.bench.store.claims import WorkClaims
from cloakbench.bench.store.errors import StoreError, explained, unreadable

log = logging.getLogger(__name__)

_TEMPORARY = ".writing-"
PRIVATE = "keys"
"""Kind of entries that nobody but the owner of the store may read: mode 0600, in folders of mode 0700."""
SHOWN = "pictures"
"""Kind of entries with pictures for figures."""


class Store:
    """Entries under ``root``: tensors as safetensors or npy, photos as a zip of PNG files, tables as Parquet, facts as
    JSON.

    Every reader checks the seal of what it reads. Content that does not match is removed, after a warning, and counts
    as absent; a file that cannot be read is left alone and is a `StoreError`. Every writer may run beside another
    writer of the same entry, since both write the same content and rename is atomic.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._claims = WorkClaims(root / "locks")

    def path(self, kind: str, key: str, suffix: str) -> Path:
        """Where an entry lies, whether or not it exists."""
        return self.root / kind / key[:2] / f"{key}{suffix}"

    def is_whole(self, kind: str, key: str, suffix: str) -> bool:
        """Whether an entry is there and matches its seal; where only the content decides whether work is done."""
        return self._read(kind, key, suffix) is not None

    # Tensors ---------------------------------------------------------------------------------------------------------

    def has_tensors(self, kind: str, key: str) -> bool:
        """Whether the entry exists; its content is checked when it is read."""
        return self._exists(self.path(kind, key, ".safetensors"))

    def write_tensors(
        self, kind: str, key: str, tensors: Mapping[str, Tensor], inputs: Inputs, note: Any = None
    ) -> None:
        """Store named tensors with what they were made from; ``note`` is any JSON value to keep beside them."""
        self._seal(kind, key, ".safetensors", entries.pack_tensors(tensors, without_secret_settings(inputs), note))

    def read_tensors(self, kind: str, key: str) -> tuple[dict[str, Tensor], Any] | None:
        """Tensors and note of an entry, or None when it is absent or damaged."""
        content = self._read(kind, key, ".safetensors")
        return None if content is None else entries.unpack_tensors(content)

    # Arrays ----------------------------------------------------------------------------------------------------------

    def has_array(self, kind: str, key: str) -> bool:
        """Whether the entry exists; its content is checked when it is mapped."""
        return self._exists(self.path(kind, key, ".npy"))

    def write_array(self, kind: str, key: str, tensor: Tensor) -> None:
        """Store one tensor that may be larger than memory, as an uncompressed ``.npy``."""
        parts = entries.array_parts(tensor, byte_chunks(tensor))
        self._write(self.path(kind, key, ".npy"), sealed_stream(parts, _name(kind, key, ".npy")))

    def map_array(self, kind: str, key: str) -> Tensor | None:
        """A stored tensor mapped from disk, or None when it is absent or damaged; changes stay in memory.

        The whole file is read once to check it.
        """
        path = self.path(kind, key, ".npy")
        with self._opened(path) as file:
            if file is None:
                return None
            try:
                check_stream(file, os.fstat(file.fileno()).st_size, _name(kind, key, ".npy"))
            except DamagedError as damage:
                return self._discard(path, file, damage)
            file.seek(0)
            return torch.from_numpy(map_npy(file))

    # Photos ----------------------------------------------------------------------------------------------------------

    def write_photos(self, kind: str, key: str, images: Tensor, names: Sequence[str], about: Mapping[str, Any]) -> None:
        """Store uint8 photos ``[N, 3, H, W]`` as PNG files in one zip, with ``about.json`` beside them."""
        known = {name: without_secret_settings(fact) if name == "inputs" else fact for name, fact in about.items()}
        self._seal(kind, key, ".zip", entries.pack_photos(images, names, known, _name(kind, key, ".zip")))

    def read_photos(self, kind: str, key: str) -> tuple[Tensor, dict[str, Any]] | None:
        """The photos as they would be downloaded, uint8 ``[N, 3, H, W]``, and what is known about them; None when
        absent or damaged."""
        content = self._read(kind, key, ".zip")
        return None if content is None else entries.unpack_photos(content, _name(kind, key, ".zip"))

    def read_about(self, kind: str, key: str) -> dict[str, Any] | None:
        """Only what is known about stored photos, which has a seal of its own; None when absent or damaged."""
        path = self.path(kind, key, ".zip")
        with self._opened(path) as file:
            if file is None:
                return None
            try:
                return entries.read_about(file, _name(kind, key, ".zip"))
            except DamagedError as damage:
                return self._discard(path, file, damage)

    # Text ------------------------------------------------------------------------------------------------------------

    def write_json(self, kind: str, key: str, value: Any) -> None:
        """Store a JSON value without the secrets in it."""
        name = _name(kind, key, ".json")
        self._write(self.path(kind, key, ".json"), [sealed_json(without_secret_settings(value), name)])

    def read_json(self, kind: str, key: str) -> Any | None:
        """A stored JSON value, or None when absent or damaged."""
        content = self._read(kind, key, ".json")
        return None if content is None else json.loads(content)["value"]

    # Frames ----------------------------------------------------------------------------------------------------------

    def write_frame(self, kind: str, key: str, frame: pd.DataFrame) -> None:
        """Store a table as Parquet."""
        self._seal(kind, key, ".parquet", entries.pack_frame(frame))

    def read_frame(self, kind: str, key: str) -> pd.DataFrame | None:
        """A stored table, or None when absent or damaged."""
        content = self._read(kind, key, ".parquet")
        return None if content is None else entries.unpack_frame(content)

    def remove(self, kind: str, key: str, suffix: str) -> None:
        """Forget an entry; nothing happens when it is absent."""
        self.path(kind, key, suffix).unlink(missing_ok=True)

    # Processes -------------------------------------------------------------------------------------------------------

    def claim(self, key: str) -> AbstractContextManager[bool]:
        """Hold the right to make ``key``; yields False at once when another process has it."""
        return self._claims.claim(key)

    def remove_leftovers(self) -> int:
        """Delete temporary files whose writer on this host is gone; returns how many."""
        return sum(_remove_leftover(path) for path in self.root.glob(f"*/*/{_TEMPORARY}*"))

    # Files -----------------------------------------------------------------------------------------------------------

    def _seal(self, kind: str, key: str, suffix: str, content: bytes) -> None:
        self._write(self.path(kind, key, suffix), seal(content, _name(kind, key, suffix)))

    def _write(self, path: Path, parts: Iterable[Bytes]) -> None:
        temporary = path.parent / f"{_TEMPORARY}{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        with explained(self.root, "paths.store"):
            try:
                private = path.parent.parent.name == PRIVATE
                path.parent.mkdir(parents=True, exist_ok=True)
                for folder in (path.parent.parent, path.parent) if private else ():
                    folder.chmod(0o700)
                mode = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                with os.fdopen(os.open(temporary, mode, 0o600 if private else 0o666), "wb") as handle:
                    with suppress(NoLocksError):  # tells those who remove leftovers that the writer lives
                        try_lock(handle)
                    handle.writelines(parts)
                    handle.flush()
                    os.fsync(handle.fileno())
                    temporary.replace(path)
            except OSError:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
                raise

    def _read(self, kind: str, key: str, suffix: str) -> bytes | None:
        """The content of an entry with its seal checked; None when it is absent or damaged."""
        path = self.path(kind, key, suffix)
        with self._opened(path) as file:
            if file is None:
                return None
            content = file.read()
            try:
                check_seal(content, _name(kind, key, suffix))
            except DamagedError as damage:
                return self._discard(path, file, damage)
            return content

    @contextmanager
    def _opened(self, path: Path) -> Iterator[IO[bytes] | None]:
        """The file of an entry, None when there is none. Only what was read can be damaged: a file that cannot be
        opened or read stays."""
        try:
            file = _open(path)
            with file or nullcontext():
                yield file
        except StoreError:
            raise
        except OSError as problem:
            raise unreadable(path, problem) from problem

    def _exists(self, path: Path) -> bool:
        try:
            return path.exists()
        except OSError as problem:
            raise unreadable(path, problem) from problem

    def _discard(self, path: Path, file: IO[bytes], damage: DamagedError) -> None:
        # As text: who keeps the record must not keep the frames of the error, and the faces in them.
        log.warning("%s is damaged (%s); it will be made again", path, str(damage))
        try:
            remove_opened(path, file)
        except OSError as problem:
            raise StoreError(
                problem.errno,
                f"{path} is damaged and cannot be removed ({problem.strerror or problem}): remove it by hand",
            ) from problem


def _name(kind: str, key: str, suffix: str) -> str:
    """What an entry's seal says it is."""
    return f"{kind}/{key}{suffix}"


def _open(path: Path) -> IO[bytes] | None:
    try:
        return open_regular(path)
    except FileNotFoundError:
        return None


def _remove_leftover(path: Path) -> bool:
    """Delete a temporary file if its writer is gone: no such process on this host, and nobody holds its lock."""
    host, _, rest = path.name.removeprefix(_TEMPORARY).rpartition("-")[0].rpartition("-")
    if host != socket.gethostname() or not rest.isdecimal() or is_alive(int(rest)):
        return False
    # Another's file, or one that has just gone, is none of ours; NFS locks only what is open for writing.
    with suppress(OSError), path.open("r+b") as file:
        with suppress(NoLocksError):
            if not try_lock(file):
                return False
        path.unlink()
        return True
    return False
