"""``report.png``: every face before and after, and what was changed, to be looked at."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from cloakbench.bench.core import escape
from cloakbench.bench.protect.faces import Face
from cloakbench.datasets.paste import crop_box

GAIN = 10
"""How many times its size the difference is shown in, about mid-grey."""

_SIDE = 160  # pixels of a panel
_PANELS = 3
_FACES_MOST = 4  # of one photo
_PHOTOS_MOST = 300  # on the sheet; bounds its size
_MARGIN = 14
_LINE = 15
_TEXT_MOST = 6  # lines under a photo
_LETTERS = 74  # that fit under the panels
_LETTERS_OF_TITLE = 58
_HEAD = 34
_COLUMNS = 2


@dataclass(frozen=True)
class Shown:
    """A photo on the sheet.

    Attributes:
        title: its name.
        words: what is said of it.
        pictures: what `pictures_of` made, or None.
    """

    title: str
    words: str
    pictures: bytes | None


def pictures_of(original: Tensor, saved: Tensor, faces: Sequence[Face]) -> bytes:
    """Photo, copy and difference of each face side by side, a PNG of 480 pixels' width; at most four faces.

    Args:
        original, saved: uint8 ``[3, H, W]``.
        faces: where to look.
    """
    strips = [
        torch.cat([_panel(region) for region in _regions(original, saved, face)], dim=1) for face in faces[:_FACES_MOST]
    ]
    stream = io.BytesIO()
    Image.fromarray(torch.cat(strips).numpy()).save(stream, "PNG")
    return stream.getvalue()


def draw_sheet(shown: Sequence[Shown]) -> bytes:
    """All photos on one sheet, a PNG file; those behind the 300th are only counted."""
    some = shown[:_PHOTOS_MOST]
    cells = [_cell(one) for one in some]
    width = _COLUMNS * (_PANELS * _SIDE + _MARGIN) + _MARGIN
    rows = [cells[first : first + _COLUMNS] for first in range(0, len(cells), _COLUMNS)]
    height = _HEAD + sum(max(cell.height for cell in row) + _MARGIN for row in rows) + _MARGIN
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    head = f"Of each photo: original, protected copy, difference times {GAIN} about mid-grey."
    if len(shown) > len(some):
        head += f" {len(shown) - len(some)} more photos: see report.csv."
    draw.text((_MARGIN, 10), head, "black", _font(13))
    top = _HEAD
    for row in rows:
        for column, cell in enumerate(row):
            sheet.paste(cell, (_MARGIN + column * (_PANELS * _SIDE + _MARGIN), top))
        top += max(cell.height for cell in row) + _MARGIN
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()


def _cell(one: Shown) -> Image.Image:
    strip = Image.new("RGB", (_PANELS * _SIDE, 0)) if one.pictures is None else _opened(one.pictures)
    lines = textwrap.wrap(escape.drawn(one.words, _TEXT_MOST * _LETTERS), _LETTERS)[:_TEXT_MOST]
    cell = Image.new("RGB", (_PANELS * _SIDE, strip.height + _LINE * (len(lines) + 1) + 4), "white")
    if one.pictures is not None:
        cell.paste(strip, (0, 0))
    draw = ImageDraw.Draw(cell)
    draw.text((0, strip.height + 2), escape.drawn(one.title, _LETTERS_OF_TITLE), "black", _font(12))
    for number, line in enumerate(lines, start=1):
        draw.text((0, strip.height + 2 + number * _LINE), line, (70, 70, 70), _font(11))
    return cell


def _opened(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content)) as image:
        return image.convert("RGB")


def _regions(original: Tensor, saved: Tensor, face: Face) -> tuple[Tensor, Tensor, Tensor]:
    """The square around a face, uint8 ``[S, S, 3]``: of the photo, of the copy, and of their amplified difference."""
    height, width = original.shape[1:]
    left, top, right, bottom = crop_box(face.matrix, height, width)
    side = min(int(1.1 * max(right - left, bottom - top)) + 1, max(height, width))
    x, y = (left + right - side) // 2, (top + bottom - side) // 2
    part = (slice(None), slice(max(y, 0), max(y + side, 0)), slice(max(x, 0), max(x + side, 0)))
    before, after = original[part], saved[part]
    difference = (127.5 + GAIN * (after.float() - before.float())).clamp(0, 255).round().to(torch.uint8)
    return before.permute(1, 2, 0), after.permute(1, 2, 0), difference.permute(1, 2, 0)


def _panel(region: Tensor) -> Tensor:
    """A picture fitted into a white square, uint8 ``[160, 160, 3]``."""
    picture = Image.fromarray(region.contiguous().numpy())
    scale = (_SIDE - 4) / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    panel = Image.new("RGB", (_SIDE, _SIDE), "white")
    panel.paste(picture.resize(size, Image.Resampling.LANCZOS), ((_SIDE - size[0]) // 2, (_SIDE - size[1]) // 2))
    return torch.from_numpy(np.array(panel))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """A font with the letters of many languages."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)
