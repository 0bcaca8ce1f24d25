"""Encoding of published copies: in the type of the original, or in one that was asked for.

Nothing is stored better than the original was without being asked: a JPEG keeps its quantisation tables, its chroma
subsampling and whether it is progressive, so that a copy is as large as its original. WebP, AVIF, and a JPEG whose
tables do not fit RGB pixels, take the smallest quality of `_QUALITIES` at which the copy is as large as its original.
PNG, BMP, TIFF, PPM, JPEG 2000 and lossless WebP are stored without loss. GIF has 256 colours, which change most pixels;
grey ones are kept whole. A type that is not written (`_WRITTEN`) becomes PNG.

A photo stored in grey comes out in grey, whatever its bits. Transparency is kept where the type has it and laid on
white where it has not.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from PIL import Image, JpegImagePlugin
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from cloakbench.datasets.metadata import GREY_MODES, Metadata
from cloakbench.datasets.photos import named_like_a_photo, opened, turn_upright

Format = Literal["same", "png", "jpeg"]
FORMATS: tuple[str, ...] = get_args(Format)

_ASKED = {"png": "PNG", "jpeg": "JPEG"}
_WRITTEN = {kind: kind for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM")}
_WRITTEN |= {"MPO": "JPEG"}  # the main picture of several
_SUFFIXES = {"PNG": ".png", "JPEG": ".jpg"}
_WITH_ALPHA = {"PNG", "WEBP", "TIFF", "AVIF", "JPEG2000"}
_CARRIES: Mapping[str, frozenset[str]] = {
    "JPEG": frozenset({"icc", "exif", "xmp"}),
    "PNG": frozenset({"icc", "exif", "xmp"}),
    "WEBP": frozenset({"icc", "exif", "xmp"}),
    "AVIF": frozenset({"icc", "exif", "xmp"}),
    "TIFF": frozenset({"icc", "exif"}),
}
_BLOCKS = {"icc": "the colour profile", "exif": "EXIF", "xmp": "XMP"}
_JPEG_ASKED: Mapping[str, Any] = {"quality": 95, "subsampling": 0}
_TIFF_LOSSLESS = {"raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "lzma", "zstd"}
_QUALITIES = range(40, 100, 5)


@dataclass(frozen=True)
class Encoded:
    """A photo as a file.

    Attributes:
        content: the bytes.
        dropped: metadata that this type of file does not carry, in words.
        notes: what the type did to the pixels, in words.
    """

    content: bytes
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def copy_type(kind: str, wanted: Format) -> str:
    """Pillow's name of the type a copy has; ``kind`` is that of the original (`photos.kind_of_photo`)."""
    return _WRITTEN.get(kind, "PNG") if wanted == "same" else _ASKED[wanted]


def copy_name(inner: Path, kind: str, wanted: Format) -> Path:
    """What the copy of a photo is called: as the photo, unless its type changes.

    The suffix of another photo type is replaced then, and any other ending is kept: ``c`` and ``c.heic`` become
    ``c.png``, and ``d.jpeg~`` becomes ``d.jpeg~.png``.
    """
    written = copy_type(kind, wanted)
    if not kind or written == _WRITTEN.get(kind):
        return inner
    suffix = _SUFFIXES[written]
    if Image.registered_extensions().get(inner.suffix.lower()) == written:
        return inner
    return inner.with_suffix(suffix) if named_like_a_photo(inner.name) else inner.with_name(inner.name + suffix)


def encode(pixels: Tensor, original: bytes, wanted: Format, metadata: Metadata) -> Encoded:
    """The copy of a photo as a file.

    Args:
        pixels: uint8 ``[3, H, W]``, RGB, upright, transparency laid on white (:func:`photos.decode`).
        original: the file they were made from.
        wanted: type of the file.
        metadata: what goes with it.

    Raises:
        OSError, ValueError: the original cannot be read.
    """
    with opened(original) as source:
        kind, mode = source.format or "", source.mode
        written = copy_type(kind, wanted)
        style = _style(source, original) if written == _WRITTEN.get(kind) and wanted == "same" else {}
        transparent = written in _WITH_ALPHA and source.has_transparency_data
        source.load()
        turn_upright(source)
        plain = source.convert("RGBA") if transparent else None
    picture = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
    if plain is not None:
        picture = _with_alpha(pixels, plain)
    if (mode in GREY_MODES or written == "GIF") and bool((pixels == pixels[:1]).all()):
        picture = picture.convert("LA" if transparent else "L")
    options, dropped = _carried(written, metadata)
    notes = _changes(kind, mode, written, wanted)
    if written == "JPEG" and wanted == "jpeg":
        style = dict(_JPEG_ASKED)
    elif written in ("JPEG", "WEBP", "AVIF") and not style:
        style = {"quality": _quality_as_large(picture, written, len(original))}
        notes.append(f"{written} at quality {style['quality']}, for about the size of the original")
    elif written == "GIF" and picture.mode == "RGB":
        picture = picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.FLOYDSTEINBERG)
        notes.append("GIF has 256 colours, which blur the change: format=png keeps it whole")
    return Encoded(_saved(picture, written, {**options, **style}), dropped, tuple(notes))


