"""Same algorithm: methods under two names whose records agree on every photo, for a footnote.

FI-UAP+ and OPOM-ClassCenter are the case at hand: one update, published twice. Agreement means every column of every
record, similarities bit for bit, in every cell; rates that are equal by chance do not count.
"""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from cloakbench.bench.core.status import OK

_AXES = ("epsilon_255", "surrogate", "judge", "condition", "image_id")


def same_algorithm(records: pd.DataFrame, ignore: Collection[str] = ()) -> list[tuple[str, ...]]:
    """Groups of two and more methods with equal records, in the order in which they occur.

    Args:
        records: one row per photo and cell of one protocol: method, image_id and what was recorded; where there are any
            also epsilon_255, surrogate, judge, condition and status.
        ignore: columns that say nothing of the method, such as a note.

    Returns:
        groups of method names. Methods that failed on all photos have nothing to agree in and are in no group.
    """
    axes = [name for name in _AXES if name in records]
    compared = [name for name in records if name != "method" and name not in ignore]
    groups: list[tuple[pd.DataFrame, list[str]]] = []
    for label, own in records.groupby("method", sort=False):
        if "status" in own and OK not in set(own["status"]):
            continue
        found = own.sort_values(axes, kind="stable").loc[:, compared].reset_index(drop=True)
        alike = next((labels for known, labels in groups if known.equals(found)), None)
        if alike is None:
            groups.append((found, [str(label)]))
        else:
            alike.append(str(label))
    return [tuple(labels) for _, labels in groups if len(labels) > 1]
