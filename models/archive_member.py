"""One file out of a zip or tar archive. Its name in the archive is looked up and never used as a path."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

_CHUNK_BYTES = 1 << 20


class MemberError(ValueError):
    """There is no such file in the archive, or the archive is damaged."""


def extract_member(archive: Path, member: str, target: Path) -> None:
    """Writes the file called ``member`` in ``archive`` to ``target``.

    Args:
        archive: a zip file, or a tar file, compressed or not, whatever its name.
        member: name in the archive, with ``/`` between folders.
        target: replaced when it exists.

    Raises:
        MemberError: neither zip nor tar, damaged, encrypted, without such a member, or the member is no regular file.
    """
    try:
        with _opened(archive, member) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError) as error:
        raise MemberError(f"a damaged archive ({error})") from error
    except OSError as error:
        if error.errno is not None:  # the disk, not the archive: gzip and bz2 raise their own without a number
            raise
        raise MemberError(f"a damaged archive ({error})") from error
    except (RuntimeError, NotImplementedError) as error:  # zipfile: encrypted, or an unknown compression
        raise MemberError(f"an archive that cannot be read ({error})") from error


@contextmanager
def _opened(archive: Path, member: str) -> Iterator[IO[bytes]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            name = _matching(member, [item.filename for item in packed.infolist() if not item.is_dir()])
            with packed.open(name) as source:
                yield source
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as packed:
            # Links are left out: one may lead to a file outside the archive.
            name = _matching(member, [item.name for item in packed.getmembers() if item.isreg()])
            source = packed.extractfile(name)
            assert source is not None
            with source:
                yield source
            while packed.fileobj is not None and packed.fileobj.read(_CHUNK_BYTES):
                pass  # gzip and xz compare their checksums at the end
    else:
        raise MemberError("neither a zip nor a tar archive")


def _matching(member: str, names: list[str]) -> str:
    """The name that spells ``member``; ``./a/b`` and ``a/b`` are the same."""
    wanted = PurePosixPath(member)
    for name in names:
        if PurePosixPath(name) == wanted:
            return name
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    raise MemberError(f"no file {member!r} in the archive (there are: {listed or 'none'})")
