"""Equations of FaceCloak one by one: anchors, stickers, high-pass, attention, budget map."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.parts.facecloak.anchors import anchor_loss, distance, find_pair
from cloakbench.methods.parts.facecloak.attention import update_attention_
from cloakbench.methods.parts.facecloak.budget_map import BudgetMap, budget_map, project_, step_mask_
from cloakbench.methods.parts.facecloak.high_pass import high_pass, strong_detail
from cloakbench.methods.parts.facecloak.stickers import find_stickers, sticker_boxes
from cloakbench.methods.parts.tiny_world import tiny_context, tiny_photos

TEMPLATE = torch.tensor([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [36.0, 92.4], [76.0, 92.2]])
"""Points of an aligned crop of 112 pixels, with a mouth of 40."""


def photos(*shape: int, name: str = "photos") -> torch.Tensor:
    return torch.rand(*shape, generator=generator(name))


def test_the_far_anchor_is_farther_than_anybody_and_the_near_one_nearer() -> None:
    batch, context = tiny_photos(), tiny_context()
    seeds = batch.require_references()[:, 0]
    pair = find_pair(seeds, "impostor", "pool", None, 2, "facecloak", context)
    (model,) = context.surrogates
    own = model.embed(seeds)
    pool = model.embed(context.require_auxiliary().images[::2].float() / 255)
    distances = distance(own.unsqueeze(1), pool)
    torch.testing.assert_close(distance(own, pair.far[0]), distances.amax(dim=1))
    torch.testing.assert_close(distance(own, pair.near[0]), distances.amin(dim=1))
    assert context.facts == {"anchor_people": 24}
    assert not pair.same().any()


def test_one_self_is_nearer_than_every_stranger() -> None:
    seeds = tiny_photos().require_references()[:, 0]
    own = find_pair(seeds, "self", "pool", None, 2, "facecloak", tiny_context())
    stranger = find_pair(seeds, "impostor", "fixed", None, 2, "facecloak", tiny_context())
    (embedded,) = (model.embed(seeds) for model in tiny_context().surrogates)
    assert torch.equal(own.near[0], embedded)
    assert bool((distance(embedded, stranger.near[0]) > 0.01).all())
    assert torch.equal(stranger.far[0][0], stranger.far[0][1]), "a fixed anchor is everybody's"


def test_swapping_the_anchors_turns_the_slope_round_exactly() -> None:
    near, far, embeddings = torch.nn.functional.normalize(photos(3, 4, 16) - 0.5, dim=-1)
    leaf = embeddings.requires_grad_()
    (slope,) = torch.autograd.grad(anchor_loss(leaf, near, far).sum(), leaf)
    (swapped,) = torch.autograd.grad(anchor_loss(leaf, far, near).sum(), leaf)
    assert torch.equal(slope, -swapped) and bool(slope.any())


def test_detail_has_mean_zero_and_deviation_one_and_is_that_of_another_blur() -> None:
    some = photos(2, 3, 48, 56)
    detail = high_pass(some)
    for photo, ours in zip(some.double().numpy(), detail.numpy(), strict=True):
        blurred = np.stack([gaussian_filter(channel, 3.0, mode="mirror", radius=11) for channel in photo])
        residual = photo - blurred
        np.testing.assert_allclose(ours, (residual - residual.mean()) / residual.std(), atol=2e-4)
        assert abs(ours.mean()) < 1e-5 and abs(ours.std() - 1) < 1e-5


def test_a_photo_without_detail_has_none() -> None:
    assert not high_pass(torch.full((1, 3, 40, 40), 0.25)).abs().gt(1).any()
    assert not strong_detail(high_pass(torch.zeros(1, 3, 40, 40)), 1.0, "absolute").any()


def test_strong_detail_is_far_from_the_mean_and_the_released_one_is_half_of_all() -> None:
    detail = torch.tensor([-1.5, -0.5, 0.0, 0.5, 1.0, 1.5])
    assert strong_detail(detail, 1.0, "absolute").tolist() == [1, 0, 0, 0, 0, 1]
    assert strong_detail(detail, 0.0, "signed").tolist() == [0, 0, 0, 1, 1, 1]
    released = strong_detail(high_pass(photos(1, 3, 64, 64)), 0.0, "signed")
    assert 0.45 < float(released.mean()) < 0.55


def test_stickers_are_the_boxes_of_the_released_code() -> None:
    expected = torch.zeros(112, 112)
    expected[46:56, 27:49] = 1  # eyes, 22 x 10
    expected[46:56, 62:84] = 1
    expected[57:85, 45:67] = 1  # nose, 22 x 28
    expected[78:106, 35:77] = 1  # mouth, as wide as its corners, in a whole number of pixels each side, x 28
    found = find_stickers(TEMPLATE[None], 112, 112)
    assert torch.equal(found.inside[0, 0], expected)
    assert (found.cut, found.outside) == (0, 0)
    straight = TEMPLATE.clone()
    straight[3, 1] = straight[4, 1]
    first, last = sticker_boxes(straight[None])
    assert (last - first).tolist() == [[[22, 10], [22, 10], [22, 28], [40, 28]]]
    assert 0.15 < float(find_stickers(straight[None], 112, 112).inside.mean()) < 0.175, "about 17 %, overlaps once"


@pytest.mark.parametrize("side", [32, 112, 160, 224])
def test_boxes_are_even_and_inside_crops_of_every_size(side: int) -> None:
    landmarks = (TEMPLATE * side / 112)[None]
    first, last = sticker_boxes(landmarks, side / 112, side / 112)
    assert not ((last - first) % 2).any() and bool((first >= 0).all()) and bool((last <= side).all())
    assert find_stickers(landmarks, side, side).cut == 0


def test_a_box_that_leaves_the_crop_is_cut_and_counted() -> None:
    moved = TEMPLATE + torch.tensor(
        [-40.0, 20.0]
    )  # the left eye beyond the left border, the mouth beyond the lower one
    found = find_stickers(torch.stack([TEMPLATE, moved]), 112, 112)
    first, last = sticker_boxes(moved[None])
    boxes = [(x0, y0, x1, y1) for (x0, y0), (x1, y1) in zip(first[0].tolist(), last[0].tolist(), strict=True)]
    expected = torch.zeros(112, 112)
    for x0, y0, x1, y1 in boxes:
        expected[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = 1
    assert torch.equal(found.inside[1, 0], expected)
    assert found.cut == sum(min(box) < 0 or max(box) > 112 for box in boxes) == 2
    assert found.outside == 3, "the left eye and both corners of the mouth"
    assert found.known.tolist() == [True, True]


def test_a_face_without_landmarks_has_no_stickers() -> None:
    unknown = TEMPLATE.clone()
    unknown[2, 0] = torch.nan
    found = find_stickers(torch.stack([unknown, TEMPLATE]), 112, 112)
    assert found.known.tolist() == [False, True] and not found.inside[0].any() and bool(found.inside[1].any())
    assert (found.cut, found.outside) == (0, 0)


def test_the_budget_map_has_the_larger_of_two_where_regions_meet() -> None:
    one, other = torch.zeros(1, 1, 1, 4), torch.zeros(1, 3, 1, 4)
    one[..., :2], other[..., 1:3] = 1, 1
    bound = budget_map(8, 32, [one, other], torch.zeros(1, 3, 1, 4))
    assert bound[0, :, 0].tolist() == [[32, 32, 32, 8]] * 3
    assert torch.equal(budget_map(8, 4, [one], other), torch.full((1, 3, 1, 4), 8.0))
    assert torch.equal(budget_map(8, 32, [], other), torch.full((1, 3, 1, 4), 8.0))


def test_a_step_goes_down_and_is_projected_value_by_value() -> None:
    mask, slope = torch.tensor([0.0, 3.0, -3.0]), torch.tensor([0.0, -2.0, 5.0])
    assert step_mask_(mask, slope, 2).tolist() == [0, 5, -5]
    regions = torch.tensor([0.0, 1.0, 0.0]).view(1, 1, 1, 3)
    budget = BudgetMap.of(4, 8, regions, None, torch.zeros(1, 1, 1, 3))
    assert project_(torch.tensor([5.0, -9.0, 1.0]).view(1, 1, 1, 3), budget).flatten().tolist() == [4, -8, 1]


def standardised(slope: torch.Tensor) -> torch.Tensor:
    return update_attention_(torch.zeros_like(slope), slope.clone(), -1, 0)


def test_attention_follows_the_standardised_slope_whatever_its_size() -> None:
    slope = torch.randn(2, 3, 8, 8, generator=generator("slope"))
    norm = standardised(slope)
    assert norm.flatten(1).mean(dim=1).abs().max() < 1e-6
    torch.testing.assert_close(norm.flatten(1).std(dim=1, unbiased=False), torch.ones(2))
    torch.testing.assert_close(standardised(1e-9 * slope), norm)
    torch.testing.assert_close(update_attention_(torch.ones_like(slope), slope.clone(), 0.01, 0), 1 - 0.01 * norm)
    assert torch.equal(standardised(torch.ones(1, 3, 2, 2)), torch.zeros(1, 3, 2, 2))


def test_the_released_offset_makes_plain_steps_at_a_rate_of_a_thousand() -> None:
    slope = 4e-6 * torch.randn(1, 3, 8, 8, generator=generator("slope"))
    moved = update_attention_(torch.zeros_like(slope), slope.clone(), 10, 0.01)
    torch.testing.assert_close(moved, -1000 * (slope - slope.mean()), rtol=1e-3, atol=1e-9)
