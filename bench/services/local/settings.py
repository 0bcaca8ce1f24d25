"""`LocalSettings`: how the local service behaves: as slow, as strict and as unreliable as one wants it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from cloakbench.bench.core.ranges import SettingError, at_least, positive, share_below_one, whole
from cloakbench.models.mlaas.local import PICTURES
from cloakbench.models.pictures import PictureLimits

_MOST_DIGITS = 6


@dataclass(frozen=True)
class LocalSettings:
    """Settings of the local service.

    Attributes:
        score_digits: decimals of a score, 0 to 6; scores go from 0 to 100.
        smallest_face_px: shorter side of the smallest face that is found.
        file_bytes: the largest picture.
        largest_side_px: the longest side of a picture.
        latency_seconds: waited before each answer.
        calls_per_second: what is more is throttled; None for no limit.
        error_share: share of requests that fail, in [0, 1): throttled, with an error, or with a broken connection.
        most_calls: after so many the quota is used up; None for no limit.
        seed: names which requests fail.

    Raises:
        SettingError: a setting is out of range.
    """

    score_digits: int = 3
    smallest_face_px: float = 0.0
    file_bytes: int = PICTURES.file_bytes or 0
    largest_side_px: int = PICTURES.side_px[1]
    latency_seconds: float = 0.0
    calls_per_second: float | None = None
    error_share: float = 0.0
    most_calls: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if whole("score_digits", self.score_digits, 0) > _MOST_DIGITS:
            raise SettingError("score_digits", self.score_digits, f"a whole number from 0 to {_MOST_DIGITS}")
        at_least("smallest_face_px", self.smallest_face_px)
        whole("file_bytes", self.file_bytes)
        whole("largest_side_px", self.largest_side_px, PICTURES.side_px[0])
        at_least("latency_seconds", self.latency_seconds)
        share_below_one("error_share", self.error_share)
        if self.calls_per_second is not None:
            positive("calls_per_second", self.calls_per_second)
        if self.most_calls is not None:
            whole("most_calls", self.most_calls, 0)

    @property
    def pictures(self) -> PictureLimits:
        """Which pictures are taken."""
        sides = (PICTURES.side_px[0], self.largest_side_px)
        return replace(PICTURES, file_bytes=self.file_bytes, side_px=sides, face_px=self.smallest_face_px)

    def deciding(self) -> dict[str, Any]:
        """The settings that decide an answer, as plain values; the others decide when and whether it comes."""
        names = ("score_digits", "smallest_face_px", "file_bytes", "largest_side_px")
        return {name: value for name, value in asdict(self).items() if name in names}
