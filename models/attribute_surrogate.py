"""Attribute networks as a method or a judge meets them: the answers of a set of networks, in the order of a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cloakbench.datasets.attribute_task import AttributeTask, AttributeTaskError, TaskAttribute
from cloakbench.models.attributes import AttributeModel, AttributeOutput


@dataclass(frozen=True)
class _Readout:
    """How an attribute of the task is read off one output: ``groups`` are the columns of a class, none for a value."""

    attribute: TaskAttribute
    output: str
    groups: tuple[tuple[int, ...], ...]

    def scores(self, answer: Tensor) -> Tensor:
        """``[N, C]`` of the network's ``[N, C']``, or of a value ``[N, 1]``."""
        if not self.groups:
            assert self.attribute.bins is not None
            return -((answer - answer.new_tensor(self.attribute.centres)) / self.attribute.bins.width).square()
        if all(len(group) == 1 for group in self.groups):
            places = [place for (place,) in self.groups]
            return answer if places == list(range(answer.shape[1])) else answer[:, places]
        return torch.stack([answer[:, list(group)].logsumexp(dim=1) for group in self.groups], dim=1)


class AttributeSurrogate(nn.Module):
    """A label's networks, one or one for each attribute, answering a task. Frozen, in eval mode.

    What it gives for an attribute are scores of the task's classes, the highest being its answer. Those of a network
    with classes are logits. A network that answers a value has for each bin minus the squared distance from the middle
    of the bin, in bin widths: it is highest for the bin that the value lies in, and minus the score of a bin is the
    squared error of the value against it.

    Args:
        model: the networks.
        task: attributes, and the names under which networks know them and their classes.

    Raises:
        AttributeTaskError: an attribute of the task that no network answers, or two; or one that is answered in classes
            that are not those of the task, or in a value without bins for it.
    """

    def __init__(self, model: AttributeModel, task: AttributeTask) -> None:
        super().__init__()
        self.card = model.card
        self.task = task
        used: list[tuple[AttributeModel, list[_Readout]]] = []
        found = {one.name: _find(model, task, one) for one in task.attributes}
        for member in model.members:
            if readouts := [readout for owner, readout in found.values() if owner is member]:
                used.append((member, readouts))
        self.networks = nn.ModuleList(member for member, _ in used)
        self._readouts = tuple(tuple(readouts) for _, readouts in used)
        self.eval()

    def train(self, mode: bool = True) -> AttributeSurrogate:
        """Stays in eval mode."""
        return super().train(False)

    @property
    def names(self) -> tuple[str, ...]:
        """The attributes, in the order of the task."""
        return self.task.names

    @property
    def answered_together(self) -> tuple[tuple[str, ...], ...]:
        """For each network the attributes that a pass through it answers."""
        return tuple(tuple(readout.attribute.name for readout in readouts) for readouts in self._readouts)

    @property
    def by_value(self) -> frozenset[str]:
        """Attributes that are answered by a value, so that their loss is the squared error and no cross-entropy."""
        return frozenset(
            readout.attribute.name for readouts in self._readouts for readout in readouts if not readout.groups
        )

    def logits(self, images: Tensor) -> Mapping[str, Tensor]:
        """Attribute to scores ``[N, C]`` of float RGB images ``[N, 3, H, W]`` in [0, 1]; differentiable in them."""
        scores: dict[str, Tensor] = {}
        for network, readouts in zip(self.networks, self._readouts, strict=True):
            assert isinstance(network, AttributeModel)
            answers = network.logits(images)
            scores |= {readout.attribute.name: readout.scores(answers[readout.output]) for readout in readouts}
        return {name: scores[name] for name in self.names}

    def probabilities(self, images: Tensor) -> Tensor:
        """The classes of every attribute side by side, in the order of the task, ``[N, sum C]``; those of one add up to
        1. For a value they say which bin lies nearest and how much nearer, and are no calibrated ones."""
        return torch.cat([scores.softmax(dim=1) for scores in self.logits(images).values()], dim=1)


def _find(model: AttributeModel, task: AttributeTask, one: TaskAttribute) -> tuple[AttributeModel, _Readout]:
    """The network that answers an attribute, and how."""
    where = f"attribute model {model.card.name} and attribute task {task.name}"
    answers = [(member, output) for member in model.members for output in member.outputs if output.name in one.called]
    if len(answers) != 1:
        names = ", ".join(output.name for member in model.members for output in member.outputs)
        raise AttributeTaskError(
            f"{where}: the model answers {one.name} {len(answers)} times, and must once (it answers {names}); use a "
            "task or a model that fits"
        )
    ((member, output),) = answers
    if output.kind == "value":
        if one.bins is None:
            raise AttributeTaskError(
                f"{where}: the model answers {output.name} by a value, and the task has no bins for it; give bins"
            )
        return member, _Readout(one, output.name, ())
    return member, _Readout(one, output.name, _groups(where, one, output))


def _groups(where: str, one: TaskAttribute, output: AttributeOutput) -> tuple[tuple[int, ...], ...]:
    groups = tuple(
        tuple(place for place, name in enumerate(output.classes) if name in part.called) for part in one.classes
    )
    if not all(groups) or sum(map(len, groups)) < len(output.classes):
        raise AttributeTaskError(
            f"{where}: the model answers {output.name} as {', '.join(output.classes)}, the task asks for "
            f"{', '.join(part.name for part in one.classes)}; use a task or a model that fits"
        )
    return groups
