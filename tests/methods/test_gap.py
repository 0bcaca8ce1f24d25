"""GAP, oracles B2: the bound in every channel, noise that never changes, masks from eval mode."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.base import Budget
from cloakbench.methods.gap import GAP
from cloakbench.methods.parts.gan.gap_training import Scale, scaled_to_bound
from cloakbench.methods.parts.gan.networks import MaskGenerator, drawn
from cloakbench.methods.parts.tiny_world import SIDE, tiny_context, tiny_photos

EPSILON = 8 / 255
FAST: dict[str, Any] = {"width": 4, "blocks": 1, "epochs": 1, "steps_per_epoch": 6, "batch": 5}


def answers() -> torch.Tensor:
    return torch.empty(1, 3, 6, 6).uniform_(-1, 1, generator=generator("answers"))


@pytest.mark.parametrize("scale", ["tanh", "channel_max"])
def test_no_channel_leaves_the_bound(scale: Scale) -> None:
    mask = GAP(8, scale=scale, **FAST).run_training(tiny_context()).tensors["generated_mask"]["mask"]
    assert mask.shape == (1, 3, SIDE, SIDE)
    assert mask.abs().max() <= EPSILON + 1e-7
    assert scaled_to_bound(torch.sign(answers()), scale, EPSILON).abs().max() == pytest.approx(EPSILON)


def test_channel_max_shrinks_each_channel_alone_and_enlarges_none() -> None:
    picture = 2 * torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1).expand(1, 3, 6, 6) - 1
    assert scaled_to_bound(picture, "channel_max", EPSILON).abs().max() < 1e-7, "ImageNet's mean colour is no mask"
    faint = picture + 0.01 * answers()
    torch.testing.assert_close(scaled_to_bound(faint, "channel_max", EPSILON), (faint - picture) / 2)
    largest = scaled_to_bound(answers(), "channel_max", EPSILON).abs().amax(dim=(0, 2, 3))
    torch.testing.assert_close(largest, torch.full((3,), EPSILON))


def test_the_noise_is_drawn_once_and_the_mask_is_what_eval_mode_makes_of_it() -> None:
    method = GAP(8, **FAST)
    trained = method.run_training(tiny_context()).tensors["generated_mask"]
    drawn_noise = torch.rand(1, 3, SIDE, SIDE, generator=generator(0, "gap", "noise"))
    assert torch.equal(trained["noise"], drawn_noise)
    network = drawn(partial(MaskGenerator, 4, 1, "batch", 3, 3), "test")
    with torch.no_grad():
        network(drawn_noise)
        in_training = method.training.mask(network, drawn_noise)
        one, other = (method.training.mask(network.eval(), drawn_noise) for _ in range(2))
    assert torch.equal(one, other) and not torch.equal(one, in_training)


def test_training_makes_faces_less_like_themselves_than_an_untrained_generator() -> None:
    context = tiny_context()
    (model,) = context.surrogates
    photos = tiny_photos().images

    def similarity(learning_rate: float) -> float:
        settings = {**FAST, "steps_per_epoch": 40, "learning_rate": learning_rate}
        mask = GAP(8, **settings).run_training(context).tensors["generated_mask"]["mask"]
        with torch.no_grad():
            return float((model.embed(photos + mask) * model.embed(photos)).sum(dim=1).mean())

    assert similarity(2e-3) < similarity(1e-12) - 0.02


def test_passes_are_those_of_the_batches_and_none_per_person() -> None:
    context, method = tiny_context(), GAP(8, **FAST)
    training = method.run_training(context)
    assert (training.cost.forward_images, training.cost.backward_images) == (60, 30)
    cost = method.protect(tiny_photos(), replace(context, trained=training.tensors)).cost
    assert (cost.forward_images, cost.backward_images) == (0, 0)


def test_another_ball_trains_nothing_anew() -> None:
    plain, matched = GAP(8, **FAST), GAP(8, match_norm={"l2": 1200}, **FAST)
    assert plain.stages() == matched.stages() and matched.budget == Budget("l2", 1200)


def test_a_training_that_diverges_is_one_line() -> None:
    settings = {**FAST, "learning_rate": 1e30}
    with pytest.raises(ValueError, match=r"gap: training diverged at step \d of 6: lower method\.learning_rate") as one:
        GAP(8, **settings).run_training(tiny_context())
    assert "\n" not in str(one.value)
