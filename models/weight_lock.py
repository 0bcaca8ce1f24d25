"""Trust on first use, for weight files whose publisher gives no digest.

``weights.lock.json`` beside the weights (or in torch's hub folder, where theirs cannot be written to) maps a file name
to the sha256 it had when it was first used. A file with other bytes is refused from then on: results of one name come
from one file. To accept another file, delete its line.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

import torch

from cloakbench.bench.core.files.file_lock import exclusive
from cloakbench.bench.core.files.regular_file import read_regular
from cloakbench.bench.core.files.whole_file import whole_file

LOCK_NAME = "weights.lock.json"

_ABOUT = "about"
_ABOUT_TEXT = "sha256 of weight files when they were first used; delete a line to accept another file"

log = logging.getLogger(__name__)


class WeightChangedError(ValueError):
    """A file is not the one that was used first."""


def hub_folder() -> Path:
    """Where files lie that name no folder of their own."""
    return Path(torch.hub.get_dir()) / "cloakbench"


def keep_first(path: Path, sha256: str) -> None:
    """Records the digest of ``path``, or compares it with the recorded one; safe under several processes.

    Raises:
        WeightChangedError: the file was another one at first, or the record cannot be read.
    """
    beside = path.parent / LOCK_NAME
    if os.access(path.parent, os.W_OK):
        _record(beside, path.name, path, sha256)
    elif path.name in (known := _read(beside)):  # copied together with the weights
        _compare(beside, path.name, known, path, sha256)
    else:
        hub_folder().mkdir(parents=True, exist_ok=True)
        _record(hub_folder() / LOCK_NAME, str(path.resolve()), path, sha256)


def _record(lock: Path, entry: str, path: Path, sha256: str) -> None:
    if _compare(lock, entry, _read(lock), path, sha256):
        return
    with exclusive(lock.with_name(f"{lock.name}.lock"), f"writing {lock}"):
        known = _read(lock)
        if not _compare(lock, entry, known, path, sha256):
            _write(lock, {**known, entry: sha256})
            log.info("%s has no published digest: sha256 %s is kept in %s", path.name, sha256[:12], lock)


def _compare(lock: Path, entry: str, known: Mapping[str, str], path: Path, sha256: str) -> bool:
    """Whether the file is the recorded one; False when there is no record."""
    first = known.get(entry)
    if first is not None and first != sha256:
        raise WeightChangedError(
            f"{path} has sha256 {sha256[:12]}..., and had {first[:12]}... when it was first used: put the first file "
            f'back, or delete the line "{entry}" from {lock} to accept this one'
        )
    return first is not None


def _read(lock: Path) -> dict[str, str]:
    try:
        known = json.loads(read_regular(lock))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise WeightChangedError(f"{lock} is not readable as JSON ({error}): mend it, or delete it") from error
    if not isinstance(known, dict) or not all(isinstance(digest, str) for digest in known.values()):
        raise WeightChangedError(f"{lock} is no list of digests by file name: mend it, or delete it")
    return {name: digest for name, digest in known.items() if name != _ABOUT}


def _write(lock: Path, known: Mapping[str, str]) -> None:
    # The last line is never an entry, so that deleting a line by hand leaves valid JSON.
    text = json.dumps({**dict(sorted(known.items())), _ABOUT: _ABOUT_TEXT}, indent=2)
    with whole_file(lock) as file:
        file.write(f"{text}\n".encode())
