"""Settings of an experiment: a value of the wrong kind is refused in one line that says what to write."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import DictConfig

from cloakbench.bench.config.checks.schema import KINDS
from cloakbench.bench.config.checks.setting_checks import check_settings
from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.errors import ConfigError

PRESETS = ("bench", "smoke", "survey_fig2", "survey_fig3", "survey_fig4", "survey_tables")


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_have_values_of_the_right_kind(preset: str) -> None:
    check_settings(compose_config([f"experiment={preset}"]))


def test_every_kind_belongs_to_a_setting() -> None:
    configs = [
        compose_config(["experiment=survey_fig2"]),
        compose_config(["experiment=bench"]),
        *(compose_config([], name) for name in ("protect", "recover", "perf", "zoo", "views")),
        *(compose_config(["model=arcface_ir"], name) for name in ("verify", "calibrate")),
        *(compose_config([], name) for name in ("papers", "share")),
    ]
    known = {key for key in KINDS if any(is_there(config, key.split(".")) for config in configs)}
    assert known == {key for key in KINDS if not key.startswith(("ensembles.", "transforms.", "metrics.", "variants."))}


def is_there(node: Any, steps: list[str]) -> bool:
    if not steps:
        return True
    if not isinstance(node, DictConfig):
        return False
    if steps[0] == "*":
        return any(is_there(node._get_node(name), steps[1:]) for name in node)
    return steps[0] in node.keys() and is_there(node._get_node(steps[0]), steps[1:])  # noqa: SIM118 (??? is not "in")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("epsilons_255=8", r"epsilons_255 is 8: it must be a list of numbers .* such as \[4,8\] .*, or null"),
        ("epsilons_255=[8,much]", "epsilons_255 is .*much.*: it must be a list of numbers"),
        ("ensembles=3", "ensembles is 3: it must be a mapping"),
        ("plan.limits=3", "plan.limits is 3"),
        ("plan.chunk_identities=0", "chunk_identities is 0: it must be a whole number of at least 1"),
        ("plan.chunk_identities=true", "chunk_identities is true"),
        ("statistics.resamples=null", "resamples is null: it must be a whole number"),
        (
            "protocols.quality.image_metrics=ssim",
            r"protocols.quality.image_metrics is ssim: it must be a mapping",
        ),
        ("report.examples=abc", "report.examples is abc"),
        ("runtime.workers=-1", "runtime.workers is -1: it must be auto, or a whole number of at least 0"),
        ("protocols.poisoning.seeds=3", "protocols.poisoning.seeds is 3: it must be a list"),
        ("protocols.poisoning.clean_shares=0.2", "protocols.poisoning.clean_shares is 0.2: it must be a list"),
        ("protocols.poisoning.conditions_on=ir", "protocols.poisoning.conditions_on is ir: it must be a list"),
        ("protocols.poisoning.other_identities=many", "protocols.poisoning.other_identities is many"),
    ],
)
def test_another_kind_is_refused(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_settings(compose_config(["experiment=survey_fig2", word]))
