"""Compositions: presets of this project as they were composed, kept; Hydra takes a third of a second for each.

A key holds every source and config of the project. Where more is typed, or configs of other people are to be had, Hydra
composes each time. References stay references, so that variables of the environment count when they are looked up.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version

from omegaconf import DictConfig, OmegaConf

from cloakbench.bench.core.side_cache import SideCache, key_of, project_digest

_MOST = 256
"""More than there are presets: commands that look at all of them find each again the next time."""


def composition_key(words: Sequence[str], config_name: str, search: Sequence[str]) -> str:
    """The name of a composition; empty where it is none to be kept.

    Args:
        words: overrides.
        config_name: of the root config.
        search: overrides that tell Hydra of further sources.
    """
    if search or not all(word.startswith("experiment=") for word in words):
        return ""
    packages = [version(name) for name in ("hydra-core", "omegaconf", "pyyaml")]
    return key_of(project_digest(), packages, config_name, list(words))


def kept_composition(key: str) -> DictConfig | None:
    """What was kept under a key."""
    found = _compositions().get(key) if key else None
    return None if found is None else DictConfig(found)


def keep_composition(key: str, config: DictConfig) -> None:
    """Keep a config, if it is all plain JSON; without a key, nothing."""
    plain = OmegaConf.to_container(config, resolve=False) if key else None
    if plain is not None and json.loads(json.dumps(plain, default=str)) == plain:
        _compositions().put(key, plain)
        _compositions().save()


@cache
def _compositions() -> SideCache:
    return SideCache("compositions", most=_MOST)
