"""Command lines that choose a part that is there already: one line of ours, which names who brings it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.errors import ConfigError

SURROGATE = "model@surrogates.cosface_ir"


def mistake(*words: str, config_dirs: tuple[str, ...] = ()) -> str:
    with pytest.raises(ConfigError) as refused:
        compose_config(words, config_dirs=config_dirs)
    line = str(refused.value)
    assert "\n" not in line and "defaults list" not in line
    return line


@pytest.mark.parametrize("experiment", ["bench", "smoke"])
def test_a_set_of_networks_that_the_experiment_has_too_is_named(experiment: str) -> None:
    word = "target_set=veils" if experiment == "bench" else "+target_set=veils"
    assert mistake(f"experiment={experiment}", "runtime=gpu", word) == (
        f"{word} brings {SURROGATE}, which the experiment has, too: "
        "leave it out, or take an experiment without that one"
    )


@pytest.mark.parametrize("word", [f"+{SURROGATE}=cosface_ir", "+target_set=veils"])
def test_a_plus_before_what_is_there_is_told(word: str) -> None:
    assert mistake("experiment=bench", word) == (
        f"{word!r} adds what is there already: leave the plus out to choose another, or leave it out"
    )


def test_a_preset_of_ones_own_that_names_a_part_twice_is_told(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        f"# @package _global_\ndefaults:\n  - veil_figure3\n  - /{SURROGATE}: cosface_ir\n", encoding="utf-8"
    )
    assert mistake("experiment=mine", config_dirs=(str(tmp_path),)).startswith(
        f"a config that it is made of brings {SURROGATE}, which the experiment has, too"
    )
