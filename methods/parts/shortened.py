"""A method's config with its long searches and trainings cut short, for checks that take seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_AT_MOST = {
    "steps": 6,
    "neighbours": 2,
    "strangers": 2,
    "label_tuples": 2,
    "epochs": 1,
    "rounds": 12,
    "max_rounds": 1,
    "batches_per_round": 1,
    "outer_steps": 1,
    "view_samples": 2,
    "width": 8,
    "discriminator_width": 8,
    "iterations": 60,
    "copies": 2,
    "view_count": 4,
    "least_surrogates": 1,
    "steps_per_epoch": 25,
    "image_epochs": 8,
    "person_epochs": 2,
    "training_steps": 60,
    "training_people": 4,
    "cover_steps": 40,
    "warmup_epochs": 1,
    "critic_steps": 1,
    "searches": 3,
    "search_steps": 20,
}
"""Names of settings that say how long a search or training is, how much of it takes the same path, and how many
networks there must be, of which the tiny world has one."""
_STEPS_FROM_NOISE = 40
"""Fewer steps of a fixed size do not get from noise to where a recogniser knows anybody."""
_STEPS_OF_A_CLOAK = 20
"""A cloak within a bound on structure: the weight that balances the two has doubled often enough by then."""
_STEPS_OF_A_TRAINING = 2
"""Steps for each batch of a method that trains a network of its own, and of what works inside a method."""


def in_short(config: Mapping[str, Any]) -> dict[str, Any]:
    """A method's config with its long searches and trainings cut short, so that a check takes seconds.

    Official settings are minutes long on the tiny world, too. A step of a fixed size is not made longer.
    """
    most = dict(_AT_MOST)
    if any(name in config for name in ("max_rounds", "outer_steps")):
        most["steps"] = _STEPS_OF_A_TRAINING
    if "start" in config:
        most["steps"] = _STEPS_FROM_NOISE
    if "dssim_bound" in config:
        most["steps"] = _STEPS_OF_A_CLOAK
    return _lowered(config, most)


def _lowered(config: Mapping[str, Any], most: Mapping[str, int]) -> dict[str, Any]:
    lowered = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            lowered[name] = _lowered(value, {"steps": _STEPS_OF_A_TRAINING})
        elif name in most and isinstance(value, int) and not isinstance(value, bool):
            lowered[name] = min(value, most[name])
        else:
            lowered[name] = value
    return lowered
