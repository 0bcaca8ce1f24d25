"""`KeyFolder`: the keys of protected copies, and what their owner must know to use them; for nobody else to read.

``FOLDER/NAME.json`` tells of the copy ``NAME``: the method and its settings, the size of the photo, where its crops
lie, and which key belongs to it. ``FOLDER/keys/DIGEST.safetensors`` holds the keys themselves, one file for all photos
that share one. Files have mode 0600 and their folders 0700. They are read as data: of a method only its name and its
settings are kept, and what that name means is said by the configs of whoever recovers.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.protect.owned_files import content_of, obstacle, write_whole
from cloakbench.datasets.alignment import warp
from cloakbench.methods.base import Protector

SCHEMA = "cloakbench keys 1"
_GLANCE_PX = 8
_SAME_LEVELS = 6.0
"""Mean difference of two glances, in grey levels, up to which a file was made from the copy that a key is for: saving
it as JPEG of quality 50 moves them by less than one."""


class KeyFileError(ValueError):
    """A key file is not there, damaged, or not for this photo; one line."""


@dataclass(frozen=True)
class KeyNote:
    """What is known of the key of one copy.

    Attributes:
        photo: name of the photo that it was made from.
        method: name of the method.
        settings: its settings, without what builds it.
        height, width: of the photo.
        side: of its crops.
        matrices: of each face the similarity from photo to crop coordinates, ``[2][3]``.
        scope: of the method: whether all crops share the key of their owner.
        key: digest that names the file of the keys.
        file_sha256: of the copy as it was written.
        glance: what the first crop of the copy looks like from far away; says nothing that the copy does not.
        psnr_db: of the photo recovered from that file against the original, over the pixels of the faces; None where
            they are equal.
    """

    photo: str
    method: str
    settings: Mapping[str, Any]
    height: int
    width: int
    side: int
    matrices: Sequence[Sequence[Sequence[float]]]
    scope: str
    key: str
    file_sha256: str
    glance: Sequence[float]
    psnr_db: float | None

    @property
    def similarities(self) -> Tensor:
        """``matrices`` as float64 ``[F, 2, 3]``."""
        return torch.tensor(self.matrices, dtype=torch.float64)

    def looks_like(self, photo: Tensor) -> bool:
        """Whether a photo of that size, uint8 ``[3, H, W]``, can be the copy, be it saved again."""
        seen = torch.tensor(glance(photo, self.similarities[0], self.side))
        return float((seen - torch.tensor(self.glance)).abs().mean()) <= _SAME_LEVELS


def glance(photo: Tensor, matrix: Tensor, side: int) -> list[float]:
    """The mean colours of 8 x 8 parts of a crop, in grey levels."""
    coarse = adaptive_avg_pool2d(warp(photo, matrix, side).float(), _GLANCE_PX)
    return [round(value, 1) for value in coarse.flatten().tolist()]


class KeyFolder:
    """A folder of keys.

    Args:
        folder: made when something is put into it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put_keys(self, keys: Mapping[str, Tensor]) -> str:
        """Keep keys, unless they are kept already; returns their digest.

        Raises:
            ConfigError: the folder cannot be written to.
        """
        content = save({name: tensor.cpu().contiguous() for name, tensor in keys.items()})
        digest = hashlib.sha256(content).hexdigest()[:32]
        self._write(Path("keys", f"{digest}.safetensors"), content)
        return digest

    def put(self, name: str, note: KeyNote) -> None:
        """Keep what is known of the key of a copy called ``name``.

        Raises:
            ConfigError: the folder cannot be written to.
        """
        told = {"schema": SCHEMA, **asdict(note)}
        self._write(_inner(name), (json.dumps(told, allow_nan=False, indent=1) + "\n").encode())

    def has(self, name: str, file_sha256: str = "") -> bool:
        """Whether the note and the key of a copy are there, of that very file where its digest is given."""
        try:
            note = self.note(name)
            self.keys(note)
        except KeyFileError:
            return False
        return file_sha256 in ("", note.file_sha256)

    def note(self, name: str) -> KeyNote:
        """What is known of the key of a copy.

        Raises:
            KeyFileError: there is no such key, or what is known of it is not enough.
        """
        content = content_of(self.folder / _inner(name))
        if content is None:
            raise KeyFileError(f"{self.folder} has no key of it: name the folder that protecting it wrote")
        try:
            told = json.loads(content)
            if not isinstance(told, dict) or told.pop("schema", None) != SCHEMA:
                raise KeyFileError(f"{_inner(name)} in {self.folder} is no key file of this version")
            if not told.get("matrices"):
                raise KeyFileError(
                    f"{_inner(name)} in {self.folder} does not say where its crops lie: protect the photo again"
                )
            note = KeyNote(**told)
            if note.similarities.shape[1:] != (2, 3):
                raise TypeError
        except KeyFileError:
            raise
        except (ValueError, TypeError) as problem:
            raise KeyFileError(f"{_inner(name)} in {self.folder} is damaged: protect the photo again") from problem
        return note

    def keys(self, note: KeyNote) -> dict[str, Tensor]:
        """The keys of a copy.

        Raises:
            KeyFileError: they are gone or damaged.
        """
        inner = Path("keys", f"{Path(note.key).name}.safetensors")
        content = content_of(self.folder / inner)
        if content is None:
            raise KeyFileError(f"{inner} is not in {self.folder}: without it the photo stays as it is")
        if hashlib.sha256(content).hexdigest()[:32] != note.key:
            raise KeyFileError(f"{inner} in {self.folder} is damaged: put back a copy, or protect the photo again")
        try:
            return load(content)
        except SafetensorError as problem:
            raise KeyFileError(f"{inner} in {self.folder} holds no keys") from problem

    def open_to_others(self) -> list[str]:
        """Names of files in it that others than their owner may read."""
        found = [path for path in sorted(self.folder.rglob("*")) if path.suffix in (".json", ".safetensors")]
        return [str(path.relative_to(self.folder)) for path in found if path.is_file() and path.stat().st_mode & 0o077]

    def _write(self, inner: Path, content: bytes) -> None:
        if hindrance := obstacle(self.folder, inner):
            raise ConfigError(hindrance.replace("the output folder", f"keys={self.folder}"))
        place = self.folder / inner
        if content_of(place) == content:
            place.chmod(0o600)
            return
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            for part in reversed(inner.parents):
                (self.folder / part).mkdir(mode=0o700, exist_ok=True)
            write_whole(place, content, self.folder / f".writing-{os.getpid()}-{secrets.token_hex(8)}", 0o600)
        except OSError as problem:
            reason = problem.strerror or str(problem)
            raise ConfigError(f"cannot write keys to {self.folder} ({reason}): choose another keys=FOLDER") from problem


