"""Identity and variety of views, against loops that say what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from statistics import mean

import numpy as np
import pytest
import torch
from torch import nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.recognisers.view_quality import PIXELS, Album, sheet, view_quality
from cloakbench.models.base import InputSpec, ModelCard, Recogniser

PEOPLE, COUNT = 5, 4


class Pooled(nn.Module):
    """Embeds a picture as its colours in a few places."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.side = side

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(images, self.side).flatten(1) * self.scale


def judge(side: int) -> Recogniser:
    return Recogniser(Pooled(side), InputSpec(size=(16, 16)), ModelCard("pooled", "", "", "", "", 3 * side * side, ""))


@pytest.fixture(scope="module")
def album() -> Album:
    def drawn(*shape: int, name: str) -> torch.Tensor:
        return (torch.rand(*shape, 3, 16, 16, generator=generator(name)) * 255).to(torch.uint8)

    names = tuple(f"p{person}" for person in range(PEOPLE))
    return Album(
        drawn(PEOPLE, name="s"), drawn(PEOPLE, COUNT, name="v"), drawn(PEOPLE, COUNT, name="p"), identity=names
    )


def embedded(pictures: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        flat = judge(2).embed(pictures.flatten(0, -4).float() / 255)
    return flat.view(*pictures.shape[:-3], -1).double().numpy()


def values(album: Album) -> Mapping[tuple[str, str, str], float]:
    found = view_quality(album, {"one": judge(2), "two": judge(4)}, 7, 50, 0)
    return {(row.judge, row.quantity, row.of): row.value for row in found.itertuples()}  # type: ignore[misc]


def test_numbers_are_what_loops_say(album: Album) -> None:
    found = values(album)
    seeds, views, photos = embedded(album.seeds), embedded(album.views), embedded(album.photos)
    people, places = range(PEOPLE), range(COUNT)
    expected = {
        ("cosine to the seed photo", "views"): mean(views[p, k] @ seeds[p] for p in people for k in places),
        ("cosine to the seed photo", "photos"): mean(photos[p, k] @ seeds[p] for p in people for k in places),
        ("cosine to the seed photo", "strangers"): mean(seeds[q] @ seeds[p] for p in people for q in people if p != q),
        ("one minus cosine of two", "views"): mean(
            1 - views[p, a] @ views[p, b] for p in people for a, b in combinations(places, 2)
        ),
        ("Top-1", "views"): mean(
            int(np.argmax([views[p, k] @ photos[q, -1] for q in people]) == p) for p in people for k in places
        ),
        ("Top-1", "photos"): mean(
            int(np.argmax([photos[p, k] @ photos[q, -1] for q in people]) == p) for p in people for k in places[:-1]
        ),
    }
    for (quantity, of), value in expected.items():
        assert found["one", quantity, of] == pytest.approx(float(value), abs=1e-5), (quantity, of)


def test_the_mean_of_half_is_held_against_the_other_half(album: Album) -> None:
    found = values(album)
    views, photos, seeds = embedded(album.views), embedded(album.photos), embedded(album.seeds)

    def cosine(one: np.ndarray, other: np.ndarray) -> float:
        return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))

    centres = [photos[p, 2:].mean(0) for p in range(PEOPLE)]
    for of, given in {
        "views": views[:, :2].mean(1),
        "photos": photos[:, :2].mean(1),
        "the seed photo alone": seeds,
    }.items():
        expected = mean(cosine(given[p], centres[p]) for p in range(PEOPLE))
        assert found["one", "cosine of their mean to other photos", of] == pytest.approx(expected, abs=1e-5)


def test_variety_of_pixels_is_the_mean_difference_of_pairs(album: Album) -> None:
    pictures = album.views.double()
    pairs = [
        (pictures[p, a] - pictures[p, b]).abs().mean().item()
        for p in range(PEOPLE)
        for a, b in combinations(range(4), 2)
    ]
    found = values(album)[PIXELS, "mean difference of two, grey levels", "views"]
    assert found == pytest.approx(mean(pairs), abs=1e-3)


def test_judges_are_averaged_person_by_person_and_every_row_has_an_interval(album: Album) -> None:
    frame = view_quality(album, {"one": judge(2), "two": judge(4)}, 7, 50, 0)
    found = {(row.judge, row.quantity, row.of): row.value for row in frame.itertuples()}
    for quantity, of in {(row.quantity, row.of) for row in frame.itertuples() if row.judge == "one"}:
        both = (found["one", quantity, of] + found["two", quantity, of]) / 2
        assert found["mean of 2", quantity, of] == pytest.approx(both)
    assert bool(((frame["low"] <= frame["value"]) & (frame["value"] <= frame["high"])).all())
    assert set(frame["n_identities"]) == {PEOPLE}


def test_perfect_views_are_as_photos(album: Album) -> None:
    same = Album(album.seeds, album.photos, album.photos, album.identity)
    found = values(same)
    for quantity in ("cosine to the seed photo", "one minus cosine of two", "cosine of their mean to other photos"):
        assert found["two", quantity, "views"] == pytest.approx(found["two", quantity, "photos"])


def test_too_few_or_odd_views_are_refused(album: Album) -> None:
    with pytest.raises(ValueError, match="an even number of at least 4"):
        Album(album.seeds, album.views[:, :3], album.photos[:, :3], album.identity)


def test_a_sheet_shows_seeds_views_and_photos(album: Album) -> None:
    drawn = sheet(album, rows=2)
    assert drawn.shape == (3, 2 * 2 * 20, (1 + COUNT) * 20)
    assert torch.equal(drawn[:, :16, :16], album.seeds[0])
    assert torch.equal(drawn[:, :16, 20:36], album.views[0, 0])
    assert torch.equal(drawn[:, 20:36, 20:36], album.photos[0, 0])
