"""`FaceOperations`: what the local service does, in whatever shape it is asked: comparisons, galleries, attributes."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from cloakbench.bench.services.local.networks import FaceNetworks, KnownFace
from cloakbench.models.services import Match

SCALE = (0.0, 100.0)
"""Of scores: the cosine from -1 to 1."""


class NoSuchGalleryError(KeyError):
    """There is no gallery of that name."""


class FaceOperations:
    """The operations of the local service. May be used by several threads.

    Args:
        networks: that see faces.
        cosines: calibrated thresholds by false accept rate, as cosines; empty where nobody calibrated.
        score_digits: decimals of a score.
    """

    def __init__(self, networks: FaceNetworks, cosines: Mapping[float, float], score_digits: int) -> None:
        self._networks, self._digits = networks, score_digits
        self.thresholds = {far: self.score(cosine) for far, cosine in sorted(cosines.items(), reverse=True)}
        """Scores above which two faces count as one person, by false accept rate."""
        self._lock = threading.Lock()
        self._galleries: dict[str, dict[str, KnownFace]] = {}

    def score(self, cosine: float) -> float:
        """A cosine as a score from 0 to 100."""
        return round(min(SCALE[1], max(SCALE[0], 50 * (1 + cosine))), self._digits)

    def face(self, content: bytes) -> KnownFace | None:
        """The face in a picture.

        Raises:
            BadPictureError: the picture is not taken.
        """
        return self._networks.face(content)

    def seen_before(self, digest: str) -> KnownFace | None:
        """A face by the digest of its picture, while it is kept."""
        return self._networks.seen_before(digest)

    def compared(self, a: KnownFace, b: KnownFace) -> float:
        """The score of two faces."""
        return self.score(float(a.embedding @ b.embedding))

    def readings(self, face: KnownFace) -> dict[str, dict[str, Any]]:
        """Attributes of a face by name."""
        return self._networks.readings(face)

    @property
    def tells_attributes(self) -> bool:
        """Whether there is a network for them."""
        return self._networks.attribute_model is not None

    def found(self, gallery: str) -> bool:
        """Make a gallery; False where it was there, which changes nothing."""
        with self._lock:
            fresh = gallery not in self._galleries
            self._galleries.setdefault(gallery, {})
            return fresh

    def add(self, gallery: str, faces: Mapping[str, KnownFace]) -> None:
        """Put faces into a gallery by their handles; one that is there already stays as it is.

        Raises:
            NoSuchGalleryError: so it is.
        """
        with self._lock:
            self._in(gallery).update(faces)

    def search(self, gallery: str, face: KnownFace, k: int) -> tuple[Match, ...]:
        """The ``k`` most alike faces of a gallery, best first, by their handles.

        Raises:
            NoSuchGalleryError: so it is.
        """
        with self._lock:
            faces = dict(self._in(gallery))
        if not faces:
            return ()
        stacked: Tensor = torch.stack([one.embedding for one in faces.values()])
        cosines = (stacked * face.embedding).sum(dim=1)
        order = cosines.sort(descending=True, stable=True).indices[:k].tolist()
        handles = list(faces)
        return tuple(Match(handles[row], self.score(float(cosines[row]))) for row in order)

    def size(self, gallery: str) -> int:
        """How many faces a gallery has.

        Raises:
            NoSuchGalleryError: so it is.
        """
        with self._lock:
            return len(self._in(gallery))

    def forget(self, gallery: str) -> bool:
        """Delete a gallery; False where there was none."""
        with self._lock:
            return self._galleries.pop(gallery, None) is not None

    def galleries(self) -> tuple[str, ...]:
        """Names of the galleries, sorted."""
        with self._lock:
            return tuple(sorted(self._galleries))

    def _in(self, gallery: str) -> dict[str, KnownFace]:
        if gallery not in self._galleries:
            raise NoSuchGalleryError(gallery)
        return self._galleries[gallery]
