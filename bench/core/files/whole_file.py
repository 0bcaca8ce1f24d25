"""Files that are whole or absent: written under a temporary name beside their place and renamed into it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def whole_file(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """A file to write to, which takes the place of ``path`` when the block ends well and is removed when it does not.

    Readers see the old file or the new one. Of several writers of one path the last wins. Missing folders are made, and
    everybody may read the file, as folders of data are often shared.

    Args:
        path: where the file goes.
        durable: force the bytes to disk first. Without it a power cut may leave an empty file: for content that is
            checked when it is read.

    Raises:
        OSError: the disk is full or the folder cannot be written to; ``path`` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # temporary files are private
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