def keeps_alpha(original: bytes, wanted: Format) -> bool:
    """Whether the copy of a photo has its transparency."""
    with opened(original) as source:
        return source.has_transparency_data and copy_type(source.format or "", wanted) in _WITH_ALPHA


def _style(source: Image.Image, original: bytes) -> dict[str, Any]:
    """Options that store a picture as ``source`` is stored; empty where a quality has to be found."""
    if isinstance(source, JpegImagePlugin.JpegImageFile):
        if source.mode not in ("L", "RGB"):
            return {}
        sampling = JpegImagePlugin.get_sampling(source)
        return {
            "qtables": source.quantization,
            "subsampling": max(sampling, 0),
            "progressive": bool(source.info.get("progressive")),
            "optimize": True,
        }
    if source.format == "WEBP":
        return {"lossless": True, "exact": True} if b"VP8L" in _webp_chunks(original) else {}
    if source.format == "TIFF":
        compression = source.info.get("compression")
        return {"compression": compression if compression in _TIFF_LOSSLESS else "tiff_lzw"}
    if source.format == "JPEG2000":
        return {"irreversible": False, "no_jp2": original[:4] == b"\xff\x4f\xff\x51"}
    return {}


def _webp_chunks(content: bytes) -> list[bytes]:
    """Names of the chunks of a RIFF file."""
    names, place = [], 12
    while place + 8 <= len(content):
        names.append(content[place : place + 4])
        length = int.from_bytes(content[place + 4 : place + 8], "little")
        place += 8 + length + length % 2
    return names


def _with_alpha(pixels: Tensor, plain: Image.Image) -> Image.Image:
    """The changes of the pixels on white, made to the colours under the transparency; unseen colours stay."""
    before = torch.from_numpy(np.array(plain)).permute(2, 0, 1)
    white = Image.alpha_composite(Image.new("RGBA", plain.size, "white"), plain).convert("RGB")
    seen = torch.from_numpy(np.array(white)).permute(2, 0, 1)
    change = (pixels.short() - seen.short()) * (before[3:] > 0)
    colours = (before[:3].short() + change).clamp(0, 255).to(torch.uint8)
    return Image.fromarray(torch.cat([colours, before[3:]]).permute(1, 2, 0).contiguous().numpy())


def _changes(kind: str, mode: str, written: str, wanted: Format) -> list[str]:
    """What another type or mode makes of the photo, in words."""
    notes = []
    if wanted == "same" and written != _WRITTEN.get(kind):
        notes.append(f"{kind} became {written}")
    if mode in ("P", "PA") and written != "GIF":
        notes.append("its palette became full colour")
    return notes


def _quality_as_large(picture: Image.Image, written: str, size: int) -> int:
    """The smallest quality at which a picture takes ``size`` bytes, or else the best, by bisection."""
    low, high = 0, len(_QUALITIES) - 1
    while low < high:
        middle = (low + high) // 2
        if len(_saved(picture, written, {"quality": _QUALITIES[middle]})) >= size:
            high = middle
        else:
            low = middle + 1
    return _QUALITIES[low]


def _carried(written: str, metadata: Metadata) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Options that write the metadata, and what the type of file has no place for."""
    there = {"icc": metadata.icc, "exif": metadata.exif, "xmp": metadata.xmp}
    carried = _CARRIES.get(written, frozenset())
    dropped = tuple(
        f"{words}, which {written} files do not carry"
        for name, words in _BLOCKS.items()
        if there[name] and name not in carried
    )
    options: dict[str, Any] = {}
    if "icc" in carried:
        options["icc_profile"] = metadata.icc or None
    if "exif" in carried and metadata.exif:
        options["exif"] = metadata.exif
    if metadata.xmp and "xmp" in carried:
        if written == "PNG":
            text = PngInfo()
            text.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8", "replace"))
            options["pnginfo"] = text
        else:
            options["xmp"] = metadata.xmp
    return options, dropped


def _saved(picture: Image.Image, written: str, options: Mapping[str, Any]) -> bytes:
    stream = io.BytesIO()
    try:
        picture.save(stream, written, **options)
    except OSError:
        if "qtables" not in options:
            raise
        stream = io.BytesIO()  # Pillow's buffer for optimised files is too short for the finest tables
        picture.save(stream, written, **{**options, "optimize": False, "progressive": False})
    return stream.getvalue()
