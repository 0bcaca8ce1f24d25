"""Accuracy of an attribute network in a task: balanced, with its interval over people, and its confusion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cloakbench.bench.statistics.intervals import PersonSums, percentile_interval
from cloakbench.datasets.attribute_task import AttributeTask
from cloakbench.datasets.base import FaceSet
from cloakbench.models.attribute_surrogate import AttributeSurrogate


@dataclass(frozen=True)
class AttributeAccuracy:
    """What was found of one attribute.

    Attributes:
        name: of the attribute.
        classes: those of the task that some photo shows.
        confusion: photos of a class (row) that were taken for a class (column), ``[C, C]`` over all classes of the
            task.
        value: mean over those classes of the share of their photos that is recognised.
        low, high: its 95 % interval from drawing people with replacement; NaN with one person.
        photos, people: how many.
    """

    name: str
    classes: tuple[str, ...]
    confusion: NDArray[np.int64]
    value: float
    low: float
    high: float
    photos: int
    people: int

    @property
    def accuracy(self) -> float:
        """Share of all photos that is recognised."""
        return float(np.trace(self.confusion)) / self.photos


@torch.no_grad()
def attribute_accuracies(
    surrogate: AttributeSurrogate, faces: FaceSet, batch: int, device: torch.device, resamples: int, seed: int
) -> tuple[list[AttributeAccuracy], int]:
    """Of each attribute of the network's task, on the faces that have all its labels; and how many have not.

    Args:
        surrogate: the network, asked the task.
        faces: labelled.
        batch: photos of a pass.
        device: of the network.
        resamples, seed: of the bootstrap over people.

    Raises:
        AttributeTaskError: the faces have not the labels of the task.
    """
    truth = surrogate.task.labels(faces)
    known = faces.select(truth.rows)
    parts = [surrogate.logits(part.to(device).float() / 255) for part in known.images.split(batch)]
    found = {name: torch.cat([part[name] for part in parts]).argmax(dim=1).cpu() for name in surrogate.names}
    people = np.asarray(known.identity)
    return [
        _accuracy(surrogate.task, name, found, truth.classes, people, resamples, seed) for name in surrogate.names
    ], truth.unlabelled


def _accuracy(
    task: AttributeTask,
    name: str,
    found: Mapping[str, Tensor],
    truth: Mapping[str, Tensor],
    people: NDArray[np.str_],
    resamples: int,
    seed: int,
) -> AttributeAccuracy:
    classes = [part.name for one in task.attributes if one.name == name for part in one.classes]
    width, own = len(classes), truth[name]
    confusion = torch.bincount(own * width + found[name], minlength=width * width).view(width, width).numpy()
    shows = torch.nn.functional.one_hot(own, width).numpy()
    sums = PersonSums.of(shows * (own == found[name]).numpy()[:, None], shows, people)
    there = confusion.sum(axis=1) > 0
    with np.errstate(invalid="ignore"):
        value = float((np.diag(confusion) / confusion.sum(axis=1))[there].mean())
    low = high = np.nan
    if sums.n_identities > 1:
        draws = np.nanmean(sums.replicates(resamples, seed)[:, there], axis=1)  # of the classes that a draw shows
        low, high = map(float, percentile_interval(draws))
    shown = tuple(part for part, seen in zip(classes, there, strict=True) if seen)
    return AttributeAccuracy(name, shown, confusion, value, low, high, len(own), sums.n_identities)
