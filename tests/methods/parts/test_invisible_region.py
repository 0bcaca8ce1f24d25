"""The local region of Invisible-Face, oracles C1 to C4: boxes, the walk of the annealing, and what it costs."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.core.ranges import SettingError
from cloakbench.methods.parts.invisible.region import RegionRules, find_corners, find_regions, inside, walk
from cloakbench.methods.parts.tiny_world import SIDE, tiny_context, tiny_photos

POINTS = torch.tensor([[10.0, 12.0], [22.0, 12.0], [16.0, 18.0], [11.0, 24.0], [21.0, 24.0]])


def energies(count: int, seed: int) -> list[float]:
    return torch.rand(count, generator=generator("energies", seed)).tolist()


def draws(count: int, seed: int) -> list[float]:
    return torch.rand(count, generator=generator("draws", seed)).tolist()


def regions(rules: RegionRules, at_once: int = 64, rows: slice = slice(None), seed: int = 0) -> tuple[Tensor, int]:
    """Boxes of the tiny photos, and passes of a photo."""
    context, batch = tiny_context(), tiny_photos()
    photos, names = batch.images[rows], batch.image_id[rows]
    points = batch.require_landmarks()[rows]
    with torch.no_grad():
        clean = [model.logits(photos) for model in context.attribute_surrogates]
    boxes = find_regions(photos, names, points, clean, context.attribute_surrogates, seed, rules, at_once)
    return boxes, context.spent.forward_images


def test_corners_are_reflections_in_the_centre() -> None:  # C1
    corners = find_corners("ada", POINTS, (32, 32), RegionRules())
    assert len(corners.upper_left) > 10
    torch.testing.assert_close(
        corners.upper_left + corners.lower_right, 2 * corners.centre.expand(len(corners.upper_left), 2)
    )
    torch.testing.assert_close(corners.centre, POINTS.mean(dim=0))


def test_candidates_lie_above_and_left_of_the_centre_in_order_and_are_not_too_many() -> None:
    rules = RegionRules(grid=40, margin_px=1)
    found = find_corners("ada", POINTS, (32, 32), rules)
    assert len(found.upper_left) == rules.most_candidates == 88
    assert (found.upper_left < found.centre - 1).all()
    assert found.upper_left[:, 0].diff().min() >= 0


@pytest.mark.parametrize("side", [32, 50, 112])
@pytest.mark.parametrize("shift", [-30.0, 0.0, 40.0, 500.0])
def test_a_box_holds_the_centre_and_never_leaves_the_photo(side: int, shift: float) -> None:
    corners = find_corners("ada", POINTS + torch.tensor([shift / 4, 4.0]).clamp(min=0), (side, side), RegionRules())
    boxes = corners.boxes(side, side)
    assert boxes.min() >= 0 and boxes.max() <= side - 1
    assert (boxes[:, :2] <= corners.centre).all() and (corners.centre <= boxes[:, 2:]).all()
    masks = inside(boxes, side, side)
    assert torch.equal(masks.sum(dim=(1, 2, 3)).long(), (boxes[:, 2:] - boxes[:, :2] + 1).prod(dim=1))


def test_the_mask_of_a_box_is_that_of_a_plain_loop() -> None:
    (mask,) = inside(torch.tensor([[2, 3, 5, 4]]), 8, 7)
    expected = [[[float(2 <= x <= 5 and 3 <= y <= 4) for x in range(7)] for y in range(8)]]
    assert mask.tolist() == expected


def plain_walk(given: list[float], chances: list[float], rules: RegionRules) -> list[int]:
    """Algorithm 1 line by line."""
    index = step = 0
    current, accepted = given[0], [0]
    while index + 1 < len(given) and rules.highest * rules.cooling**step > rules.lowest:
        temperature = rules.highest * rules.cooling**step
        proposed = given[index + 1]
        delta = proposed - current
        if delta < 0 or math.exp(-delta / temperature) > chances[step]:
            current = proposed
            accepted.append(index + 1)
        step += 1
        index += 1
    return accepted


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("highest", [10.0, 0.3])
def test_the_walk_is_the_algorithm(seed: int, highest: float) -> None:
    rules = RegionRules(highest=highest)
    given, chances = energies(120, seed), draws(120, seed)
    found = walk(given, chances, rules)
    assert list(found.visited) == plain_walk(given, chances, rules)
    assert found.returned("last") == found.visited[-1]
    assert given[found.returned("best")] == min(given[place] for place in found.visited)


@pytest.mark.parametrize("count", [1, 2, 40, 200])
def test_proposals_end_with_the_list_or_with_the_temperature(count: int) -> None:  # C4
    assert walk(energies(count, 0), draws(count, 0), RegionRules()).proposed == min(90, count - 1)


@pytest.mark.parametrize("seed", range(5))
def test_without_heat_energy_never_grows(seed: int) -> None:  # C3
    given = energies(80, seed)
    found = walk(given, [0.5] * 80, RegionRules(highest=1e-9, lowest=1e-12))
    assert all(given[b] <= given[a] for a, b in zip(found.visited, found.visited[1:], strict=False))
    assert 1 < len(found.visited) < 80


def test_without_the_networks_every_smaller_box_is_accepted_and_the_smallest_is_the_best() -> None:  # C2
    rules = RegionRules(network_weight=0)
    corners = find_corners("ada", POINTS, (32, 32), rules)
    sizes = corners.boxes(32, 32)
    area = ((sizes[:, 2:] - sizes[:, :2] + 1).prod(dim=1) / 1024).tolist()
    found = walk(area, draws(100, 0), rules)
    current = 0
    for place in range(1, len(area)):
        if area[place] < area[current]:
            assert place in found.visited
        current = place if place in found.visited else current
    assert area[found.best] == min(area[place] for place in found.visited)
    boxes, passes = regions(rules)
    assert passes == 2 * 6, "the clean photos alone"
    assert boxes.shape == (6, 4)


def test_energies_are_equation_3() -> None:
    """The chosen box against a plain search over all boxes, without heat so that no draw counts."""
    rules = RegionRules(highest=1e-9, lowest=1e-30, area_weight=0.5, grid=5)
    boxes, _ = regions(rules)
    context, batch = tiny_context(), tiny_photos()
    (model,) = context.attribute_surrogates
    for row in range(6):
        photo = batch.images[row : row + 1]
        corners = find_corners("", batch.require_landmarks()[row], (SIDE, SIDE), rules).boxes(SIDE, SIDE)

        def change(seen: Tensor, photo: Tensor = photo) -> float:
            clean, now = model.logits(photo), model.logits(seen)
            terms = [
                float(F.kl_div(now[name].log_softmax(1), clean[name].softmax(1), reduction="batchmean"))
                for name in clean
            ]
            return sum(terms) / len(terms)

        most = change(torch.zeros_like(photo))
        given = []
        for left, top, right, bottom in corners.tolist():
            seen = torch.zeros_like(photo)
            seen[..., top : bottom + 1, left : right + 1] = photo[..., top : bottom + 1, left : right + 1]
            share = (right - left + 1) * (bottom - top + 1) / SIDE**2
            given.append(change(seen) / most + 0.5 * share)
        best = plain_walk(given, [0.5] * 100, rules)[-1]
        assert boxes[row].tolist() == corners[best].tolist()


@pytest.mark.parametrize("returned", ["best", "last"])
def test_a_region_is_a_function_of_photo_and_seed_alone(returned: Any) -> None:
    rules = RegionRules(returns=returned, centre="random", highest=0.5)
    together, _ = regions(rules)
    alone = torch.cat([regions(rules, rows=slice(row, row + 1))[0] for row in range(6)])
    one_by_one, _ = regions(rules, at_once=1)
    assert torch.equal(together, alone) and torch.equal(together, one_by_one)
    assert not torch.equal(together, regions(rules, seed=1)[0])


def test_a_photo_costs_at_most_ninety_passes_of_each_network() -> None:
    rules = RegionRules(grid=40, margin_px=0.1)
    _, passes = regions(rules)
    networks, photos = 2, 6
    assert passes <= 90 * networks * photos
    assert passes == networks * (photos * (88 + 1) + 1), "88 boxes, the clean photo, and one black photo for all"


def test_outside_of_a_box_may_be_the_mean_colour_of_the_photo() -> None:
    black, mean = (
        regions(RegionRules(outside=outside, highest=1e-9, lowest=1e-30))[0] for outside in ("black", "mean")
    )
    assert black.shape == mean.shape


def test_a_face_without_points_has_the_grid_and_the_middle_of_the_photo() -> None:
    for points in (None, torch.full((5, 2), torch.nan)):
        corners = find_corners("ada", points, (32, 32), RegionRules())
        assert corners.centre.tolist() == [15.5, 15.5] and len(corners.upper_left) > 4


@pytest.mark.parametrize(
    ("points", "rules", "line"),
    [
        (None, RegionRules(grid=0), r"photo ada has no landmarks, and region\.grid=0 leaves no other points"),
        (
            POINTS,
            RegionRules(margin_px=40),
            r"photo ada: no point lies 40 px above and left of the centre .* lower reg",
        ),
        (POINTS[2:3], RegionRules(grid=0), r"no point lies 4 px above and left"),
    ],
)
def test_no_candidate_is_one_line(points: Tensor | None, rules: RegionRules, line: str) -> None:
    with pytest.raises(ValueError, match=line) as problem:
        find_corners("ada", points, (32, 32), rules)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    "wrong",
    [{"cooling": 1}, {"highest": 0}, {"returns": "first"}, {"grid": -1}, {"area_weight": -1}, {"centre": "left"}],
)
def test_a_setting_out_of_range_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(wrong))):
        RegionRules(**wrong)
