"""`Picture`: a photo as it is sent to a service, and `PictureLimits`: which pictures a service takes."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from PIL import Image
from torch import Tensor

PNG, JPEG = "png", "jpeg"


@dataclass(frozen=True)
class Picture:
    """A photo in a file format.

    Attributes:
        content: the file.
        kind: its format, `PNG` or `JPEG`.
        width_px, height_px: its sides.
        digest: of its pixels and format, so that another version of the encoder makes no other picture.
        face_px: the shorter side of the face in it, where that is known.
    """

    content: bytes
    kind: str
    width_px: int
    height_px: int
    digest: str
    face_px: float | None = None

    @classmethod
    def of(cls, pixels: Tensor, kind: str = PNG, face_px: float | None = None) -> Picture:
        """A picture of uint8 RGB pixels ``[3, H, W]``; PNG keeps each of them."""
        array = pixels.permute(1, 2, 0).contiguous().numpy()
        height, width = array.shape[:2]
        file = io.BytesIO()
        Image.fromarray(array).save(file, kind)
        digest = hashlib.sha256(f"{kind} {width} {height}\n".encode() + array.tobytes()).hexdigest()
        return cls(file.getvalue(), kind, width, height, digest, face_px)

    def base64(self) -> str:
        """The file as text."""
        return base64.b64encode(self.content).decode()


@dataclass(frozen=True)
class PictureLimits:
    """Which pictures a service takes.

    Attributes:
        kinds: formats.
        least_bytes, file_bytes: the smallest and the largest file.
        base64_bytes: the largest file as base64, where the service counts that.
        request_bytes: the largest request, with every picture in it.
        side_px: smallest and largest side.
        frame_px: width and height that a picture has to fit into, where there is such a frame.
        face_px: shorter side of the smallest face.
        operation_face_px: the same for operations that differ.
    """

    kinds: Collection[str] = (PNG, JPEG)
    least_bytes: int = 0
    file_bytes: int | None = None
    base64_bytes: int | None = None
    request_bytes: int | None = None
    side_px: tuple[int, int] = (1, 1 << 15)
    frame_px: tuple[int, int] | None = None
    face_px: float = 0.0
    operation_face_px: Mapping[str, float] = field(default_factory=dict, hash=False)

    def smallest_face_px(self, operation: str) -> float:
        """Shorter side of the smallest face that an operation takes."""
        return self.operation_face_px.get(operation, self.face_px)

    def refusal(self, picture: Picture, operation: str = "") -> str:
        """Why a picture is not taken, in words; empty when it is."""
        short, long = sorted((picture.width_px, picture.height_px))
        size = f"{picture.width_px}x{picture.height_px}"
        encoded = -(-len(picture.content) // 3) * 4
        face = picture.face_px
        wide, high = self.frame_px or (long, long)
        least = self.smallest_face_px(operation)
        checks = (
            (picture.kind in self.kinds, f"it is {picture.kind}, not {' or '.join(self.kinds)}"),
            (
                len(picture.content) >= self.least_bytes,
                f"it has {len(picture.content)} bytes, at least {self.least_bytes} are taken",
            ),
            (
                _within(len(picture.content), self.file_bytes),
                f"it has {len(picture.content)} bytes, at most {self.file_bytes} are taken",
            ),
            (
                _within(encoded, self.base64_bytes),
                f"it has {encoded} bytes as base64, at most {self.base64_bytes} are taken",
            ),
            (
                self.side_px[0] <= short and long <= self.side_px[1],
                f"it has {size} pixels, sides are from {self.side_px[0]} to {self.side_px[1]}",
            ),
            (
                picture.width_px <= wide and picture.height_px <= high,
                f"it has {size} pixels, at most {wide}x{high} are taken",
            ),
            (face is None or face >= least, f"its face has {face or 0:.0f} pixels, the smallest is {least:.0f}"),
        )
        return next((why for holds, why in checks if not holds), "")


def _within(size: int, most: int | None) -> bool:
    return most is None or size <= most
