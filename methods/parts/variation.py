"""The total variation of pictures: of the stickers of Adv-Hat, of the photos of Invisible-Face."""

from __future__ import annotations

from torch import Tensor


def total_variation(stickers: Tensor, box: Tensor) -> Tensor:
    """``sum sqrt(dx^2 + dy^2)`` inside the box, ``[N]``."""
    inside = box[:, :, :-1, :-1] * box[:, :, 1:, :-1] * box[:, :, :-1, 1:]
    here = stickers[:, :, :-1, :-1]
    squares = (stickers[:, :, 1:, :-1] - here).square() + (stickers[:, :, :-1, 1:] - here).square()
    return (inside * (squares + 1e-12).sqrt()).sum(dim=(1, 2, 3))
