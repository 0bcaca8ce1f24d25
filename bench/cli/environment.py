"""The environment variables of the command, read once at its start."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from cloakbench.bench.config.flags import UsageError

FOLDERS = ("CLOAKBENCH_RESULTS", "CLOAKBENCH_DATA", "CLOAKBENCH_WEIGHTS", "CLOAKBENCH_CACHE")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def read_environment() -> str:
    """The level of what is logged. Variables for folders that are empty are taken out, here and for every process this
    one starts: the configs then fall back to their defaults; ``~`` in them means home.

    Raises:
        UsageError: a level that does not exist.
    """
    for name in FOLDERS:
        value = os.environ.get(name)
        if value is None:
            continue
        if not value.strip():
            del os.environ[name]
        elif value == "~" or value.startswith("~/"):
            os.environ[name] = str(Path(value).expanduser())
    level = os.environ.get("CLOAKBENCH_LOG", "").strip().upper() or "INFO"
    if level not in _LEVELS:
        logging.basicConfig(format="%(message)s", force=True)
        raise UsageError(
            f"CLOAKBENCH_LOG={os.environ['CLOAKBENCH_LOG']} is no level: set {', '.join(_LEVELS)}, or nothing"
        )
    return level
