"""`SideCache`: what is small and slow to find out, kept in a person's cache folder.

Keys hold all that a value depends on. Never part of a result: where the file is missing, damaged or cannot be written,
things are found out again. The folder is ``CLOAKBENCH_CACHE``, or ``cloakbench`` in the cache folder of the system
(``XDG_CACHE_HOME``, ``~/.cache``).
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from cloakbench.bench.core.files.seal import DamagedError, open_json, sealed_json
from cloakbench.bench.core.files.whole_file import whole_file

_FORMAT = 1
"""Of the files; one of another format is as good as none."""
_OWN = ("bench", "conf", "datasets", "methods", "models")
_SOURCES = (".py", ".yaml")


class SideCache:
    """Values of one kind by key, plain JSON. The first question reads the file; `save` adds to it what is new.

    Args:
        kind: what the values are; names the file.
        most: values that are kept; of more, the oldest go.
    """

    def __init__(self, kind: str, most: int = 4096) -> None:
        self._kind, self._most = kind, most
        self._name = f"{kind} {_FORMAT}"
        self._known: dict[str, str] | None = None
        self._new: dict[str, str] = {}

    def get(self, key: str) -> Any:
        """The value of a key, None where it is not known."""
        if self._known is None:
            self._known = self._read()
        text = self._new.get(key, self._known.get(key))
        return None if text is None else json.loads(text)

    def put(self, key: str, value: Any) -> None:
        """Take a value in; other processes see it after `save`."""
        self._new[key] = json.dumps(value)  # as text, which keeps the order of keys

    def save(self) -> None:
        """Write what is new, beside what others have written meanwhile; of two at once, one may lose its news."""
        if not self._new:
            return
        self._known = dict([*self._read().items(), *self._new.items()][-self._most :])
        self._new = {}
        with suppress(OSError, RuntimeError), whole_file(self._path, durable=False) as file:
            file.write(sealed_json(list(self._known.items()), self._name))

    @property
    def _path(self) -> Path:
        return folder() / f"{self._kind}.json"

    def _read(self) -> dict[str, str]:
        try:
            return dict(open_json(self._path.read_bytes(), self._name))
        except (OSError, RuntimeError, DamagedError):  # RuntimeError: nobody knows where home is
            return {}


def folder() -> Path:
    """Where side caches lie; not made here."""
    if own := os.environ.get("CLOAKBENCH_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "cloakbench"


def key_of(*parts: object) -> str:
    """A key that holds all its parts."""
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]


@cache
def project_digest() -> str:
    """sha256 over every source and config of this project, for what may depend on any of them."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for top in _OWN:
        for path in sorted((root / top).rglob("*")):
            if path.suffix in _SOURCES:
                digest.update(f"{path.relative_to(root)}\n".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
