"""`check_keys`: can photos come back, and are their keys apart from what is published? Asked before any work."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch

from cloakbench.bench.core.errors import ConfigError
from cloakbench.methods.base import Protector


def check_keys(protector: Protector, method: str, keys: Path | None, published: Mapping[str, Path]) -> None:
    """Refuse photos that could never come back, and keys where they would be published.

    Args:
        protector: the method.
        method: its name.
        keys: the folder for them, or None.
        published: setting to a folder that may be.

    Raises:
        ConfigError: so it is; one line.
    """
    if keys is None:
        if protector.recoverable:
            raise ConfigError(
                f"{method} gives photos back to whoever has its keys: name a folder for them, apart from what is "
                "published, with keys=FOLDER"
            )
        return
    if not protector.recoverable:
        raise ConfigError(f"{_refusal(protector)}: leave keys out, or choose another method")
    for name, folder in published.items():
        if Path(os.path.realpath(keys)).is_relative_to(os.path.realpath(folder)):
            raise ConfigError(f"keys={keys} lies in {name}={folder}, which may be published: choose another folder")


def _refusal(protector: Protector) -> str:
    """Why a method gives no photo back, in its own words."""
    try:
        protector.recover(torch.zeros(0, 3, 1, 1), {}, torch.zeros(0, dtype=torch.long))
    except NotImplementedError as reason:
        return str(reason)
    except (LookupError, ValueError):  # it would, with keys
        pass
    return f"{protector.name} gives no photo back"
