"""Hydra composes each set of choices once in a test run; what a test sets beside them is set into a copy.

Hydra takes a third of a second for a composition, and tests differ in little but their folders and sizes. Whatever is
not plain - folders of a test's own, a sweep, a mistake - Hydra composes itself, so that its words are its own.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from cloakbench.bench.config.plug_ins import project, search_path

_SEARCH = "hydra.searchpath="


def composed_once(compose: Callable[..., DictConfig], tests: Path) -> Callable[..., DictConfig]:
    """``hydra.compose`` with a memory.

    Args:
        compose: Hydra's.
        tests: config folder of the tests, which no test changes.
    """
    known: dict[tuple[object, ...], bytes] = {}  # a pickle is read several times as fast as a config is copied
    shared = search_path([str(tests)])
    groups = project().groups() | {entry.name for entry in tests.iterdir() if entry.is_dir()}

    def is_value(word: str) -> bool:
        """Whether an override sets a value, which is no choice of a config."""
        key, equals, _ = word.lstrip("+").partition("=")
        return bool(equals) and not set("@/~") & set(key) and not key.startswith("hydra.") and key not in groups

    def once(config_name: str | None = None, overrides: list[str] | None = None, **options: Any) -> DictConfig:
        words = list(overrides or ())
        values, choices = [word for word in words if is_value(word)], [word for word in words if not is_value(word)]
        if any(word.startswith(_SEARCH) and word not in shared for word in choices):
            return compose(config_name, words, **options)
        key = (config_name, *choices, *sorted(options.items()))
        try:
            parsed = OverridesParser.create().parse_overrides(values)
            if key not in known:
                known[key] = pickle.dumps(compose(config_name, choices, **options))
            config: DictConfig = pickle.loads(known[key])
            if not any(override.is_sweep_override() for override in parsed):
                ConfigLoaderImpl._apply_overrides_to_config(parsed, config)
                return config
        except Exception:  # a mistake is told as Hydra tells it of the whole
            pass
        return compose(config_name, words, **options)

    return once
