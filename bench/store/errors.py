"""Errors of the store, and of any folder that a run writes to: one line each, with what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class StoreError(OSError):
    """The store cannot be read or written, or holds something it should not; the message says what to do."""


class EntryGoneError(StoreError):
    """An entry that was there is absent, or was damaged and has been removed: it has to be made again."""


class KeysGoneError(Exception):
    """What lifts the protection of stored photos is no longer in the store: they cannot be recovered."""


@contextmanager
def explained(folder: Path, setting: str) -> Iterator[None]:
    """Whatever fails on disk inside ends in one line: that ``folder``, which ``setting`` names, cannot be written.

    Raises:
        StoreError: instead of any other ``OSError``.
    """
    try:
        yield
    except StoreError:
        raise
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = "the disk is full: free some space and run the same command again, finished work is kept"
        else:
            advice = f"{problem.strerror or problem}: check the folder or choose another with {setting}=FOLDER"
        raise StoreError(problem.errno, f"cannot write to {folder}: {advice}") from problem


def unreadable(path: Path, problem: OSError) -> StoreError:
    """What to raise about a file that cannot be read: one line, and nothing is removed."""
    return StoreError(
        problem.errno,
        f"cannot read {path} ({problem.strerror or problem}), which is left as it is: make it readable, or remove it, "
        "and run the same command again",
    )
