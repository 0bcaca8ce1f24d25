"""Formats of files that lie where weights should be: pages, pointers, texts, archives, told by their content.

Nothing is interpreted here but a few leading bytes, the table of a zip file, and small JSON texts.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

from cloakbench.bench.core.files.regular_file import FOLDER, other_than_file

_PAGE_STARTS = (b"<!doctype", b"<html", b"<head", b"<body", b"<?xml", b"<!--", b"<script", b"<error")
_LFS_START = b"version https://git-lfs"
_UNPACK = "unpack it first"
_OTHER = {
    b"\x1f\x8b": ("packed with gzip", _UNPACK),
    b"BZh": ("packed with bzip2", _UNPACK),
    b"\xfd7zXZ\x00": ("packed with xz", _UNPACK),
    b"\x28\xb5\x2f\xfd": ("packed with zstd", _UNPACK),
    b"7z\xbc\xaf'\x1c": ("a 7z archive", _UNPACK),
    b"Rar!": ("a RAR archive", _UNPACK),
    b"ustar": ("a tar archive", f"{_UNPACK}, or let the torch before 0.2 that wrote it save it again"),
    b"\x89HDF": ("an HDF5 file, as Keras writes them", "convert it to PyTorch or ONNX"),
    b"\x93NUMPY": ("one numpy array", "save all parameters by name (numpy.savez)"),
    b"%PDF": ("a PDF document", ""),
    b"\x89PNG": ("a picture", ""),
    b"\xff\xd8\xff": ("a picture", ""),
}
_TAR_OFFSET = 257  # of the name of the format
_HEAD_BYTES = 1024
_JSON_BYTES = 1 << 24
_WEIGHT_SUFFIXES = frozenset({".bin", ".ckpt", ".npz", ".onnx", ".params", ".pt", ".pth", ".safetensors"})
_FETCH = "fetch the file itself"


def page_or_pointer(path: Path) -> str | None:
    """``a web page`` or ``a Git LFS pointer``, which servers give in place of a file; None for anything else."""
    text = _start(path)
    if text.startswith(_PAGE_STARTS):
        return "a web page"
    return "a Git LFS pointer" if text.startswith(_LFS_START) else None


def not_regular(path: Path) -> str | None:
    """What a path is that is no regular file, and what to do; None for a regular file. Links are followed.

    Raises:
        OSError: there is nothing, or it may not be looked at.
    """
    what = other_than_file(path.stat())
    if what == FOLDER:
        inside = sorted(entry.name for entry in os.scandir(path) if Path(entry.name).suffix in _WEIGHT_SUFFIXES)
        there = f" (there is {listed(inside)})" if inside else ""
        return f"{what}: name the weight file in it{there}"
    return what and f"{what}: name a file"


def not_weights(path: Path) -> str | None:
    """What a regular file is that holds no weights, and what to do, as ``WHAT, not weights: REMEDY``.

    None for everything that may hold weights. A JSON text passes where it is asked for by its name.
    """
    head = _head(path)
    kind = page_or_pointer(path)
    if kind == "a web page":
        return f"{kind}, not weights: {_FETCH}"
    if kind is not None:
        return f"{kind}, not weights: run git lfs pull where it was cloned, or {_FETCH}"
    for start, (what, remedy) in _OTHER.items():
        if head[_TAR_OFFSET if start == b"ustar" else 0 :].startswith(start):
            return f"{what}, not weights: {remedy or _FETCH}"
    if head.startswith(b"PK"):
        return _odd_zip(path)
    return None if path.suffix == ".json" else _json_text(path, head)


def plain_text(path: Path) -> str | None:
    """What a file is that holds words where tensors should be; binary formats have bytes that no text has."""
    head = _head(path)
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return None
        text = head[: error.start].decode("utf-8")
    if len(text) < 8 or any(ord(sign) < 32 and sign not in "\t\n\r\f" for sign in text):
        return None
    return f"a text that begins {printable(text.strip(), 40)!r}, not weights: fetch it again"


def is_torch_script(path: Path) -> bool:
    """Whether a file is a zip archive as ``torch.jit.save`` writes it."""
    return zipfile.is_zipfile(path) and any(name.split("/")[-1] == "constants.pkl" for name in _names(path))


def is_npz(path: Path) -> bool:
    """Whether a file is a zip archive of numpy arrays."""
    names = _names(path) if zipfile.is_zipfile(path) else []
    return bool(names) and all(name.endswith(".npy") for name in names)


def is_zip(path: Path) -> bool:
    """Whether a file begins as zip archives do, whole or not."""
    return _head(path).startswith(b"PK")


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: the length of a JSON header, then the header."""
    head = _head(path)
    length = int.from_bytes(head[:8], "little")
    return len(head) > 8 and head[8:9] == b"{" and 2 <= length < 100_000_000


def listed(names: list[str], limit: int = 3) -> str:
    """The first names of a list, and how many more there are; control characters cannot reach a terminal."""
    shown = ", ".join(printable(name) for name in names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown


def printable(text: str, limit: int = 80) -> str:
    """Text of a stranger's file on one line."""
    plain = "".join(sign if sign.isprintable() else " " for sign in text)
    return plain if len(plain) <= limit else f"{plain[:limit]}..."


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _start(path: Path) -> bytes:
    return _head(path).removeprefix(b"\xef\xbb\xbf").lstrip().lower()


def _names(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as packed:
            return [item.filename for item in packed.infolist() if not item.is_dir()]
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return []


def _odd_zip(path: Path) -> str | None:
    """A zip file that neither torch nor numpy wrote; None for theirs."""
    if not zipfile.is_zipfile(path):
        return "cut off (a zip archive without its end): fetch it again"
    names = _names(path)
    if any(name.split("/")[-1] == "data.pkl" for name in names) or (names and all(n.endswith(".npy") for n in names)):
        return None
    return f"a zip archive of {listed(names)}, not weights: unpack it and name the weight file in it"


def _json_text(path: Path, head: bytes) -> str | None:
    if head.lstrip()[:1] not in (b"{", b"[") or path.stat().st_size > _JSON_BYTES:
        return None
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    if isinstance(value, Mapping) and isinstance(value.get("weight_map"), Mapping):
        parts = sorted({str(part) for part in value["weight_map"].values()})
        return (
            f"the index of weights in {len(parts)} files, not weights: join {listed(parts)} into one file "
            "(safetensors.torch.load_file and save_file) and name that"
        )
    words = [value[key] for key in ("error", "message", "detail") if isinstance(value, Mapping) and key in value]
    said = f" that says {printable(str(words[0]))!r}" if words else ""
    return f"a JSON text{said}, not weights: {_FETCH}"
