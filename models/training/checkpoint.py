"""Checkpoints of an unfinished training run, written so that a kill at any moment leaves the last one whole."""

from __future__ import annotations

import logging
import os
import pickle
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import torch

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


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Calls ``write`` with a temporary file beside ``path``, then moves it into place; readers see old or new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def save(path: Path, progress: Progress) -> None:
    """Replaces the checkpoint at ``path``."""
    write_atomically(path, lambda file: torch.save(asdict(progress), file))


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
