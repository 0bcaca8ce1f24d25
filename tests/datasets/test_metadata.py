"""What a published copy says beside its pixels, and that no picture of the unprotected face hides in it."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageCms, ImageSequence

from cloakbench.datasets.encoding import encode
from cloakbench.datasets.metadata import Metadata, read_metadata

FIELD = ExifTags.Base
THUMBNAIL = b"\xff\xd8" + bytes(range(256)) * 12 + b"\xff\xd9"
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" dc:title="beach"/></x:xmpmeta>'
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def picture(width: int = 30, height: int = 20) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def exif_with_thumbnail() -> bytes:
    """IFD0 (camera, orientation, pointer), an Exif block (date, size, maker note), and a thumbnail in IFD1."""

    def entry(tag: int, kind: int, count: int, value: bytes) -> bytes:
        return struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")

    def number(tag: int, value: int) -> bytes:
        return entry(tag, 4, 1, struct.pack("<I", value))

    note = b"MAKER" + THUMBNAIL
    first, camera = 8, 8 + 2 + 12 * 3 + 4
    data = camera + 2 + 12 * 4 + 4
    date, second = data, data + 20
    note_at = second + 2 + 12 * 2 + 4
    thumbnail_at = note_at + len(note)
    blocks = struct.pack("<2sHI", b"II", 42, first)
    blocks += struct.pack("<H", 3) + entry(FIELD.Make, 2, 4, b"ACM\0")
    blocks += entry(FIELD.Orientation, 3, 1, struct.pack("<H", 6)) + number(ExifTags.IFD.Exif, camera)
    blocks += struct.pack("<I", second)
    blocks += struct.pack("<H", 4) + entry(FIELD.DateTimeOriginal, 2, 20, struct.pack("<I", date))
    blocks += entry(FIELD.MakerNote, 7, len(note), struct.pack("<I", note_at))
    blocks += number(FIELD.ExifImageWidth, 30) + number(FIELD.ExifImageHeight, 20) + struct.pack("<I", 0)
    blocks += b"2024:05:01 10:00:00\0"
    blocks += struct.pack("<H", 2) + number(FIELD.JpegIFOffset, thumbnail_at)
    blocks += number(FIELD.JpegIFByteCount, len(THUMBNAIL)) + struct.pack("<I", 0)
    return b"Exif\0\0" + blocks + note + THUMBNAIL


def stored(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def published(metadata: Metadata, kind: Any) -> tuple[bytes, Image.Image]:
    content = encode(torch.zeros(3, 30, 20, dtype=torch.uint8), stored(picture(20, 30)), kind, metadata).content
    return content, Image.open(io.BytesIO(content))


def camera_file() -> bytes:
    return stored(picture(), exif=exif_with_thumbnail(), xmp=XMP, icc_profile=SRGB, comment=b"private")


def test_the_planted_thumbnail_can_be_found() -> None:
    """Otherwise the tests below would prove nothing."""
    content = camera_file()
    assert content.count(THUMBNAIL) == 2
    assert Image.open(io.BytesIO(content)).getexif().get_ifd(ExifTags.IFD.IFD1)


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_strip_keeps_the_colour_profile_and_nothing_else(kind: str) -> None:
    metadata = read_metadata(camera_file(), "strip")
    content, image = published(metadata, kind)
    assert image.info["icc_profile"] == SRGB
    assert not image.getexif()
    for trace in (THUMBNAIL, b"ACM", b"beach", b"2024:05:01", b"private"):
        assert trace not in content
    assert metadata.dropped == ("EXIF", "XMP", "comment")


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_keep_repeats_what_describes_and_never_a_picture(kind: str) -> None:
    metadata = read_metadata(camera_file(), "keep")
    content, image = published(metadata, kind)
    exif = image.getexif()
    camera = exif.get_ifd(ExifTags.IFD.Exif)
    assert exif[FIELD.Make] == "ACM"
    assert exif[FIELD.Orientation] == 1
    assert camera[FIELD.DateTimeOriginal] == "2024:05:01 10:00:00"
    assert (camera[FIELD.ExifImageWidth], camera[FIELD.ExifImageHeight]) == (20, 30)  # upright
    assert not exif.get_ifd(ExifTags.IFD.IFD1)
    assert FIELD.MakerNote not in camera
    assert b"beach" in image.info["xmp"]
    assert b'tiff:Orientation="1"' in image.info["xmp"]
    assert image.info["icc_profile"] == SRGB
    assert THUMBNAIL[:100] not in content
    assert b"private" not in content
    assert metadata.dropped == ("the EXIF thumbnail", "the camera's maker note", "comment")


def test_the_position_is_named_when_it_goes_and_there_when_it_is_kept() -> None:
    exif = Image.Exif()
    exif[ExifTags.IFD.GPSInfo] = {1: "N", 2: (48.0, 51.0, 24.0)}
    content = stored(picture(), exif=exif)
    assert read_metadata(content, "strip").dropped == ("EXIF with the position",)
    kept = published(read_metadata(content, "keep"), "jpeg")[1].getexif().get_ifd(ExifTags.IFD.GPSInfo)
    assert tuple(float(part) for part in kept[2]) == (48, 51, 24)


def test_a_long_field_may_hold_a_picture_and_goes() -> None:
    exif = Image.Exif()
    exif[FIELD.Artist] = "Ann"
    exif[ExifTags.IFD.Exif] = {FIELD.UserComment: THUMBNAIL}
    metadata = read_metadata(stored(picture(), exif=exif), "keep")
    assert THUMBNAIL[:100] not in metadata.exif
    assert b"Ann" in metadata.exif
    assert metadata.dropped == ("EXIF field UserComment, which is long enough to hold a picture",)


@pytest.mark.parametrize("line", [76, 10_000])
def test_xmp_with_a_picture_goes(line: int) -> None:
    text = base64.b64encode(THUMBNAIL)
    broken = b"&#xA;".join(text[at : at + line] for at in range(0, len(text), line))
    packet = XMP.replace(b"beach", b"<xmpGImg:image>" + broken + b"</xmpGImg:image>")
    metadata = read_metadata(stored(picture(), xmp=packet), "keep")
    assert metadata.xmp == b""
    assert metadata.dropped == ("XMP, which holds an encoded picture",)


def test_a_profile_for_other_channels_goes() -> None:
    profile = SRGB[:16] + b"CMYK" + SRGB[20:]
    metadata = read_metadata(stored(Image.new("CMYK", (8, 8)), icc_profile=profile), "strip")
    assert metadata.icc == b""
    assert "for CMYK" in metadata.dropped[0]
    assert metadata.converted == ("CMYK became RGB",)


@pytest.mark.parametrize("policy", ["strip", "keep"])
def test_damaged_exif_is_dropped_and_not_repeated(policy: Any) -> None:
    content = stored(picture(), exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage", icc_profile=SRGB)
    metadata = read_metadata(content, policy)
    assert metadata.exif == b""
    assert metadata.dropped


def test_what_is_no_image_gives_empty_metadata_that_says_so() -> None:
    metadata = read_metadata(b"text", "keep")
    assert (metadata.icc, metadata.exif, metadata.xmp) == (b"", b"", b"")
    assert "cannot be read" in metadata.dropped[0]


def sixteen_bit_png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" + b"\x12\x34" * 6)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (stored(picture()), ()),
        (stored(picture().convert("L"), "PNG"), ()),
        (stored(picture().convert("RGBA"), "PNG"), ("transparency laid on white",)),
        (stored(picture().convert("I;16"), "PNG"), ("16 bits became 8",)),
        (sixteen_bit_png(), ("16 bits became 8",)),
        (stored(picture(), "TIFF", save_all=True, append_images=[picture()]), ("only the first of several pictures",)),
    ],
    ids=["rgb", "grey", "alpha", "16-bit grey", "16-bit colour", "pages"],
)
def test_what_decoding_did_to_the_pixels_is_said(content: bytes, words: tuple[str, ...]) -> None:
    assert read_metadata(content, "strip").converted == words


def test_png_text_is_named() -> None:
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("Author", "Ann")
    assert read_metadata(stored(picture(), "PNG", pnginfo=text), "keep").dropped == ("text (Author)",)


def test_png_is_lossless_and_jpeg_close_without_subsampling() -> None:
    pixels = torch.from_numpy(np.array(picture())).permute(2, 0, 1)
    for kind, tolerance in (("png", 0), ("jpeg", 40)):
        image = Image.open(io.BytesIO(encode(pixels, stored(picture()), kind, Metadata()).content))
        found = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
        assert (found.short() - pixels.short()).abs().max() <= tolerance
    assert image.layer[0][1:3] == image.layer[1][1:3] == (1, 1)  # type: ignore[attr-defined]
    assert len(list(ImageSequence.Iterator(image))) == 1
