"""Checkpoints of an unfinished training run, written so that a kill at any moment leaves the last one whole."""

from __future__ import annotations

import logging
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from cloakbench.bench.core.files.whole_file import whole_file

logger = logging.getLogger(__name__)


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        recipe_digest: of the settings the run was started with.
        step: optimiser steps done.
        core_seconds: process time spent on them, over all interruptions.
        states: state dicts of network, head and optimiser.
    """

    recipe_digest: str
    step: int
    core_seconds: float
    states: dict[str, Any]


def save(path: Path, progress: Progress) -> None:
    """Replaces the checkpoint at ``path``."""
    with whole_file(path) as file:
        torch.save(asdict(progress), file)


def load(path: Path, recipe_digest: str, device: torch.device) -> Progress | None:
    """The checkpoint at ``path`` if there is one and it belongs to these settings; loading executes no code."""
    if not path.exists():
        return None
    try:
        progress = Progress(**torch.load(path, map_location=device, weights_only=True))
    except (pickle.UnpicklingError, RuntimeError, EOFError, TypeError, OSError) as error:
        logger.warning("%s cannot be read (%s); training starts over", path, type(error).__name__)
        return None
    if progress.recipe_digest != recipe_digest:
        logger.warning("%s belongs to other settings; training starts over", path)
        return None
    return progress
