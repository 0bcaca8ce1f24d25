"""Arrays on disk that are whole or absent, and that are memory-mapped when read.

A file is a ``.npy`` with a seal behind it, over everything before and over the array's name. It is written under a
temporary name, forced to disk and renamed, so that a reader never sees half a file and two writers of the same content
do not disturb each other.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from cloakbench.bench.core.files.regular_file import remove_opened
from cloakbench.bench.core.files.seal import DamagedError, check_stream, sealed_stream
from cloakbench.bench.core.files.whole_file import whole_file

logger = logging.getLogger(__name__)


def write_array(path: Path, name: str, shape: Sequence[int], dtype: np.dtype, chunks: Iterable[np.ndarray]) -> None:
    """Writes ``chunks``, joined along the first axis, as one array of ``shape`` and ``dtype``.

    ``name`` says what the array is; under another name it cannot be read.

    Raises:
        ValueError: the chunks do not fill ``shape``; nothing is left on disk.
        OSError: the disk is full or not writable; nothing is left on disk.
    """
    header = BytesIO()
    npy.write_array_header_1_0(
        header, {"descr": npy.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": tuple(shape)}
    )

    def parts() -> Iterator[bytes]:
        yield header.getvalue()
        rows = 0
        for chunk in chunks:
            if chunk.dtype != dtype or chunk.shape[1:] != tuple(shape[1:]):
                raise ValueError(f"{path.name}: chunk {chunk.dtype} {chunk.shape} does not fit {dtype} {shape}")
            yield np.ascontiguousarray(chunk).tobytes()
            rows += len(chunk)
        if rows != shape[0]:
            raise ValueError(f"{path.name}: {rows} rows were given, {shape[0]} expected")

    with whole_file(path) as file:
        for part in sealed_stream(parts(), name):
            file.write(part)


def read_array(path: Path, name: str) -> np.ndarray | None:
    """The array at ``path``, memory-mapped; ``None`` when there is none, or when it was damaged and, after a warning,
    has been removed.

    The array may be written to; changes stay in memory and do not reach the file.

    Raises:
        OSError: the file is there and cannot be read.
    """
    try:
        with path.open("rb") as file:
            try:
                check_stream(file, os.fstat(file.fileno()).st_size, name)
            except DamagedError:
                logger.warning("%s is damaged and will be made again", path)
                with suppress(OSError):  # the folder takes nothing: whoever makes it again says so
                    remove_opened(path, file)
                return None
            file.seek(0)
            return map_npy(file)
    except FileNotFoundError:
        return None
    except OSError as problem:
        reason = problem.strerror or problem
        raise OSError(f"cannot read {path} ({reason}): make it readable, or keep faces elsewhere") from problem


def map_npy(file: IO[bytes]) -> np.ndarray:
    """The array in an open ``.npy`` file, mapped copy on write; bytes behind it do not matter."""
    version = npy.read_magic(file)
    shape, _, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(file)
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.memmap(file, dtype, "c", file.tell(), shape)
