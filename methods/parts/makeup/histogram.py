"""Histogram losses: how far the colours of a region are from those of the same region of another face.

Source: Li et al., "BeautyGAN", ACM MM 2018, section 3.2, which AMT-GAN uses, too. There, histograms of 256 bins are
matched; here the ordered values themselves, which is exact.
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def matched(values: Tensor, like: Tensor) -> Tensor:
    """Values ``[C, P]`` in their order, but distributed as ``like`` ``[C, Q]``, channel by channel.

    The k-th smallest of P values becomes the ``(k + 1/2) / P`` quantile of the others, linear between two of these.
    """
    count, others = values.shape[1], like.shape[1]
    ordered = like.sort(dim=1).values
    place = ((torch.arange(count, device=values.device) + 0.5) * others / count - 0.5).clamp(0, others - 1)
    lower = place.floor().long()
    upper = (lower + 1).clamp(max=others - 1)
    quantiles = torch.lerp(ordered[:, lower], ordered[:, upper], place - lower)
    return torch.empty_like(values).scatter_(1, values.argsort(dim=1, stable=True), quantiles)


def histogram_losses(photos: Tensor, inside: Tensor, references: Tensor, inside_references: Tensor) -> Tensor:
    """Mean square of what is missing to the colours of a reference, ``[N, R]``; 0 where either region is empty.

    Args:
        photos: ``[N, 3, H, W]``; gradients go to these alone.
        inside: their regions, ones and zeros ``[N, R, H, W]``.
        references: ``[N, 3, h, w]``.
        inside_references: ``[N, R, h, w]``.
    """
    rows = []
    for photo, areas, reference, others in zip(photos, inside, references, inside_references, strict=True):
        row = []
        for area, other in zip(areas.bool(), others.bool(), strict=True):
            values, like = photo[:, area], reference[:, other]
            if values.shape[1] and like.shape[1]:
                row.append((values - matched(values.detach(), like.detach())).square().mean())
            else:
                row.append(photo.new_zeros(()))
        rows.append(torch.stack(row))
    return torch.stack(rows)
