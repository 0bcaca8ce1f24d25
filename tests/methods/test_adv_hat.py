"""Adv-Hat: nothing changes outside the sticker, jitter moves it as it says, phases follow the slope of the loss."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.core.ranges import SettingError
from cloakbench.methods.adv_hat import AdvHat, Phases, wear
from cloakbench.methods.context import Need
from cloakbench.methods.parts.objectives import Objective
from cloakbench.methods.parts.tiny_world import tiny_context, tiny_photos
from cloakbench.methods.parts.variation import total_variation

FAST: dict[str, Any] = {"iterations": 12, "copies": 2}


def test_only_the_sticker_changes() -> None:
    batch = tiny_photos()
    outcome = AdvHat(**FAST).protect(batch, tiny_context())
    changed = (outcome.images.float() != (batch.images * 255).round()).any(dim=(0, 1))
    rows, columns = changed.any(dim=1).nonzero().flatten(), changed.any(dim=0).nonzero().flatten()
    assert (int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])) == (3, 10, 7, 23)


@pytest.mark.parametrize("objective", ["own", "reference", "aim"])
def test_the_sticker_does_what_it_is_for(objective: Objective) -> None:
    batch, context = tiny_photos(), tiny_context()
    (model,) = context.surrogates
    method = AdvHat(objective, **FAST)
    assert method.targeted is (objective == "aim") and (Need.AIM in method.needs) is method.targeted
    outcome = method.protect(batch, context)
    with torch.no_grad():
        own = model.embed(batch.images)
        goal = model.embed(batch.require_aim_photos())[batch.owner] if method.targeted else own
        gained = (model.embed(outcome.images.float() / 255) * goal).sum(dim=1) - (own * goal).sum(dim=1)
    assert float(gained.mean()) > 0.02 if method.targeted else float(gained.mean()) < -0.3


def test_a_sticker_that_is_not_moved_lies_where_it_is_and_a_shift_of_one_pixel_is_one_pixel() -> None:
    draw = generator("sticker")
    images, stickers = (torch.rand(2, 3, 50, 50, generator=draw) for _ in range(2))
    box = torch.zeros(1, 1, 50, 50)
    box[:, :, 10:20, 5:30] = 1
    still = images * (1 - box) + stickers * box
    torch.testing.assert_close(wear(images, stickers * box, box, torch.zeros(2, 4)), still, atol=1e-4, rtol=0)
    moved = wear(images, stickers * box, box, torch.tensor([[1.0, 0, 0, 0], [0, -1, 0, 0]]))
    for row, shift in ((0, (0, 1)), (1, (-1, 0))):
        pattern, place = ((part).roll(shift, (-2, -1)) for part in (stickers[row] * box[0], box[0]))
        torch.testing.assert_close(moved[row], images[row] * (1 - place) + pattern, atol=1e-4, rtol=0)


def test_size_and_angle_turn_about_the_centre_of_the_sticker() -> None:
    box = torch.zeros(1, 1, 60, 60)
    box[:, :, 20:31, 10:31] = 1
    white, black = torch.ones(1, 3, 60, 60) * box, torch.zeros(1, 3, 60, 60)
    for draws in ([0, 0, 1.0, 0], [0, 0, 0, 1.0], [0, 0, -1.0, -1.0]):
        worn = wear(black, white, box, torch.tensor([draws]))[0, 0]
        places = torch.stack(torch.meshgrid(torch.arange(60.0), torch.arange(60.0), indexing="ij"))
        centre = (places * worn).sum(dim=(1, 2)) / worn.sum()
        torch.testing.assert_close(centre, torch.tensor([25.0, 20.0]), atol=0.02, rtol=0)
        area = (1 + 0.05 * draws[2]) ** 2 * 11 * 21
        assert float(worn.sum()) == pytest.approx(area, rel=0.02)


def test_total_variation_is_that_of_the_pixels_inside() -> None:
    sticker = torch.rand(1, 3, 5, 6, generator=generator("variation"))
    box = torch.zeros(1, 1, 5, 6)
    box[:, :, 1:4, 2:5] = 1
    expected = 0.0
    for channel in range(3):
        for row in range(1, 3):
            for column in range(2, 4):
                here = sticker[0, channel, row, column]
                down, right = sticker[0, channel, row + 1, column] - here, sticker[0, channel, row, column + 1] - here
                expected += float((down**2 + right**2) ** 0.5)
    assert float(total_variation(sticker, box)) == pytest.approx(expected, rel=1e-4)


def test_each_photo_goes_to_small_steps_and_ends_when_its_loss_no_longer_falls() -> None:
    phases = Phases(3, 4, torch.device("cpu"))
    assert phases.step_255.tolist() == [5, 5, 5]
    for time in range(4):
        phases.add(torch.tensor([-1.0 * time, 0.5 * time, 2.0 * time]))
    assert phases.step_255.tolist() == [5, 1, 1], "a window that falls, and two that rise"
    torch.testing.assert_close(phases.decay, torch.tensor([0.9, 0.995, 0.995]))
    for time in range(3):
        phases.add(torch.tensor([-4.0 - time, 2.0 + time, -1.0 * time]))
    assert phases.step_255.tolist()[1:] == [1, 1], "a phase is at least a window long"
    phases.add(torch.tensor([-9.0, 9.0, -9.0]))
    assert phases.step_255.tolist() == [5, 0, 1] and not phases.ended


def test_passes_are_iterations_times_copies_and_the_facts_say_how_the_search_ended() -> None:
    batch = tiny_photos()
    outcome = AdvHat(**FAST).protect(batch, tiny_context())
    photos = len(batch.images)
    assert (outcome.cost.forward_images, outcome.cost.backward_images) == (photos * 25, photos * 24)
    assert outcome.facts == {"rounds": 12, "converged": False}
    ended = AdvHat(iterations=200, copies=1, window=2).protect(batch, tiny_context()).facts
    assert ended["converged"] and ended["rounds"] < 200


@pytest.mark.parametrize("sticker", [0.5, (0.1, 0.1, 0.2), (0, 0, 0, 1), (0.5, 0, 0.6, 1), ("a", 0, 1, 1)])
def test_a_sticker_that_leaves_the_photo_is_one_line(sticker: Any) -> None:
    with pytest.raises(SettingError, match=r"sticker is .*: it must be top, left, height and width") as problem:
        AdvHat(sticker=sticker)
    assert "\n" not in str(problem.value)
