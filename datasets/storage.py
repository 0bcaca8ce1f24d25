"""Arrays on disk that are whole or absent, and that are memory-mapped when read.

A file is a ``.npy`` followed by the sha256 of everything before it. It is written under a temporary name, forced to
disk and renamed, so that a reader never sees half a file and two writers of the same content do not disturb each other.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

logger = logging.getLogger(__name__)

DIGEST_BYTES = 32
CHUNK_BYTES = 1 << 22


def write_array(path: Path, shape: Sequence[int], dtype: np.dtype, chunks: Iterable[np.ndarray]) -> None:
    """Writes ``chunks``, joined along the first axis, as one array of ``shape`` and ``dtype``.

    Raises:
        ValueError: the chunks do not fill ``shape``; nothing is left on disk.
        OSError: the disk is full or not writable; nothing is left on disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    header = BytesIO()
    npy.write_array_header_1_0(
        header, {"descr": npy.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": tuple(shape)}
    )
    digest = hashlib.sha256(header.getvalue())
    rows = 0
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(header.getvalue())
            for chunk in chunks:
                if chunk.dtype != dtype or chunk.shape[1:] != tuple(shape[1:]):
                    raise ValueError(f"{path.name}: chunk {chunk.dtype} {chunk.shape} does not fit {dtype} {shape}")
                data = np.ascontiguousarray(chunk).tobytes()
                digest.update(data)
                file.write(data)
                rows += len(chunk)
            if rows != shape[0]:
                raise ValueError(f"{path.name}: {rows} rows were given, {shape[0]} expected")
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_array(path: Path) -> np.ndarray | None:
    """The array at ``path``, memory-mapped; ``None`` when there is none or, with a warning, when it is damaged.

    The array may be written to; changes stay in memory and do not reach the file.
    """
    try:
        with path.open("rb") as file:
            remaining = os.fstat(file.fileno()).st_size - DIGEST_BYTES
            digest = hashlib.sha256()
            while remaining > 0 and (data := file.read(min(CHUNK_BYTES, remaining))):
                digest.update(data)
                remaining -= len(data)
            if remaining != 0 or digest.digest() != file.read():
                logger.warning("%s is damaged and will be made again", path)
                return None
    except FileNotFoundError:
        return None
    return np.load(path, mmap_mode="c")
