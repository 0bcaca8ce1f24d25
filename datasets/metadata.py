"""Metadata of a photo file: what it says beside its pixels, and how much of that a published copy repeats.

Two policies:

* ``strip``: nothing but the colour profile, without which the colours would be shown wrongly. A profile may name the
  camera or the screen it belongs to.
* ``keep``: descriptive EXIF fields (camera, exposure, date, author, position), XMP and the colour profile.

Neither ever repeats a picture hidden in the metadata, because it would show the unprotected face: EXIF thumbnails,
maker notes (cameras keep previews there), XMP with encoded pictures, Photoshop blocks and the further frames of a
multi-picture file stay behind. EXIF is rebuilt from known fields that are too short for a picture rather than filtered,
so that what is not known does not pass either. The pixels are upright (:func:`cloakbench.datasets.photos.decode`), so
the orientation becomes 1 and the recorded size that of the pixels.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from PIL import ExifTags, Image

Policy = Literal["strip", "keep"]
ON_WHITE = "transparency laid on white"
"""What `Metadata.converted` says of a photo with transparency; not true of a copy that keeps it."""

_SEGMENT_BYTES = 65_000  # bytes that surely fit a JPEG segment beside its header
_VALUE_LONGEST = 2048  # longer EXIF values may hold a picture; the smallest thumbnails are larger
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>))[0-9]+")
_XMP_PICTURE = re.compile(rb"(?:[A-Za-z0-9+/]{60,}(?:\s|&#x?[0-9A-Fa-f]+;)*){3}")  # base64, with or without line breaks
_BASE = ExifTags.Base
_IMAGE_FIELDS = {
    *(_BASE.ImageDescription, _BASE.Make, _BASE.Model, _BASE.Software, _BASE.HostComputer, _BASE.Artist),
    *(_BASE.Copyright, _BASE.DateTime, _BASE.XResolution, _BASE.YResolution, _BASE.ResolutionUnit),
    *(_BASE.Rating, _BASE.RatingPercent),
    *(_BASE.XPTitle, _BASE.XPComment, _BASE.XPAuthor, _BASE.XPKeywords, _BASE.XPSubject),
}
_SIZE_FIELDS = (_BASE.ExifImageWidth, _BASE.ExifImageHeight)
_SIDEWAYS = (5, 6, 7, 8)  # orientations that exchange width and height
GREY_MODES = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N", "I")
"""Pillow's modes of photos that are stored in grey."""
_SAME_IN_RGB = ("RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "1", "L", "LA", "La")


@dataclass(frozen=True)
class Metadata:
    """What a published copy carries beside its pixels.

    Attributes:
        icc: colour profile, empty for none.
        exif: EXIF block with its ``Exif`` header, empty for none.
        xmp: XMP packet, empty for none.
        dropped: what the original had and the copy has not, in words.
        converted: what decoding did to the pixels besides turning them upright, in words.
    """

    icc: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""
    dropped: tuple[str, ...] = ()
    converted: tuple[str, ...] = ()


def read_metadata(content: bytes, policy: Policy) -> Metadata:
    """What the copy of a photo file may repeat.

    A file whose metadata cannot be parsed gives an empty one that says so: damage is no reason to fail, and what is not
    understood is not published. The same goes for photos of more than 178 megapixels, which Pillow opens only when it
    is told to (:func:`cloakbench.datasets.photos.decode` tells it).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # corrupt EXIF and large photos: decode has decided
            with Image.open(io.BytesIO(content)) as image:
                return _read(image, policy)
    except Exception as error:  # a parser of untrusted bytes may raise anything
        return Metadata(
            dropped=(f"all metadata and any colour profile, which cannot be read ({type(error).__name__})",)
        )


def _read(image: Image.Image, policy: Policy) -> Metadata:
    converted = tuple(_conversions(image))  # first: reading on loads the pixels and forgets how they were stored
    dropped: list[str] = []
    icc = _fitting_profile(image.info.get("icc_profile") or b"", image.mode in GREY_MODES, dropped)
    found = image.getexif()
    has_exif = "exif" in image.info or any(tag in found for tag in (*_IMAGE_FIELDS, *ExifTags.IFD))
    packet = image.info.get("xmp") or b""
    exif = xmp = b""
    if policy == "keep":
        exif = _rebuilt(found, image.size, dropped) if has_exif else b""
        xmp = _harmless(packet.encode() if isinstance(packet, str) else packet, dropped)
    else:
        if has_exif:
            dropped.append("EXIF with the position" if found.get_ifd(ExifTags.IFD.GPSInfo) else "EXIF")
        if packet:
            dropped.append("XMP")
    return Metadata(icc, exif, xmp, (*dropped, *_other_blocks(image)), converted)


def _fitting_profile(icc: bytes, grey: bool, dropped: list[str]) -> bytes:
    """The profile if it is one for the pixels of the copy, which are grey where the original's are, and else RGB."""
    space, wanted = icc[16:20].decode("ascii", "replace").strip(), "GRAY" if grey else "RGB"
    if icc and space != wanted:
        dropped.append(f"the colour profile, which is for {space or 'unknown'} and not for {wanted}")
        return b""
    return icc


def _rebuilt(found: Image.Exif, stored_size: tuple[int, int], dropped: list[str]) -> bytes:
    """A new EXIF block of known fields, for upright pixels; nothing else of the old one is copied."""
    camera, position = dict(found.get_ifd(ExifTags.IFD.Exif)), found.get_ifd(ExifTags.IFD.GPSInfo)
    if found.get_ifd(ExifTags.IFD.IFD1):
        dropped.append("the EXIF thumbnail")
    if ExifTags.IFD.MakerNote in camera:
        dropped.append("the camera's maker note")
    sideways = found.get(_BASE.Orientation, 1) in _SIDEWAYS
    for tag, side in zip(_SIZE_FIELDS, reversed(stored_size) if sideways else stored_size, strict=True):
        if tag in camera:
            camera[tag] = side
    kept = Image.Exif()
    kept.update(_short({tag: value for tag, value in found.items() if tag in _IMAGE_FIELDS}, dropped))
    known = set(ExifTags.TAGS) - {ExifTags.IFD.MakerNote, ExifTags.IFD.Interop}
    own = {tag: value for tag, value in camera.items() if tag in known}
    for block, fields in ((ExifTags.IFD.Exif, own), (ExifTags.IFD.GPSInfo, position)):
        if values := _short(fields, dropped):
            kept[block] = values
    if not len(kept):
        dropped.append("EXIF, which has no known field")
        return b""
    kept[_BASE.Orientation] = 1
    try:
        written = kept.tobytes()
    except Exception as error:  # fields of the wrong type raise whatever their packing raises
        dropped.append(f"EXIF, which is damaged ({type(error).__name__})")
        return b""
    if len(written) > _SEGMENT_BYTES:
        dropped.append("EXIF, which is too long")
        return b""
    return written


def _short(fields: Mapping[int, Any], dropped: list[str]) -> dict[int, Any]:
    """The fields that are too short to hold a picture."""
    long = [
        tag for tag, value in fields.items() if isinstance(value, bytes | str | tuple) and len(value) > _VALUE_LONGEST
    ]
    dropped += [f"EXIF field {ExifTags.TAGS.get(tag, tag)}, which is long enough to hold a picture" for tag in long]
    return {tag: value for tag, value in fields.items() if tag not in long}


def _harmless(packet: bytes, dropped: list[str]) -> bytes:
    """The packet, upright and without a picture in it, or nothing."""
    if _XMP_PICTURE.search(packet):
        dropped.append("XMP, which holds an encoded picture")
        return b""
    if len(packet) > _SEGMENT_BYTES:
        dropped.append("XMP, which is too long")
        return b""
    return _XMP_ORIENTATION.sub(rb"\g<1>1", packet)


def _other_blocks(image: Image.Image) -> list[str]:
    """What no copy ever has."""
    named = {
        "photoshop": "Photoshop block (IPTC)",
        "comment": "comment",
        "gamma": "PNG gamma",
        "chromaticity": "PNG chromaticities",
        "mp": "further pictures",
    }
    blocks = [words for key, words in named.items() if key in image.info]
    texts = [key for key in getattr(image, "text", {}) if key != "XML:com.adobe.xmp"]
    return blocks + ([f"text ({', '.join(sorted(texts))})"] if texts else [])


def _conversions(image: Image.Image) -> Iterator[str]:
    """What decoding does to the pixels, found in the header."""
    if getattr(image, "n_frames", 1) > 1:
        yield "only the first of several pictures"
    if image.has_transparency_data:
        yield ON_WHITE
    if image.mode.startswith("I") or any("16" in str(tile[-1]) for tile in getattr(image, "tile", ())):
        yield "16 bits became 8"
    elif image.mode not in _SAME_IN_RGB:
        yield f"{image.mode} became RGB"
