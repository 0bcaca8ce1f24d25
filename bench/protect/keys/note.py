"""`KeyNote`: what the owner of a copy must know to use its key, sealed so that a note that was changed is noticed.

A copy that was saved again has other bytes than the one that was written, and so have copies of another photo, with
another key, or at another alpha. The note keeps a small grey picture of the copy, `glance`, which tells them apart:
saving as JPEG leaves it about as it is; with another key its grain is another; and where the copy shows more of the
photo, it differs from the noted one by a share of what recovery takes away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from cloakbench.bench.core.files.seal import DamagedError, open_json, sealed_json
from cloakbench.datasets.alignment import warp

SCHEMA = "cloakbench keys 1"
_SEAL = "key note"
_GLANCE_PX = 28
_BACK_PX = 4


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
        glance: the first crop of the copy in 28 x 28 grey levels; says nothing that the copy does not.
        back: the same crop of the photo recovered from that file in 4 x 4 grey levels.
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
    glance: str
    back: str
    psnr_db: float | None

    @classmethod
    def opened(cls, content: bytes) -> KeyNote:
        """The note in a file.

        Raises:
            KeyFileError: it is of another version, damaged, or does not say enough; words that follow the file's name.
        """
        try:
            told = open_json(content, _SEAL)
        except (DamagedError, ValueError, KeyError, TypeError) as problem:
            raise KeyFileError("is damaged, or was changed: put back a copy of it") from problem
        if not isinstance(told, dict) or told.pop("schema", None) != SCHEMA:
            raise KeyFileError("is no key file of this version")
        if not told.get("matrices"):
            raise KeyFileError("does not say where its crops lie: protect the photo again")
        try:
            note = cls(**told)
            sizes = len(_levels(note.glance)), len(_levels(note.back)), *note.similarities.shape[1:]
            if sizes != (_GLANCE_PX**2, _BACK_PX**2, 2, 3):
                raise TypeError
        except (ValueError, TypeError) as problem:
            raise KeyFileError("is no key file of this version") from problem
        return note

    @property
    def content(self) -> bytes:
        """The file that `opened` reads."""
        return sealed_json({"schema": SCHEMA, **asdict(self)}, _SEAL)

    @property
    def similarities(self) -> Tensor:
        """``matrices`` as float64 ``[F, 2, 3]``."""
        return torch.tensor(self.matrices, dtype=torch.float64)

    def likeness(self, photo: Tensor) -> float:
        """Correlation of a photo of that size, uint8 ``[3, H, W]``, with the copy, as far as its glance tells."""
        pair = torch.stack([self._seen(photo), _levels(self.glance)])
        return float(torch.nan_to_num(torch.corrcoef(pair)[0, 1]))

    def shown_more(self, photo: Tensor, back: Tensor) -> float:
        """How much more of the original a photo shows than the copy, as a share of what recovery changed in it; below
        0 for less. Brightness counts nothing.

        Args:
            photo: in place of the copy, uint8 ``[3, H, W]``.
            back: recovered from it.
        """
        seen = self._seen(photo)
        change, towards = (one - one.mean() for one in (seen - _levels(self.glance), self._seen(back) - seen))
        return float(change @ towards / (towards @ towards).clamp(min=1))

    def gives(self, back: Tensor) -> bool:
        """Whether that is what came back when the copy was written, but for what another device rounds otherwise."""
        seen = _levels(glance(back, self.similarities[0], self.side, _BACK_PX))
        return bool((seen - _levels(self.back)).abs().max() <= 1)

    def _seen(self, photo: Tensor) -> Tensor:
        return _levels(glance(photo, self.similarities[0], self.side))


def glances(copy: Tensor, back: Tensor, matrix: Tensor, side: int) -> dict[str, str]:
    """``glance`` and ``back`` of a note.

    Args:
        copy, back: as it was written and the photo recovered from it, uint8 ``[3, H, W]``.
        matrix: of the first face.
        side: of its crop.
    """
    return {"glance": glance(copy, matrix, side), "back": glance(back, matrix, side, _BACK_PX)}


def glance(photo: Tensor, matrix: Tensor, side: int, parts: int = _GLANCE_PX) -> str:
    """The mean grey levels of so many parts of a crop in each direction, two hex digits each."""
    grey = warp(photo, matrix, side).float().mean(dim=0, keepdim=True)
    return bytes(adaptive_avg_pool2d(grey, parts).round().to(torch.uint8).flatten().tolist()).hex()


def _levels(digits: str) -> Tensor:
    return torch.tensor(list(bytes.fromhex(digits)), dtype=torch.float64)


def without_targets(settings: Any) -> Any:
    """Settings without what builds them, which key files do not say."""
    if isinstance(settings, Mapping):
        return {str(name): without_targets(value) for name, value in settings.items() if not str(name).startswith("_")}
    return [without_targets(one) for one in settings] if isinstance(settings, list | tuple) else settings
