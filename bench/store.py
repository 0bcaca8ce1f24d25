"""The result store: a folder of entries named by content, shared by any number of runs and processes.

An entry is written under a temporary name, flushed to disk and renamed, so it is either absent or whole: a run
killed anywhere leaves at most a temporary file, which the next run removes. Work on an entry is claimed with an
advisory lock that the operating system drops when its holder dies.
"""

from __future__ import annotations

import errno
import fcntl
import io
import json
import logging
import os
import secrets
import socket
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.lib import format as npy
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from cloakbench.bench.keys import Inputs, byte_chunks, canonical_json, tensor_digest
from cloakbench.datasets.redaction import without_secret_settings

log = logging.getLogger(__name__)

_TEMPORARY = ".writing-"
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Modification time of zip members: the same photos give the same bytes."""


class StoreError(OSError):
    """The store cannot be written or holds something it should not; the message says what to do."""


class Store:
    """Entries under ``root``: tensors as safetensors or npy, photos as a zip of PNG files, failures as JSON.

    Every reader checks what it reads and treats a damaged entry as absent, after a warning; every writer may run
    beside another writer of the same entry, since both write the same content and rename is atomic.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, kind: str, key: str, suffix: str) -> Path:
        """Where an entry lies, whether or not it exists."""
        return self.root / kind / key[:2] / f"{key}{suffix}"

    # Tensors ---------------------------------------------------------------------------------------------------------

    def has_tensors(self, kind: str, key: str) -> bool:
        """Whether the entry exists; its content is checked when it is read."""
        return self.path(kind, key, ".safetensors").exists()

    def write_tensors(
        self, kind: str, key: str, tensors: Mapping[str, Tensor], inputs: Inputs, note: Any = None
    ) -> None:
        """Store named tensors with what they were made from; ``note`` is any JSON value to keep beside them."""
        whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
        metadata = {
            "inputs": canonical_json(without_secret_settings(inputs)),
            "digests": canonical_json({name: tensor_digest(tensor) for name, tensor in whole.items()}),
            "note": json.dumps(note),
        }
        self._write(self.path(kind, key, ".safetensors"), save(whole, metadata))

    def read_tensors(self, kind: str, key: str) -> tuple[dict[str, Tensor], Any] | None:
        """Tensors and note of an entry, or None when it is absent or damaged."""
        path = self.path(kind, key, ".safetensors")
        try:
            with safe_open(path, "pt") as entry:
                metadata = entry.metadata()
                tensors = {name: entry.get_tensor(name) for name in entry.keys()}  # noqa: SIM118 (not a dict)
            digests = json.loads(metadata["digests"])
            if digests != {name: tensor_digest(tensor) for name, tensor in tensors.items()}:
                raise ValueError("content does not match its digest")
            return tensors, json.loads(metadata["note"])
        except FileNotFoundError:
            return None
        except (SafetensorError, ValueError, KeyError, TypeError, OSError) as damage:
            return self._discard(path, damage)

    # Arrays ----------------------------------------------------------------------------------------------------------

    def has_array(self, kind: str, key: str) -> bool:
        """Whether the entry exists."""
        return self.path(kind, key, ".npy").exists()

    def write_array(self, kind: str, key: str, tensor: Tensor) -> None:
        """Store one tensor that may be larger than memory, as an uncompressed ``.npy``."""
        header = io.BytesIO()
        description = {"descr": tensor[:0].numpy().dtype.str, "fortran_order": False, "shape": tuple(tensor.shape)}
        npy.write_array_header_1_0(header, description)
        self._write(self.path(kind, key, ".npy"), chain([header.getvalue()], byte_chunks(tensor)))

    def map_array(self, kind: str, key: str) -> Tensor | None:
        """A stored tensor mapped from disk, or None when it is absent or damaged; changes stay in memory.

        Its pixels are not checked: it is for large entries that a process of this run has just written or seen.
        """
        path = self.path(kind, key, ".npy")
        try:
            return torch.from_numpy(np.load(path, mmap_mode="c"))
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as damage:
            return self._discard(path, damage)

    # Photos ----------------------------------------------------------------------------------------------------------

    def write_photos(self, kind: str, key: str, images: Tensor, names: Sequence[str], about: Mapping[str, Any]) -> None:
        """Store uint8 photos ``[N, 3, H, W]`` as PNG files in one zip, with ``about.json`` beside them."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            known = {name: without_secret_settings(fact) if name == "inputs" else fact for name, fact in about.items()}
            archive.writestr(zipfile.ZipInfo("about.json", _EPOCH), json.dumps(known, sort_keys=True))
            for row, (image, name) in enumerate(zip(images, names, strict=True)):
                png = io.BytesIO()
                Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(png, "PNG", compress_level=1)
                archive.writestr(zipfile.ZipInfo(_member_name(row, name), _EPOCH), png.getvalue())
        self._write(self.path(kind, key, ".zip"), buffer.getvalue())

    def read_photos(self, kind: str, key: str) -> tuple[Tensor, dict[str, Any]] | None:
        """The photos as they would be downloaded, uint8 ``[N, 3, H, W]``, and what is known about them; None when
        absent or damaged."""
        path = self.path(kind, key, ".zip")
        try:
            with zipfile.ZipFile(path) as archive:
                about = json.loads(archive.read("about.json"))
                members = sorted(name for name in archive.namelist() if name.endswith(".png"))
                photos = [np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in members]
            return torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).contiguous(), about
        except FileNotFoundError:
            return None
        except (zipfile.BadZipFile, ValueError, KeyError, OSError, struct.error) as damage:
            return self._discard(path, damage)

    def read_about(self, kind: str, key: str) -> dict[str, Any] | None:
        """Only what is known about stored photos; None when absent or damaged."""
        path = self.path(kind, key, ".zip")
        try:
            with zipfile.ZipFile(path) as archive:
                return json.loads(archive.read("about.json"))
        except FileNotFoundError:
            return None
        except (zipfile.BadZipFile, ValueError, KeyError, OSError, struct.error) as damage:
            return self._discard(path, damage)

    # Text ------------------------------------------------------------------------------------------------------------

    def write_json(self, kind: str, key: str, value: Any) -> None:
        """Store a JSON value without the secrets in it."""
        text = json.dumps(without_secret_settings(value), sort_keys=True, indent=1)
        self._write(self.path(kind, key, ".json"), text.encode())

    def read_json(self, kind: str, key: str) -> Any | None:
        """A stored JSON value, or None when absent or damaged."""
        path = self.path(kind, key, ".json")
        try:
            return json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as damage:
            return self._discard(path, damage)

    # Frames ----------------------------------------------------------------------------------------------------------

    def has_frame(self, kind: str, key: str) -> bool:
        """Whether the entry exists; its content is checked when it is read."""
        return self.path(kind, key, ".parquet").exists()

    def write_frame(self, kind: str, key: str, frame: pd.DataFrame) -> None:
        """Store a table as Parquet."""
        buffer = io.BytesIO()
        frame.to_parquet(buffer, index=False)
        self._write(self.path(kind, key, ".parquet"), buffer.getvalue())

    def read_frame(self, kind: str, key: str) -> pd.DataFrame | None:
        """A stored table, or None when absent or damaged."""
        path = self.path(kind, key, ".parquet")
        try:
            return pd.read_parquet(path)
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as damage:  # pyarrow's errors derive from these
            return self._discard(path, damage)

    def remove(self, kind: str, key: str, suffix: str) -> None:
        """Forget an entry; nothing happens when it is absent."""
        self.path(kind, key, suffix).unlink(missing_ok=True)

    # Processes -------------------------------------------------------------------------------------------------------

    @contextmanager
    def claim(self, key: str, *, wait: bool) -> Iterator[bool]:
        """Hold the right to make ``key``; yields False at once when another process has it and ``wait`` is False.

        Lock files are shared by keys with the same first three digits and never deleted, which keeps their number
        bounded and avoids the race of removing a lock that somebody is opening.
        """
        path = self.root / "locks" / key[:3]
        self._make_folder(path.parent)
        with path.open("wb") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def remove_leftovers(self) -> int:
        """Delete temporary files whose writer on this host is gone; returns how many."""
        removed = 0
        for path in self.root.glob(f"*/*/{_TEMPORARY}*"):
            host, pid, _ = path.name.removeprefix(_TEMPORARY).rsplit("-", 2)
            if host == socket.gethostname() and not _alive(int(pid)):
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def _write(self, path: Path, content: bytes | Iterable[bytes | memoryview]) -> None:
        self._make_folder(path.parent)
        temporary = path.parent / f"{_TEMPORARY}{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        try:
            with temporary.open("wb") as handle:
                for part in [content] if isinstance(content, bytes) else content:
                    handle.write(part)
                handle.flush()
                os.fsync(handle.fileno())
            temporary.replace(path)
        except OSError as problem:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise self._explained(problem) from problem

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise self._explained(problem) from problem

    def _explained(self, problem: OSError) -> StoreError:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = "the disk is full: free some space and run the same command again, finished work is kept"
        else:
            advice = f"{problem.strerror or problem}: check the folder or choose another with paths.store=FOLDER"
        return StoreError(problem.errno, f"cannot write to {self.root}: {advice}")

    def _discard(self, path: Path, damage: Exception) -> None:
        log.warning("%s is damaged (%s); it will be made again", path, damage)
        path.unlink(missing_ok=True)


def _member_name(row: int, image_id: str) -> str:
    """File name inside the zip: the row keeps the order, the id tells a person which photo it is."""
    readable = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in image_id)
    return f"{row:05d}-{readable[-80:]}.png"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
