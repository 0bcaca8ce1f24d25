"""`Layers`: the face of a full photo as many aligned crops that hold every pixel of it once, so that what is done to
crops can be undone in the photo.

Other methods add the change of one crop to the photo. That leaves all detail that is finer than the crop, and cannot be
undone, since two interpolations lie between photo and crop. Here each photo pixel belongs to the crop pixel that it is
mapped nearest to, and the crops, as many as photo pixels share one crop pixel, take them in turn. A method sees crops
as a camera of another sampling would have given them, and what it makes of a photo pixel is written back there. Where a
crop pixel has no photo pixel, be it that the photo is coarser or ends there, the nearest one fills it, and is
not written back.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cloakbench.datasets.paste import crop_box


@dataclass(frozen=True)
class Layers:
    """Where the pixels of some crops are in a photo.

    Attributes:
        source: flat photo pixel of each crop pixel, long ``[L, S * S]``.
        pixel: flat photo pixels under the crop, long ``[M]``.
        place: flat place among all pixels of the crops that each is written from, long ``[M]``.
    """

    source: Tensor
    pixel: Tensor
    place: Tensor

    @classmethod
    def under(cls, matrix: Tensor, height: int, width: int, size: int = 112) -> Layers:
        """Those of a crop.

        Args:
            matrix: similarity from photo to crop coordinates, ``[2, 3]``.
            height, width: of the photo.
            size: side of the crop.

        Raises:
            ValueError: no photo pixel is nearest to a pixel of the crop.
        """
        matrix = matrix.double()
        left, top, right, bottom = crop_box(matrix, height, width, size)
        rows, columns = torch.meshgrid(torch.arange(top, bottom), torch.arange(left, right), indexing="ij")
        points = torch.stack([columns.flatten(), rows.flatten()], 1).double() @ matrix[:, :2].mT + matrix[:, 2]
        near = points.round().long()
        inside = ((near >= 0) & (near < size)).all(dim=1)
        if not bool(inside.any()):
            raise ValueError("the face lies outside the photo")
        cell = (near[:, 1] * size + near[:, 0])[inside]
        pixel = (rows.flatten() * width + columns.flatten())[inside]
        order = cell.argsort(stable=True)
        cell, pixel = cell[order], pixel[order]
        count = cell.bincount(minlength=size * size)
        first = count.cumsum(0) - count
        layer = torch.arange(len(cell)) - first[cell]
        depth = int(count.max())
        turn = torch.arange(depth)[:, None].minimum((count - 1).clamp(min=0))
        source = pixel[(first + turn).clamp(max=len(pixel) - 1)]
        empty = (count == 0).nonzero()[:, 0]
        source[:, empty] = _nearest(matrix, empty, height, width, size)
        return cls(source, pixel, layer * size * size + cell)

    def read(self, photo: Tensor) -> Tensor:
        """The crops of a photo, ``[L, 3, S, S]`` of ``[3, H, W]``."""
        size = round(self.source.shape[1] ** 0.5)
        return photo.flatten(1)[:, self.source].transpose(0, 1).unflatten(2, (size, size)).contiguous()

    def write(self, photo: Tensor, crops: Tensor) -> Tensor:
        """The photo with the pixels of crops ``[L, 3, S, S]`` in their places."""
        written = photo.flatten(1).clone()
        written[:, self.pixel] = crops.transpose(0, 1).flatten(1)[:, self.place]
        return written.unflatten(1, tuple(photo.shape[1:]))


def _nearest(matrix: Tensor, cells: Tensor, height: int, width: int, size: int) -> Tensor:
    """The photo pixel nearest to each of some pixels of the crop."""
    points = torch.stack([cells % size, cells // size], 1).double()
    there = ((points - matrix[:, 2]) @ torch.linalg.inv(matrix[:, :2]).mT).round().long()
    columns, rows = there[:, 0].clamp(0, width - 1), there[:, 1].clamp(0, height - 1)
    return rows * width + columns
