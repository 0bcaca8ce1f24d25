"""Model versions: answers of two networks behind one service never share a rate."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

STALE = "_stale"
"""Behind an operation: column of records whose answers are of another model version than the newest."""


def mark_stale(frames: Sequence[pd.DataFrame], operations: Sequence[str]) -> list[pd.DataFrame]:
    """Mark the records of all cells whose answers are not of the version that answered last, by operation.

    A record without a version (nothing was asked, or the service names none) is not marked.

    Args:
        frames: records of each cell, with ``*_version`` and ``*_date``.
        operations: those that were asked.
    """
    marked = [frame.copy() for frame in frames]
    for operation in operations:
        version, date = f"{operation}_version", f"{operation}_date"
        known = pd.concat([frame.loc[frame[version] != "", [version, date]] for frame in frames], ignore_index=True)
        newest = "" if known.empty else str(known.sort_values([date, version])[version].iloc[-1])
        for frame in marked:
            frame[f"{operation}{STALE}"] = (frame[version] != "") & (frame[version] != newest)
    return marked
