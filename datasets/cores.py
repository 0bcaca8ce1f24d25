"""Cores: how many this process may use, for what a data set reads or draws in parallel."""

from __future__ import annotations

import os


def available_cores() -> int:
    """Cores of this process, which a container or a scheduler may have given it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
