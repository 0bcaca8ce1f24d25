"""Decoding of unusual files."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from cloakbench.datasets.photos import PhotoError, decode

RED = (200, 30, 40)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def split_image() -> Image.Image:
    """Left half red, right half blue, twice as wide as high."""
    image = Image.new("RGB", (40, 20), RED)
    image.paste((20, 40, 210), (20, 0, 40, 20))
    return image


def test_rgb_pixels_come_out_as_stored():
    values = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    pixels = decode(encoded(Image.fromarray(values)), 1)
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (3, 7, 9)
    assert np.array_equal(pixels.permute(1, 2, 0).numpy(), values)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int):
    upright = split_image()
    inverse = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright if orientation == 1 else upright.transpose(inverse[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode(encoded(stored, exif=exif), 1)
    assert np.array_equal(pixels.permute(1, 2, 0).numpy(), np.asarray(upright))


def test_damaged_exif_leaves_the_photo_as_stored():
    content = encoded(split_image(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    assert decode(content, 1).shape == (3, 20, 40)


@pytest.mark.parametrize(
    ("mode", "kind", "tolerance"),
    [("L", "PNG", 0), ("1", "PNG", 0), ("P", "PNG", 0), ("CMYK", "TIFF", 0), ("CMYK", "JPEG", 6), ("YCbCr", "TIFF", 2)],
)
def test_colour_modes_become_rgb(mode: str, kind: str, tolerance: int):
    image = split_image().convert(mode)
    pixels = decode(encoded(image, kind), 1).permute(1, 2, 0).numpy().astype(int)
    assert np.abs(pixels - np.asarray(image.convert("RGB")).astype(int)).max() <= tolerance


def test_transparency_is_laid_on_white():
    image = Image.new("RGBA", (4, 4), (*RED, 0))
    image.putpixel((1, 1), (*RED, 255))
    pixels = decode(encoded(image), 1)
    assert pixels[:, 0, 0].tolist() == [255, 255, 255]
    assert pixels[:, 1, 1].tolist() == list(RED)
    indexed = Image.new("P", (4, 4), 0)
    indexed.putpalette([*RED, 0, 255, 0])
    assert decode(encoded(indexed, transparency=0), 1)[:, 0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_keeps_its_scale(kind: str):
    levels = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    assert decode(encoded(Image.fromarray(levels), kind), 1)[1].tolist() == [[0, 1, 128, 255]]


def test_sixteen_bit_colour_keeps_the_high_byte():
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    row = b"\0" + struct.pack(">3H", 0x1234, 0xABCD, 0xFFFF)
    header = struct.pack(">2I5B", 1, 1, 16, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    assert decode(content, 1).flatten().tolist() == [0x12, 0xAB, 0xFF]


@pytest.mark.parametrize("values", [np.full((1, 1), 0.5, np.float32), np.full((1, 1), 70000, np.int32)])
def test_pixels_without_a_white_level_are_refused(values: np.ndarray):
    with pytest.raises(PhotoError, match="white level") as caught:
        decode(encoded(Image.fromarray(values), "TIFF"), 1)
    assert caught.value.status == "unreadable"


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_of_an_animation(kind: str):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black")]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert decode(content, 1).min() == 255


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (b"", "empty"),
        (b"this is a letter, not a photo", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "not an image"),
        (encoded(split_image(), "JPEG")[:400], "damaged"),
        (encoded(split_image())[:60], "damaged"),
        (encoded(split_image()).replace(b"IDAT", b"IDAT\xff"), "damaged"),
    ],
    ids=["empty", "text", "postscript", "cut jpeg", "cut png", "broken png"],
)
def test_what_is_no_readable_image_has_a_reason(content: bytes, note: str):
    with pytest.raises(PhotoError, match=note) as caught:
        decode(content, 1)
    assert caught.value.status == "unreadable"
    assert "\n" not in str(caught.value)


def test_random_damage_never_escapes_as_another_exception():
    choice = np.random.default_rng(1)
    for kind in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"):
        good = encoded(split_image(), kind)
        for _ in range(40):
            damaged = bytearray(good)
            for place in choice.integers(0, len(good), 6):
                damaged[place] = choice.integers(0, 256)
            try:
                assert decode(bytes(damaged), 1).dtype == torch.uint8
            except PhotoError as error:
                assert error.status in {"unreadable", "too_large"}


@pytest.mark.parametrize("times", [1.5, 5])
def test_pixel_limit_is_ours_and_leaves_pillow_alone(times: float):
    before = Image.MAX_IMAGE_PIXELS
    content = encoded(Image.new("L", (1000, int(1000 * times))))
    with pytest.raises(PhotoError, match=r"raise max_megapixels") as caught:
        decode(content, 1)
    assert caught.value.status == "too_large"
    assert decode(content, times).shape == (3, 1000 * times, 1000)
    assert before == Image.MAX_IMAGE_PIXELS
