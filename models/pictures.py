"""`Picture`: a photo as it is sent to a service, and `PictureLimits`: which pictures a service takes."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Collection
from dataclasses import dataclass

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
        file_bytes: the largest file.
        base64_bytes: the largest file as base64, where the service counts that.
        request_bytes: the largest request, with every picture in it.
        side_px: smallest and largest side.
        frame_px: width and height that a picture has to fit into, where there is such a frame.
        face_px: shorter side of the smallest face.
    """

    kinds: Collection[str] = (PNG, JPEG)
    file_bytes: int | None = None
    base64_bytes: int | None = None
    request_bytes: int | None = None
    side_px: tuple[int, int] = (1, 1 << 15)
    frame_px: tuple[int, int] | None = None
    face_px: float = 0.0

    def refusal(self, picture: Picture) -> str:
        """Why a picture is not taken, in words; empty when it is."""
        short, long = sorted((picture.width_px, picture.height_px))
        size = f"{picture.width_px}x{picture.height_px}"
        encoded = -(-len(picture.content) // 3) * 4
        if picture.kind not in self.kinds:
            return f"it is {picture.kind}, not {' or '.join(self.kinds)}"
        if self.file_bytes is not None and len(picture.content) > self.file_bytes:
            return f"it has {len(picture.content)} bytes, at most {self.file_bytes} are taken"
        if self.base64_bytes is not None and encoded > self.base64_bytes:
            return f"it has {encoded} bytes as base64, at most {self.base64_bytes} are taken"
        if short < self.side_px[0] or long > self.side_px[1]:
            return f"it has {size} pixels, sides are from {self.side_px[0]} to {self.side_px[1]}"
        if self.frame_px is not None and (picture.width_px > self.frame_px[0] or picture.height_px > self.frame_px[1]):
            return f"it has {size} pixels, at most {self.frame_px[0]}x{self.frame_px[1]} are taken"
        if picture.face_px is not None and picture.face_px < self.face_px:
            return f"its face has {picture.face_px:.0f} pixels, the smallest is {self.face_px:.0f}"
        return ""
