"""A run's config as it is kept beside its results: everything that was set, and nothing that opens a door."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cloakbench.bench.config.given_object import GivenObject
from cloakbench.bench.core.redaction import without_secret_settings


def kept_settings(config: DictConfig) -> dict[str, Any]:
    """The resolved config as plain values, without secrets (:mod:`cloakbench.bench.core.redaction`)."""
    plain = _in_words(OmegaConf.to_container(config, resolve=True))
    assert isinstance(plain, dict)
    return without_secret_settings(plain)


def _in_words(value: Any) -> Any:
    """Plain values, with a line of text for each object that Python code handed over."""
    if isinstance(value, dict):
        return {key: _in_words(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_in_words(item) for item in value]
    return str(value) if isinstance(value, GivenObject) else value


def as_yaml(settings: Mapping[str, Any]) -> str:
    """Settings as YAML, in the order they are in."""
    return OmegaConf.to_yaml(OmegaConf.create(dict(settings)))


def strip_kept_sweep(folder: Path) -> None:
    """Take the secrets out of the config that Hydra keeps of a sweep; nothing happens where it kept none."""
    path = folder / "multirun.yaml"
    if not path.is_file():
        return
    plain: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    kept = without_secret_settings(plain)
    if kept != plain:
        path.write_text(as_yaml(kept), encoding="utf-8")
