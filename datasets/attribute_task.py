"""`AttributeTask`: which attributes of a face are asked about, and how labels and networks name their classes.

A data set has columns of numbers, a network has outputs with classes of its own, in an order of its own. A task stands
between them: an ordered list of attributes, each with the column that holds its labels, its classes or bins, and the
names under which networks know both. It imports no network; what a network answers is put in the task's order by
`cloakbench.models.attribute_surrogate`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import is_whole, positive
from cloakbench.datasets.base import FaceSet

UNLABELLED = -1
"""Label of a photo of which nobody said what it shows, as in `cloakbench.datasets.listing.UNKNOWN`."""


class AttributeTaskError(ValueError):
    """A task is wrong in itself, or does not fit a data set or a network; one line."""


@dataclass(frozen=True)
class TaskClass:
    """One class of an attribute.

    Attributes:
        name: as reports print it.
        labels: numbers in the label column that mean this class; empty where the attribute has bins.
        called: names under which networks know it. A network that knows several of them has a finer division: their
            probabilities are added.
    """

    name: str
    labels: tuple[int, ...]
    called: tuple[str, ...]


@dataclass(frozen=True)
class Bins:
    """Equal ranges of a number, the first from ``start`` on; what lies outside counts to the first or last.

    Attributes:
        start, width: in the unit of the label column and of the networks that answer with a value, such as years.
    """

    start: float
    width: float


@dataclass(frozen=True)
class TaskAttribute:
    """One attribute.

    Attributes:
        name: as reports print it.
        column: of the data set's labels, see `cloakbench.datasets.base.FaceSet.attributes`.
        called: names under which networks know it, its own among them.
        classes: in the order of the task.
        bins: ranges of a number, one for each class; None where labels are classes.
    """

    name: str
    column: str
    called: tuple[str, ...]
    classes: tuple[TaskClass, ...]
    bins: Bins | None

    def classes_of(self, labels: Tensor) -> Tensor:
        """Class numbers ``[N]`` of labels ``[N]``: `UNLABELLED` stays, and a label of no class becomes -2."""
        if self.bins is not None:
            place = ((labels.double() - self.bins.start) / self.bins.width).floor().long()
            return torch.where(labels < 0, labels.long(), place.clamp(0, len(self.classes) - 1)).clamp(min=-2)
        found = torch.where(labels == UNLABELLED, UNLABELLED, torch.full(labels.shape, -2))
        for number, one in enumerate(self.classes):
            found[torch.isin(labels, torch.tensor(one.labels, dtype=labels.dtype))] = number
        return found

    @property
    def centres(self) -> tuple[float, ...]:
        """The middle of each bin; empty without bins."""
        if self.bins is None:
            return ()
        return tuple(self.bins.start + (number + 0.5) * self.bins.width for number in range(len(self.classes)))


@dataclass(frozen=True)
class TaskLabels:
    """What the photos of a role show.

    Attributes:
        rows: long ``[M]``, the photos that have a label of every attribute, in their order.
        classes: attribute to class numbers, long ``[M]``.
        unlabelled: how many photos were left out for want of a label.
    """

    rows: Tensor
    classes: Mapping[str, Tensor]
    unlabelled: int


class AttributeTask:
    """Attributes in their order.

    Args:
        name: of the task, as in ``attribute_task=NAME``.
        attributes: name of each attribute to its settings: ``column`` (the name, unless it is given), ``called``
            (further names), ``bins`` (``start`` and ``width``) and ``classes``, a mapping of names to ``labels`` and
            ``called``.

    Raises:
        AttributeTaskError: a setting that does not exist, an attribute with fewer than two classes, labels that are
            missing, stand for two classes or stand beside bins, or a name that means two things.
    """

    def __init__(self, name: str, attributes: Mapping[str, Mapping[str, Any]]) -> None:
        self.name = name
        if not attributes:
            raise AttributeTaskError(f"attribute task {name}: it has no attributes; name at least one")
        self.attributes = tuple(_attribute(f"attribute task {name}", key, value) for key, value in attributes.items())
        _refuse_twice(f"attribute task {name}: attributes", [n for one in self.attributes for n in one.called])

    @property
    def names(self) -> tuple[str, ...]:
        """The attributes in their order."""
        return tuple(one.name for one in self.attributes)

    @property
    def chance(self) -> float:
        """How often independent guesses, each class as likely as any other, miss every attribute: prod (1 - 1 / C)."""
        missed = 1.0
        for one in self.attributes:
            missed *= 1 - 1 / len(one.classes)
        return missed

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many classes each attribute has."""
        return tuple(len(one.classes) for one in self.attributes)

    def first(self, count: int) -> AttributeTask:
        """The task of the first ``count`` attributes.

        Raises:
            AttributeTaskError: there are not so many, or none is asked for.
        """
        if not 0 < count <= len(self.attributes):
            raise AttributeTaskError(
                f"attribute task {self.name}: it has {len(self.attributes)} attributes, so {count} of them cannot be "
                f"taken; ask for 1 to {len(self.attributes)}"
            )
        part = object.__new__(AttributeTask)
        part.name, part.attributes = self.name, self.attributes[:count]
        return part

    def labels(self, faces: FaceSet) -> TaskLabels:
        """Class numbers of the photos that have a label of every attribute.

        Raises:
            AttributeTaskError: the faces have no such column, a label that belongs to no class, or no photo with all
                labels.
        """
        columns = {one.name: one.classes_of(self._column(one, faces)) for one in self.attributes}
        for one in self.attributes:
            if strange := (columns[one.name] == -2).nonzero().flatten().tolist():
                value = int(faces.attributes[one.column][strange[0]])
                raise AttributeTaskError(
                    f"attribute task {self.name}: label {value} of {one.column} (of {faces.image_id[strange[0]]}, "
                    f"{len(strange)} photos in all) belongs to none of its classes "
                    f"({', '.join(part.name for part in one.classes)}); use a task that fits the data set"
                )
        known = torch.stack([column != UNLABELLED for column in columns.values()]).all(dim=0)
        rows = known.nonzero().flatten()
        if len(faces) and not len(rows):
            raise AttributeTaskError(
                f"attribute task {self.name}: none of the {len(faces)} photos has a label of each of "
                f"{', '.join(self.names)}; give a data set with labels"
            )
        return TaskLabels(rows, {name: column[rows] for name, column in columns.items()}, len(faces) - len(rows))

    def _column(self, one: TaskAttribute, faces: FaceSet) -> Tensor:
        if one.column not in faces.attributes:
            there = ", ".join(faces.attributes) or "none"
            raise AttributeTaskError(
                f"attribute task {self.name}: the data set has no label {one.column!r} (labels: {there}); use a task "
                "that fits the data set, or a data set with that label"
            )
        return faces.attributes[one.column]


