"""The seal of a file: a digest over all its bytes and its name, in a place where the file's format keeps comments.

Sealed files stay ordinary files of their format. The seal is a line of fixed length, a mark and 64 hex digits: in the
metadata of safetensors and Parquet, in the comment of a zip, as a member of a JSON object, behind the last byte of an
array. Content is made with a blank seal, whose digits are zeros; the digest is taken over the name and the content
with the blank in place, and written over the zeros. So every other byte counts, the name too: a file that was copied
to another's place does not match.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import IO, Any

_MARK = b"cloakbench sha256 "
_ZEROS = b"0" * 64
_CHUNK_BYTES = 1 << 22

BLANK = (_MARK + _ZEROS).decode()
"""What to put into content where the seal goes."""

Bytes = bytes | memoryview


class DamagedError(ValueError):
    """Content that was read is not what was written under its name."""


def seal(content: bytes, name: str) -> tuple[Bytes, ...]:
    """Content with a `BLANK` in it as a sealed file, in parts to be written one after the other.

    Raises:
        ValueError: there is no blank.
    """
    place = content.rfind(BLANK.encode())
    if place < 0:
        raise ValueError(f"{name}: there is no place for a seal")
    digits = place + len(_MARK)
    whole = memoryview(content)
    end = digits + len(_ZEROS)
    return whole[:digits], _digest(name, whole[:digits], whole[end:]).encode(), whole[end:]


def check_seal(content: bytes, name: str) -> None:
    """Hold a sealed file against its seal.

    Raises:
        DamagedError: it is not what was sealed under this name.
    """
    place = content.rfind(_MARK)
    if place < 0:
        raise DamagedError("it has no digest")
    digits = place + len(_MARK)
    whole = memoryview(content)
    end = digits + len(_ZEROS)
    if _digest(name, whole[:digits], whole[end:]).encode() != whole[digits:end]:
        raise DamagedError("it does not match its digest")


def sealed_stream(parts: Iterable[Bytes], name: str) -> Iterator[Bytes]:
    """Parts of a file whose format allows bytes behind the last, then its seal; never in memory as a whole."""
    digest = _begun(name)
    for part in parts:
        digest.update(part)
        yield part
    digest.update(_MARK)
    digest.update(_ZEROS)
    yield _MARK + digest.hexdigest().encode()


def check_stream(file: IO[bytes], size: int, name: str) -> None:
    """Read a file of ``size`` bytes that `sealed_stream` made from its start, and hold it against its seal.

    Raises:
        DamagedError: it is not what was sealed under this name.
    """
    left = size - len(BLANK)
    digest = _begun(name)
    while left > 0 and (part := file.read(min(_CHUNK_BYTES, left))):
        digest.update(part)
        left -= len(part)
    digest.update(_MARK)
    digest.update(_ZEROS)
    if left != 0 or file.read() != _MARK + digest.hexdigest().encode():
        raise DamagedError("it does not match its digest")


def sealed_json(value: Any, name: str, indent: int | None = 1) -> bytes:
    """A JSON value as a sealed file: an object with the seal and the value, in one line where ``indent`` is None."""
    text = unmarked(json.dumps(value, sort_keys=True, indent=indent))
    return b"".join(seal(f'{{"seal": "{BLANK}",\n "value": {text}}}'.encode(), name))


def unmarked(text: str) -> str:
    """JSON text of the same value in which no string looks like a seal."""
    return text.replace(_MARK.decode(), _MARK.decode().replace(" ", "\\u0020"))


def open_json(content: bytes, name: str) -> Any:
    """The value that `sealed_json` sealed.

    Raises:
        DamagedError: it is not what was sealed under this name.
    """
    check_seal(content, name)
    return json.loads(content)["value"]


def _begun(name: str) -> Any:
    return hashlib.sha256(f"{name}\n".encode())


def _digest(name: str, before: Bytes, after: Bytes) -> str:
    digest = _begun(name)
    digest.update(before)
    digest.update(_ZEROS)
    digest.update(after)
    return digest.hexdigest()
