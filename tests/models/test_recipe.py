"""Schedules: ends, order and range checks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cloakbench.models.training.recipe import Recipe

RECIPE = Recipe(
    epochs=2,
    batch_size=10,
    learning_rate=0.1,
    warmup_share=0.1,
    floor_share=0.002,
    momentum=0.9,
    weight_decay=5e-4,
    ramp_share=0.3,
    flip=True,
    adversarial_share=0.5,
    adversarial_epsilon_255=6,
    adversarial_from=0.4,
)


def test_rate_rises_then_falls_to_the_floor() -> None:
    rates = [RECIPE.rate(step, 100) for step in range(100)]
    top = rates.index(max(rates))
    assert 9 <= top <= 10
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert max(rates) == pytest.approx(0.1 * 1.002)
    assert rates[-1] == pytest.approx(0.1 * 0.002, abs=1e-4)


def test_ramp_and_adversaries_start_when_told() -> None:
    assert [RECIPE.ramp(step, 100) for step in (0, 15, 30, 99)] == pytest.approx([0, 0.5, 1, 1])
    assert [RECIPE.adversarial_images(step, 100) for step in (39, 40)] == [0, 5]
    assert replace(RECIPE, ramp_share=0.0).ramp(0, 100) == 1


@pytest.mark.parametrize(("key", "value"), [("epochs", 0), ("batch_size", -1), ("warmup_share", 1.5)])
def test_values_out_of_range_are_named(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"training.{key}"):
        replace(RECIPE, **{key: value})


def test_a_batch_that_cannot_be_filled() -> None:
    with pytest.raises(ValueError, match="9 training images do not fill a batch of 10"):
        RECIPE.steps_per_epoch(9)