def _attribute(where: str, name: str, given: Mapping[str, Any]) -> TaskAttribute:
    where = f"{where}: {name}"
    _refuse_unknown(where, given, ("column", "called", "bins", "classes"))
    bins = given.get("bins")
    classes = given.get("classes") or {}
    if len(classes) < 2:
        raise AttributeTaskError(f"{where} has {len(classes)} classes; give at least two")
    parts = tuple(_class(f"{where}.{key}", key, value or {}, bins is not None) for key, value in classes.items())
    _refuse_twice(f"{where}: classes", [called for part in parts for called in part.called])
    _refuse_twice(f"{where}: labels", [label for part in parts for label in part.labels])
    return TaskAttribute(
        name, given.get("column") or name, _names(name, given), parts, None if bins is None else _bins(where, bins)
    )


def _class(where: str, name: str, given: Mapping[str, Any], has_bins: bool) -> TaskClass:
    _refuse_unknown(where, given, ("labels", "called"))
    labels: tuple[int, ...] = tuple(given.get("labels", ()))
    if has_bins and labels:
        raise AttributeTaskError(f"{where} has labels beside bins; leave one of the two out")
    if not has_bins and not (labels and all(is_whole(label) and label >= 0 for label in labels)):
        raise AttributeTaskError(f"{where} has labels {list(labels)}; give whole numbers from 0 on, or bins")
    return TaskClass(name, labels, _names(name, given))


def _bins(where: str, given: Mapping[str, Any]) -> Bins:
    _refuse_unknown(f"{where}.bins", given, ("start", "width"))
    if "start" not in given or "width" not in given:
        raise AttributeTaskError(f"{where}.bins needs start and width")
    return Bins(float(given["start"]), positive(f"{where}.bins.width", float(given["width"])))


def _names(name: str, given: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((name, *(given.get("called") or ()))))


def _refuse_unknown(where: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    if unknown := [str(key) for key in given if key not in known]:
        raise AttributeTaskError(f"{where} has no setting {', '.join(unknown)}; there are {', '.join(known)}")


def _refuse_twice(where: str, values: Sequence[object]) -> None:
    if twice := sorted({str(value) for value in values if list(values).count(value) > 1}):
        raise AttributeTaskError(f"{where}: {', '.join(twice)} stands for two things; name each once")
