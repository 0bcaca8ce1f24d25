"""Photo files: telling them from other files, and decoding them to upright 8-bit RGB.

What becomes of unusual files, all of it decided by content and never by chance:

* EXIF orientation is applied. Grey, bilevel, palette, CMYK, YCbCr and Lab become RGB; embedded colour profiles are not.
* Transparency is laid on white. Of an animation or a multi-picture file the first frame is taken.
* 16-bit grey is divided by 257; 16-bit colour keeps the high byte (Pillow's rule). 32-bit pixels have no defined white
  and are refused.
* Vector formats are refused: Pillow would start an external interpreter for them.
"""

from __future__ import annotations

import io
import os
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from cloakbench.bench.core.files.regular_file import leads_to_folder, open_regular

_NOT_OPENED = {"EPS", "WMF"}  # EPS runs Ghostscript, WMF the Windows renderer
_NOT_OPENED |= {"BUFR", "GRIB", "HDF5", "MPEG"}  # recognised by Pillow but never decoded
_UNSUPPORTED_PHOTOS = {".heic", ".heif", ".jxl"}  # photos that Pillow cannot read: reported, not taken for side files
_LITTER = {"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information", "lost+found"}


class DatasetError(ValueError):
    """A data set cannot be used as configured; one line that says what is wrong and how to fix it."""


class PhotoError(Exception):
    """One photo cannot be used: ``status`` in one word, the message with the remedy. Settings have their bare names, as
    data sets and `protect` have them both."""

    def __init__(self, status: str, note: str) -> None:
        super().__init__(note)
        self.status = status


def decode(content: bytes, max_megapixels: float) -> Tensor:
    """Pixels of an image file, uint8 ``[3, H, W]``, RGB, upright; see the module for the rules.

    Raises:
        PhotoError: ``unreadable`` (not an image, damaged, or in a format that cannot be read) or ``too_large`` (more
            pixels than ``max_megapixels`` million).
    """
    if not content:
        raise PhotoError("unreadable", "the file is empty: copy it again from its source")
    try:
        with opened(content, max_megapixels) as image:
            image.load()
            turn_upright(image)
            rgb = _rgb(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoError(
            "too_large", f"more than {max_megapixels:g} megapixels: shrink it or raise max_megapixels"
        ) from error
    except PhotoError:
        raise
    except MemoryError as error:
        raise PhotoError("too_large", "not enough memory to decode it: shrink it") from error
    except Image.UnidentifiedImageError as error:
        raise PhotoError("unreadable", "not an image in a supported format: convert it to PNG or JPEG") from error
    except Exception as error:  # decoders meet damage with whatever their inner parsers raise: struct, zlib, index, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PhotoError("unreadable", f"damaged image ({reason}): replace the file") from error
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1)


@contextmanager
def opened(content: bytes, max_megapixels: float | None = None) -> Iterator[Image.Image]:
    """An image file in one of the formats that are read, before its pixels are; None: of any size.

    Raises whatever Pillow raises.
    """
    with _pixel_limit(max_megapixels), Image.open(io.BytesIO(content), formats=_formats()) as image:
        yield image


def turn_upright(image: Image.Image) -> None:
    """Apply the EXIF orientation, in place; a damaged EXIF block counts as none, as in image viewers."""
    with suppress(Exception):  # as in decode: a parser of untrusted bytes
        ImageOps.exif_transpose(image, in_place=True)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        values = np.asarray(image, dtype=np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise PhotoError("unreadable", "32-bit pixels have no defined white level: convert it to 8 bits")
        return Image.fromarray(np.round(values / 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise PhotoError("unreadable", "floating-point pixels have no defined white level: convert it to 8 bits")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def is_photo(entry: os.DirEntry[str]) -> bool:
    """Whether a file is, or claims to be, a photo: by suffix, so that a damaged photo is reported and not passed over;
    files with other suffixes by their content. Hidden files are none. A link to nowhere may be a lost photo, and a pipe
    or device that is called like a photo is reported as one; only plain files are opened."""
    if entry.name.startswith(".") or leads_to_folder(entry):
        return False
    return named_like_a_photo(entry.name) or bool(kind_of_photo(Path(entry.path)))


def named_like_a_photo(name: str) -> bool:
    """Whether a file name ends as those of photos do."""
    return Path(name).suffix.lower() in _photo_suffixes()


def kind_of_photo(path: Path) -> str:
    """Pillow's name of a photo's format, by its content: ``JPEG``; empty for what is no photo or cannot be read.

    The file has to be a plain one (:mod:`cloakbench.bench.core.files.regular_file`).
    """
    try:
        with open_regular(path) as file, _pixel_limit(None), Image.open(file, formats=_formats()) as image:
            return image.format or ""
    except Exception:  # as in decode
        return ""


def is_litter(name: str) -> bool:
    """Whether a file or folder is hidden, or one that a system or an archiver leaves beside photos."""
    return name.startswith(".") or name.lower() in _LITTER


def portable_name(name: str) -> str:
    """A file name as text that can be written anywhere: undecodable bytes become ``\\xNN``, accents are composed."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return unicodedata.normalize("NFC", text)


@cache
def _photo_suffixes() -> frozenset[str]:
    readable = {suffix for suffix, kind in Image.registered_extensions().items() if kind in _formats()}
    return frozenset(readable | _UNSUPPORTED_PHOTOS)


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in Image.OPEN if name not in _NOT_OPENED)


@contextmanager
def _pixel_limit(megapixels: float | None) -> Iterator[None]:
    """Pillow's own guard, which is a module variable, set to our limit for one image and put back."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None if megapixels is None else int(megapixels * 1e6)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # corrupt EXIF and the like: the pixels decide
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before
