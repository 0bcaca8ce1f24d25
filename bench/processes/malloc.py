"""Freed memory: glibc is kept from handing it back between the steps of an attack, or told to.

Every step allocates and frees the same activations. By default glibc maps large blocks anew each time and returns
them at once, and the page faults of that made PGD on a small network a tenth to a fifth slower.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # parameters of mallopt(3)
_KEEP_BYTES = 1 << 30
_GROW_BYTES = 1 << 26


def keep_freed_memory() -> bool:
    """Tell the allocator to keep up to 1 GiB of freed memory; returns whether it could be told (glibc only)."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_TRIM_THRESHOLD, _KEEP_BYTES), (_MMAP_THRESHOLD, _KEEP_BYTES), (_TOP_PAD, _GROW_BYTES))
    return all(mallopt(parameter, value) for parameter, value in settings)


def hand_back_freed_memory() -> bool:
    """Give freed memory back to the system at once; returns whether it could be done (glibc only).

    What threads have freed stays with the process otherwise.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    if trim is None:
        return False
    trim(0)
    return True
