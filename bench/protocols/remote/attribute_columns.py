"""Columns of what a service read off faces, held against labels and against what it read off the clean photos."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from cloakbench.datasets.attribute_task import UNLABELLED, AttributeTask
from cloakbench.datasets.base import FaceSet

Numbers = NDArray[np.float64]
EVERY, CHANGED = "every", "changed"
"""Names of what MOSR and MOSR against the service's own clean answers are made from."""


def labels_of(task: AttributeTask, faces: FaceSet) -> dict[str, Numbers]:
    """Classes of photos by attribute ``[N]``; `UNLABELLED` where the data set has no such label."""
    found = {}
    for one in task.attributes:
        column = faces.attributes.get(one.column)
        classes = torch.full((len(faces),), UNLABELLED) if column is None else one.classes_of(column)
        found[one.name] = torch.where(classes < 0, UNLABELLED, classes).double().numpy()
    return found


def attribute_columns(
    labels: Mapping[str, Numbers], said: Numbers, clean: Numbers, lost: NDArray[np.bool_]
) -> dict[str, Numbers]:
    """Columns of records. For each attribute ``A_class`` and ``A_clean_class``, NaN where nothing was said, and
    ``A_label``; for each rate ``wrong_*`` of ``judged_*`` photos, lost faces among them, and the same without
    (``wrong_found_*`` of ``judged_found_*``): of each attribute, of every attribute at once, and ``changed``.

    Args:
        labels: classes by attribute ``[N]``, in the order of the task.
        said: classes that were read ``[N, K]``.
        clean: the same of the clean photos.
        lost: photos in which no face was found, and one was before ``[N]``.
    """
    columns: dict[str, Numbers] = {}
    known, labelled = ~np.isnan(said), np.stack([one != UNLABELLED for one in labels.values()], axis=1)
    truth = np.stack(list(labels.values()), axis=1)
    wrong, moved = said != truth, said != clean
    for place, name in enumerate(labels):
        columns[f"{name}_class"], columns[f"{name}_clean_class"] = said[:, place], clean[:, place]
        columns[f"{name}_label"] = np.where(labelled[:, place], truth[:, place], np.nan)
        offered = lost & ~np.isnan(clean[:, place]) & labelled[:, place]
        columns |= _rate(name, wrong[:, place], known[:, place] & labelled[:, place], offered)
    read, read_clean = np.asarray(known.all(axis=1)), np.asarray(~np.isnan(clean).any(axis=1))
    has_labels = np.asarray(labelled.all(axis=1))
    every, changed = np.asarray(wrong.all(axis=1)), np.asarray(moved.all(axis=1))
    columns |= _rate(EVERY, every, read & has_labels, lost & read_clean & has_labels)
    columns |= _rate(CHANGED, changed, read & read_clean, lost & read_clean)
    return columns


def _rate(
    name: str, events: NDArray[np.bool_], found: NDArray[np.bool_], lost: NDArray[np.bool_]
) -> dict[str, Numbers]:
    """Events and trials of a rate, with and without lost faces."""
    return {
        f"wrong_{name}": (events & found | lost).astype(np.float64),
        f"judged_{name}": (found | lost).astype(np.float64),
        f"wrong_found_{name}": (events & found).astype(np.float64),
        f"judged_found_{name}": found.astype(np.float64),
    }
