"""Quality of views: how far a generator's pictures are from photos of the same people, with intervals over people.

Of each person one photo is the seed; the generator makes as many views of it as there are other photos. A recogniser
that took no part in making them says how like the seed views are, beside the other photos, and beside seeds of other
people. Variety is what lies between two views of one person, beside two photos.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.statistics.intervals import mean_intervals
from cloakbench.models.base import Recogniser, embed_in_batches

PIXELS = "pixels"
"""What stands for a recogniser where none is asked."""
LIKE_SEED = "cosine to the seed photo"


@dataclass(frozen=True)
class Album:
    """Pictures of N people, uint8.

    Attributes:
        seeds: ``[N, 3, H, W]``, the photo that a generator sees of each.
        views: ``[N, K, 3, H, W]``, what it made of that.
        photos: ``[N, K, 3, H, W]``, other photos.
        identity: names of the people.
    """

    seeds: Tensor
    views: Tensor
    photos: Tensor
    identity: tuple[str, ...]

    def __post_init__(self) -> None:
        people, count = self.views.shape[:2]
        if self.photos.shape != self.views.shape or count < 4 or count % 2 or people < 2:
            raise ValueError(
                f"{people} people with {count} views and {self.photos.shape[1]} photos: take two people or more, and "
                "as many views as photos, an even number of at least 4"
            )


def view_quality(
    album: Album, judges: Mapping[str, Recogniser], batch_size: int, resamples: int, seed: int
) -> pd.DataFrame:
    """Rows ``judge, quantity, of, value, low, high, n_identities``; the last rows are means over judges, and pixels.

    Args:
        album: the pictures.
        judges: recognisers by name, on their device.
        batch_size: pictures per forward pass.
        resamples, seed: of the bootstrap over people.
    """
    by_judge = {name: _by_person(album, judge, batch_size) for name, judge in judges.items()}
    columns = list(next(iter(by_judge.values())))
    means = {column: torch.stack([found[column] for found in by_judge.values()]).mean(0) for column in columns}
    differences = {
        ("mean difference of two, grey levels", "views"): _pixel_variety(album.views),
        ("mean difference of two, grey levels", "photos"): _pixel_variety(album.photos),
    }
    rows = []
    for name, found in {**by_judge, f"mean of {len(by_judge)}": means, PIXELS: differences}.items():
        values = torch.stack(list(found.values()), 1).double().numpy()
        intervals = mean_intervals(values, np.array(album.identity), resamples, seed)
        for (quantity, of), interval in zip(found, intervals, strict=True):
            rows.append(
                {
                    "judge": name,
                    "quantity": quantity,
                    "of": of,
                    "value": interval.value,
                    "low": interval.low,
                    "high": interval.high,
                    "n_identities": interval.n_identities,
                }
            )
    return pd.DataFrame(rows)


def _by_person(album: Album, judge: Recogniser, batch_size: int) -> dict[tuple[str, str], Tensor]:
    """Each quantity ``[N]`` as one judge sees it, by its name and whose it is."""
    device = next(judge.parameters()).device
    people, count = album.views.shape[:2]
    pictures = torch.cat([album.seeds, album.views.flatten(0, 1), album.photos.flatten(0, 1)])
    embedded = embed_in_batches(judge, pictures, batch_size, device)
    seeds, views, photos = embedded.split([people, people * count, people * count])
    views, photos = (part.view(people, count, -1) for part in (views, photos))
    half = count // 2
    centre = F.normalize(photos[:, half:].mean(1))
    others = (seeds @ seeds.T).fill_diagonal_(0).sum(1) / (people - 1)
    like_person, top1 = "cosine of their mean to other photos", "Top-1"
    return {
        (LIKE_SEED, "views"): torch.einsum("nkd,nd->n", views, seeds) / count,
        (LIKE_SEED, "photos"): torch.einsum("nkd,nd->n", photos, seeds) / count,
        (LIKE_SEED, "strangers"): others,
        (like_person, "views"): _cosine(views[:, :half].mean(1), centre),
        (like_person, "photos"): _cosine(photos[:, :half].mean(1), centre),
        (like_person, "the seed photo alone"): _cosine(seeds, centre),
        (top1, "views"): _named(views, photos[:, -1]),
        (top1, "photos"): _named(photos[:, :-1], photos[:, -1]),
        (top1, "the seed photo alone"): _named(seeds[:, None], photos[:, -1]),
        ("one minus cosine of two", "views"): _variety(views),
        ("one minus cosine of two", "photos"): _variety(photos),
    }


def _cosine(one: Tensor, other: Tensor) -> Tensor:
    return F.cosine_similarity(one, other, dim=1)


def _named(pictures: Tensor, gallery: Tensor) -> Tensor:
    """Share of each person's ``pictures [N, K, D]`` that are nearest to the person among the ``gallery [N, D]``."""
    nearest = (pictures @ gallery.T).argmax(-1)
    return (nearest == torch.arange(len(gallery))[:, None]).double().mean(1)


def _variety(embedded: Tensor) -> Tensor:
    """Mean over pairs of one minus their cosine, of unit embeddings ``[N, K, D]``."""
    count = embedded.shape[1]
    cosines = embedded @ embedded.transpose(1, 2)
    return 1 - (cosines.sum((1, 2)) - cosines.diagonal(dim1=1, dim2=2).sum(1)) / (count * (count - 1))


def _pixel_variety(pictures: Tensor) -> Tensor:
    """Mean over pairs of their mean absolute difference in grey levels, of uint8 ``[N, K, 3, H, W]``."""
    flat = pictures.flatten(2).float()
    pairs = torch.combinations(torch.arange(pictures.shape[1]))
    return torch.stack([(one[pairs[:, 0]] - one[pairs[:, 1]]).abs().mean() for one in flat])


def sheet(album: Album, rows: int) -> Tensor:
    """A sheet of examples, uint8 ``[3, height, width]``: in each row a seed, its views, and under them other photos."""
    gap = 4
    count = album.views.shape[1]

    def strip(first: Tensor, others: Tensor) -> Tensor:
        padded = F.pad(torch.cat([first, others]), (0, gap, 0, gap), value=255)
        return torch.cat(list(padded), -1)

    blank = torch.full_like(album.seeds[:1], 255)
    strips = []
    for person in range(min(rows, len(album.seeds))):
        strips.append(strip(album.seeds[person : person + 1], album.views[person, :count]))
        strips.append(strip(blank, album.photos[person, :count]))
    return torch.cat(strips, 1)
