"""Labels of the probes by group: what a data set says of people and photos, and how hard a photo is.

Labels come from the data set, under the names of the experiment's attribute task where it has one. Hardness is measured
on the clean photo, so that it is there for any data set, and cut into thirds of these photos.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.config.build import build
from cloakbench.bench.config.compose import resolved
from cloakbench.bench.experiment.experiment import Experiment
from cloakbench.bench.plan.publication import PROBES
from cloakbench.bench.report.groups.columns import LABEL_COLUMNS
from cloakbench.datasets.base import FaceSet

_OF_PEOPLE = ("complexion", "race", "gender", "age", "glasses")
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_THIRDS = ("low", "middle", "high")


def group_labels(experiment: Experiment) -> pd.DataFrame:
    """A row for each probe and label, ``LABEL_COLUMNS``; none where the report tells no groups apart."""
    lines: list[dict[str, object]] = []
    if experiment.config.report.groups and PROBES in experiment.publications:
        faces = experiment.publications[PROBES].faces
        for label, groups, places in (*_of_data(experiment, faces), *_of_photos(faces)):
            lines += [
                {"image_id": name, "label": label, "group": group, "place": place}
                for name, group, place in zip(faces.image_id, groups, places, strict=True)
                if group
            ]
    return pd.DataFrame(lines, columns=list(LABEL_COLUMNS))


_Label = tuple[str, Sequence[str], Sequence[int]]
"""Name of a label, the group of each photo, empty for none, and the group's place."""


def _of_data(experiment: Experiment, faces: FaceSet) -> Iterator[_Label]:
    task = resolved(experiment.config.attribute_task) if experiment.config.attribute_task is not None else None
    named = {} if task is None else {one.column: one for one in build(task, "attribute_task").attributes}
    for name in _OF_PEOPLE:
        if name not in faces.attributes:
            continue
        labels = faces.attributes[name]
        if name in named:
            classes = [one.name for one in named[name].classes]
            places = named[name].classes_of(labels).tolist()
        else:
            places = labels.tolist()
            classes = [f"{name} {number}" for number in range(max(places) + 1)]
        yield name, [classes[place] if place >= 0 else "" for place in places], places


def _of_photos(faces: FaceSet) -> Iterator[_Label]:
    pixels = faces.images.double()
    luma = torch.einsum("c,nchw->nhw", pixels.new_tensor(_LUMA), pixels)
    measured = {"light": luma.mean(dim=(1, 2)), "sharpness": _sharpness(luma)}
    if faces.landmarks is not None:
        eyes = (faces.landmarks[:, 0] + faces.landmarks[:, 1]) / 2
        size = (faces.landmarks[:, 1] - faces.landmarks[:, 0]).norm(dim=1).double()
        measured["pose"] = (faces.landmarks[:, 2, 0] - eyes[:, 0]).abs().double() / size
        measured["size"] = size
    for name, values in measured.items():
        places = _thirds(values)
        yield name, [_THIRDS[place] for place in places], places


def _sharpness(luma: Tensor) -> Tensor:
    """Variance of the Laplacian of photos ``[N, H, W]``: small where a photo is blurred."""
    kernel = luma.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]]).view(1, 1, 3, 3)
    return F.conv2d(luma.unsqueeze(1), kernel).flatten(1).var(dim=1)


def _thirds(values: Tensor) -> list[int]:
    """Third of each value among all; equal values are in one."""
    ends = np.quantile(values.numpy(), [1 / 3, 2 / 3])
    return np.searchsorted(ends, values.numpy(), side="left").tolist()
