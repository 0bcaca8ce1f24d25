"""Unpacking archives that came from elsewhere: plain files and folders below one folder, nothing else, and all or none.

An archive is unpacked into a hidden folder beside its destination first; what it holds moves into place only when every
byte was read, so that a process that is killed leaves no folder that looks whole. The hidden folder of an unpacking
that was interrupted is thrown away by the next one. One process at a time may unpack into a folder.
"""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from gzip import BadGzipFile
from lzma import LZMAError
from pathlib import Path, PurePosixPath, PureWindowsPath

from cloakbench.bench.core.files.regular_file import NotRegularError, require_regular
from cloakbench.datasets.photos import DatasetError

_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, BadGzipFile, zlib.error, LZMAError, EOFError, NotImplementedError)
_CHUNK_BYTES = 1 << 20


class ArchiveError(DatasetError):
    """An archive is damaged or holds what no archive of photos should; one line that says what."""


def unfinished(archive: Path, folder: Path) -> bool:
    """Whether an unpacking of ``archive`` into ``folder`` was interrupted, so that what lies there may be partial."""
    return _staging(archive, folder).exists()


def unpack(archive: Path, folder: Path, most_bytes: int) -> None:
    """Unpacks a tar (of any compression) or zip file into ``folder``; what has the same name there is replaced.

    Args:
        archive: the file.
        folder: where its members go; made if need be.
        most_bytes: the most that the members may take together.

    Raises:
        ArchiveError: the archive is damaged or too large, or a member is a link, a device or lies outside ``folder``.
            Nothing has changed in ``folder``.
        OSError: the disk is full or not writable.
    """
    try:
        require_regular(archive)
    except NotRegularError as error:
        raise ArchiveError(f"{archive}: {error.strerror}: put the archive itself there") from error
    staging = _staging(archive, folder)
    if staging.exists():
        shutil.rmtree(staging)
    staging.mkdir(parents=True)
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, staging, most_bytes)
        else:
            _unpack_tar(archive, staging, most_bytes)
    except _DAMAGED as error:
        shutil.rmtree(staging)
        raise ArchiveError(
            f"{archive} is damaged ({' '.join(str(error).split())}): delete it and fetch it again"
        ) from error
    except BaseException:
        shutil.rmtree(staging)
        raise
    for source in sorted(staging.iterdir()):
        _move(source, folder / source.name)
    staging.rmdir()


def _staging(archive: Path, folder: Path) -> Path:
    return folder / f".{archive.name}.unpacking"


def _move(source: Path, target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    source.replace(target)


def _unpack_tar(archive: Path, folder: Path, most_bytes: int) -> None:
    taken = 0
    with tarfile.open(archive) as file:
        for member in file:
            if not (member.isreg() or member.isdir()) or member.issparse():
                raise ArchiveError(
                    f"{archive}: {member.name!r} is neither a plain file nor a folder; nothing was unpacked"
                )
            _check_name(archive, member.name)
            taken += member.size
            _check_size(archive, taken, most_bytes)
            file.extract(member, folder, filter="data")
        _check_end(file)


def _check_end(file: tarfile.TarFile) -> None:
    """The end mark is there and the checksum of the compressed stream is right; tarfile looks at neither.

    Raises:
        tarfile.ReadError, zlib.error, EOFError, OSError: they are not.
    """
    stream = file.fileobj
    assert stream is not None
    stream.seek(file.offset)
    if stream.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it is cut off")
    while stream.read(_CHUNK_BYTES):
        pass


def _unpack_zip(archive: Path, folder: Path, most_bytes: int) -> None:
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        _check_size(archive, sum(member.file_size for member in members), most_bytes)
        for member in members:
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or member.flag_bits & 1:
                reason = "encrypted" if member.flag_bits & 1 else "neither a plain file nor a folder"
                raise ArchiveError(f"{archive}: {member.filename!r} is {reason}; nothing was unpacked")
            _check_name(archive, member.filename)
        for member in members:  # each is read up to the size announced for it, and its checksum compared
            file.extract(member, folder)


def _check_name(archive: Path, name: str) -> None:
    """A path that stays below the folder on every system."""
    parts: Iterable[str] = PureWindowsPath(name).parts
    outside = PurePosixPath(name).is_absolute() or PureWindowsPath(name).drive or PureWindowsPath(name).root
    if outside or ".." in parts or "\0" in name:
        raise ArchiveError(f"{archive}: {name!r} would be written outside the folder; nothing was unpacked")


def _check_size(archive: Path, taken: int, most_bytes: int) -> None:
    if taken > most_bytes:
        raise ArchiveError(
            f"{archive} holds more than {most_bytes / 2**30:.3g} GiB, which is more than there should be; nothing was "
            "unpacked"
        )
