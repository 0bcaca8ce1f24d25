"""Presets are composed once, and are afterwards what they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, ListConfig, OmegaConf

from cloakbench.bench.config import compose as composing
from cloakbench.bench.config.compose import compose_config, group_options
from cloakbench.bench.config.compositions import _compositions


@pytest.fixture
def composed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The overrides of every call of Hydra, with a side cache of the test's own."""
    monkeypatch.setenv("CLOAKBENCH_CACHE", str(tmp_path / "side"))
    _compositions.cache_clear()
    calls: list[list[str]] = []
    whole = composing.compose

    def counted(name: str, words: list[str], **options: Any) -> DictConfig:
        calls.append(words)
        return whole(name, words, **options)

    monkeypatch.setattr(composing, "compose", counted)
    return calls


def flags(node: Any) -> Any:
    """Flags of a config and of everything in it that has some of its own."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(node, DictConfig | ListConfig) and not (node._is_none() or node._is_missing()):
        keys = list(node) if isinstance(node, DictConfig) else list(range(len(node)))
        inner = [(key, flags(node._get_node(key))) for key in keys]
    return (node._metadata.flags or {}, [(key, found) for key, found in inner if found != ({}, [])])


@pytest.mark.parametrize("name", group_options("experiment"))
def test_a_kept_preset_is_the_composed_one(name: str, composed: list[list[str]]) -> None:
    first = compose_config([f"experiment={name}"])
    _compositions.cache_clear()
    second = compose_config([f"experiment={name}"])
    assert len(composed) == 1
    assert second == first
    assert OmegaConf.to_yaml(second) == OmegaConf.to_yaml(first), "in the same order"
    assert flags(second) == flags(first)


def test_only_presets_are_kept_and_only_for_these_sources(
    composed: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        compose_config(["experiment=smoke", "seed=1"])
    assert len(composed) == 2
    compose_config(["experiment=smoke"])
    monkeypatch.setattr("cloakbench.bench.config.compositions.project_digest", lambda: "another")
    for _ in range(2):
        compose_config(["experiment=smoke"])
    assert len(composed) == 4


def test_variables_count_when_a_kept_preset_is_read(composed: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("here", "there"):
        monkeypatch.setenv("CLOAKBENCH_RESULTS", folder)
        assert compose_config(["experiment=smoke"]).paths.runs == f"{folder}/runs"
    assert len(composed) == 1
