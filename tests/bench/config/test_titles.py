"""Titles of methods: taken wherever a method stands, and in no key."""

from __future__ import annotations

from typing import Any

import pytest

from cloakbench.bench.config.checks.setting_checks import check_settings
from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.config.titles import builds_method, without_titles
from cloakbench.bench.core.errors import ConfigError
from cloakbench.methods.controls import Identity
from cloakbench.methods.pgd import PGD

PGD_TARGET = "cloakbench.methods.pgd.PGD"


def makes_a_method() -> PGD:
    return PGD()


def makes_something() -> int:
    return 0


@pytest.mark.parametrize(
    ("target", "is_one"),
    [
        (PGD_TARGET, True),
        (f"{Identity.__module__}.{Identity.__qualname__}", True),
        (f"{__name__}.makes_a_method", True),
        (f"{__name__}.makes_something", False),
        ("cloakbench.bench.engine.transforms.JPEG", False),
        ("no.such.module", False),
    ],
)
def test_a_method_is_a_class_of_them_or_a_function_that_says_it_returns_one(target: str, is_one: bool) -> None:
    assert builds_method(target) == is_one


def test_titles_of_methods_go_and_those_of_other_parts_stay() -> None:
    method = {"_target_": PGD_TARGET, "epsilon_255": 8, "title": "PGD"}
    other = {"_target_": "datetime.date", "title": "kept"}
    config: dict[str, Any] = {"title": "kept", "methods": {"pgd": method}, "parts": [other, {"deep": [method]}]}
    bare = {"_target_": PGD_TARGET, "epsilon_255": 8}
    assert without_titles(config) == {
        "title": "kept",
        "methods": {"pgd": bare},
        "parts": [other, {"deep": [bare]}],
    }
    assert method["title"] == "PGD"


def test_methods_inside_a_protocol_have_titles_too_and_wrong_ones_are_refused() -> None:
    config = compose_config(["experiment=survey_fig2"])
    check_settings(config)
    name = next(iter(config.protocols.poisoning.methods))
    config.protocols.poisoning.methods[name].title = ""
    with pytest.raises(ConfigError, match=rf"protocols\.poisoning\.methods\.{name}\.title is '': it must be a name"):
        check_settings(config)
