"""What emulators see in a picture: whether there is a face, how alike two are, what attributes they have.

Runs send the same pictures again and again, and searches look at a whole gallery: a file is decoded once.
"""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image

Pixels = np.ndarray
FLAT = 6.0
"""A picture with less contrast than this, in grey levels, has no face."""


class NoPictureError(Exception):
    """The bytes are no PNG or JPEG."""


@lru_cache(maxsize=64)
def opened(content: bytes) -> Image.Image:
    """A picture of its bytes; ``format`` says of which kind."""
    try:
        picture = Image.open(io.BytesIO(content))
        picture.load()
    except Exception as problem:
        raise NoPictureError from problem
    if picture.format not in ("PNG", "JPEG"):
        raise NoPictureError
    return picture


@lru_cache(maxsize=1024)
def has_face(content: bytes) -> bool:
    return float(np.asarray(opened(content).convert("L"), dtype=np.float64).std()) >= FLAT


def similarity(a: bytes, b: bytes) -> float:
    """In [0, 1], 1 for equal pixels: the cosine of two thumbnails without their means."""
    one, other = _thumbnail(a), _thumbnail(b)
    cosine = float((one * other).sum() / (np.linalg.norm(one) * np.linalg.norm(other)))
    return min(1.0, max(0.0, (1 + cosine) / 2))


def looks(content: bytes) -> tuple[bool, int, bool]:
    """Female, years and smiling, as functions of the mean colour."""
    red, green, blue = np.asarray(opened(content).convert("RGB"), dtype=np.float64).mean(axis=(0, 1))
    return bool(red > blue), int(20 + green / 8), bool(green > blue)


def box(content: bytes) -> tuple[int, int, int, int]:
    """Left, top, width and height of the face: the middle of the picture."""
    width, height = opened(content).size
    return width // 8, height // 8, width - width // 4, height - height // 4


@lru_cache(maxsize=1024)
def _thumbnail(content: bytes) -> Pixels:
    small = opened(content).convert("RGB").resize((8, 8), Image.Resampling.BOX)
    values = np.asarray(small, dtype=np.float64)
    return values - values.mean()
