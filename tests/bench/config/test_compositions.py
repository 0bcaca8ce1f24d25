"""Presets are composed once, and are afterwards what they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from cloakbench.bench.config import compose as composing
from cloakbench.bench.config.compose import compose_config
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


def test_a_preset_is_composed_once_and_is_afterwards_what_it_was(composed: list[list[str]]) -> None:
    """Every preset is kept as it was composed: tests/test_conf.py."""
    first = compose_config(["experiment=smoke"])
    _compositions.cache_clear()
    second = compose_config(["experiment=smoke"])
    assert len(composed) == 1
    assert second == first


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
