"""The attribute contract: images in [0, 1] go in, logits or values per attribute come out, gradients flow back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from cloakbench.datasets.base import CropView
from cloakbench.models.base import InputSpec


@dataclass(frozen=True)
class AttributeOutput:
    """One attribute that a network answers.

    Attributes:
        name: ``gender``, ``age``, ``expression`` ...
        kind: ``logits`` or ``probabilities`` over ``classes``, or one real ``value``.
        classes: names of the classes in the order of the network; empty for a value.
        unit: unit of a value, such as ``years``.
    """

    name: str
    kind: Literal["logits", "probabilities", "value"]
    classes: tuple[str, ...] = ()
    unit: str = ""

    def __post_init__(self) -> None:
        if self.kind not in ("logits", "probabilities", "value"):
            raise ValueError(f"attribute {self.name}: kind must be logits, probabilities or value, got {self.kind!r}")
        if (self.kind == "value") == bool(self.classes):
            raise ValueError(f"attribute {self.name}: classes need kind logits or probabilities, and they need classes")


@dataclass(frozen=True)
class AttributeCard:
    """What a reader of a table needs to know about an attribute classifier.

    Attributes:
        name, family, backbone, training_set: key, architecture family, network, faces it was trained on.
        weights_sha256: digest of the weight file.
        view: the crop it was trained on: ``aligned`` (112x112 ArcFace crop) or ``box`` (the face box squared to its
            longer side around its centre).
        licence_code, licence_weights, licence_training_data: short licence names; ``unknown`` when not published.
        page: where the weights and their terms are published.
        stands_for: the full-size network a slim one stands for.
        note: what else a reader must know.
    """

    name: str
    family: str
    backbone: str
    training_set: str
    weights_sha256: str
    view: CropView = "aligned"
    licence_code: str = "unknown"
    licence_weights: str = "unknown"
    licence_training_data: str = "unknown"
    page: str = ""
    stands_for: str = ""
    note: str = ""


class AttributeModel(nn.Module):
    """A frozen attribute classifier, in eval mode whatever ``train()`` is called with."""

    def __init__(
        self, network: nn.Module, inputs: InputSpec, outputs: tuple[AttributeOutput, ...], card: AttributeCard
    ) -> None:
        super().__init__()
        self.network = network
        self.inputs = inputs
        self.outputs = outputs
        self.card = card
        self.requires_grad_(False)
        self.eval()

    @property
    def members(self) -> tuple[AttributeModel, ...]:
        """The networks it consists of: itself, unless it is an `AttributeSet`."""
        return (self,)

    def train(self, mode: bool = True) -> AttributeModel:
        """Stays in eval mode."""
        return super().train(False)

    def logits(self, images: Tensor) -> Mapping[str, Tensor]:
        """Per attribute ``[N, C]``: logits of its classes, or ``[N, 1]``, a value in its unit.

        Where the network ends in a softmax the logits are the logarithms of its probabilities, which is the same up to
        a constant per photo. Differentiable in ``images``, float RGB ``[N, 3, H, W]`` in [0, 1].
        """
        answer = self.network(self.inputs.prepare(images))
        parts = (answer,) if isinstance(answer, Tensor) else answer
        return {
            output.name: part.flatten(1).clamp_min(1e-12).log() if output.kind == "probabilities" else part.flatten(1)
            for output, part in zip(self.outputs, parts, strict=True)
        }


class AttributeSet(AttributeModel):
    """Several attribute classifiers under one name, such as one for each attribute.

    Args:
        name: key of the set in configs, records and tables.
        members: the classifiers, in their order or by any names; no two answer the same attribute.

    Raises:
        ValueError: there is no member, two answer the same attribute, or one was trained on another kind of crop.
    """

    def __init__(self, name: str, members: Sequence[AttributeModel] | Mapping[str, AttributeModel]) -> None:
        members = list(members.values()) if isinstance(members, Mapping) else list(members)
        if not members:
            raise ValueError(f"attribute model {name}: a set needs at least one member")
        outputs = tuple(output for member in members for output in member.outputs)
        names = [output.name for output in outputs]
        if twice := sorted({one for one in names if names.count(one) > 1}):
            raise ValueError(f"attribute model {name}: two of its members answer {', '.join(twice)}; leave one out")
        cards = [member.card for member in members]
        if len({card.view for card in cards}) > 1:
            raise ValueError(
                f"attribute model {name}: its members were trained on different crops "
                f"({', '.join(f'{card.name}: {card.view}' for card in cards)}); make one set of each"
            )
        super().__init__(nn.ModuleList(members), members[0].inputs, outputs, _joint_card(name, cards))
        self._members = tuple(members)

    @property
    def members(self) -> tuple[AttributeModel, ...]:
        """The classifiers of the set."""
        return self._members

    def logits(self, images: Tensor) -> Mapping[str, Tensor]:
        """The answers of all members, see `AttributeModel.logits`."""
        return {name: answer for member in self.members for name, answer in member.logits(images).items()}


def _joint_card(name: str, cards: Sequence[AttributeCard]) -> AttributeCard:
    """What the members say, each thing once; the digest is that of theirs, in their order."""

    def said(field: str) -> str:
        return "; ".join(dict.fromkeys(str(getattr(card, field)) for card in cards if getattr(card, field)))

    return AttributeCard(
        name=name,
        weights_sha256=hashlib.sha256("".join(card.weights_sha256 for card in cards).encode()).hexdigest(),
        view=cards[0].view,
        **{
            field: said(field)
            for field in (
                *("family", "backbone", "training_set", "licence_code", "licence_weights", "licence_training_data"),
                *("page", "stands_for", "note"),
            )
        },
    )