def _inner(name: str) -> Path:
    """Where the note of a copy lies: below the folder, whatever the copy is called."""
    path = Path(name)
    return path.with_name(f"{path.name}.json")


def without_targets(settings: Any) -> Any:
    """Settings without what builds them, which key files do not say."""
    if isinstance(settings, Mapping):
        return {str(name): without_targets(value) for name, value in settings.items() if not str(name).startswith("_")}
    return [without_targets(one) for one in settings] if isinstance(settings, list | tuple) else settings


def check_keys(protector: Protector, method: str, keys: Path | None, published: Mapping[str, Path]) -> None:
    """Refuse photos that could never come back, and keys where they would be published.

    Args:
        protector: the method.
        method: its name.
        keys: the folder for them, or None.
        published: setting to a folder that may be.

    Raises:
        ConfigError: so it is; one line.
    """
    if keys is None:
        if protector.recoverable:
            raise ConfigError(
                f"{method} gives photos back to whoever has its keys: name a folder for them, apart from what is "
                "published, with keys=FOLDER"
            )
        return
    if not protector.recoverable:
        raise ConfigError(f"{_refusal(protector)}: leave keys out, or choose another method")
    for name, folder in published.items():
        if Path(os.path.realpath(keys)).is_relative_to(os.path.realpath(folder)):
            raise ConfigError(f"keys={keys} lies in {name}={folder}, which may be published: choose another folder")


def _refusal(protector: Protector) -> str:
    """Why a method gives no photo back, in its own words."""
    try:
        protector.recover(torch.zeros(0, 3, 1, 1), {}, torch.zeros(0, dtype=torch.long))
    except NotImplementedError as reason:
        return str(reason)
    except (LookupError, ValueError):  # it would, with keys
        pass
    return f"{protector.name} gives no photo back"
