"""From the two files of an embedded attribute classifier to a frozen model, or a set of one for each attribute.

The files are as in `cloakbench.models.zoo`; what the network answers stands on its card, and how it is built in
``conf/attribute_model/<name>.yaml``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cloakbench.models.attribute_zoo.network import AttributeModels, SeparateAttributes, attribute_network
from cloakbench.models.attributes import AttributeCard, AttributeModel, AttributeOutput, AttributeSet
from cloakbench.models.base import InputSpec
from cloakbench.models.frozen.network import freeze
from cloakbench.models.weight_file import WeightError
from cloakbench.models.zoo import WEIGHTS, read_card, read_weights


def load_embedded_attributes(
    *,
    name: str,
    family: str,
    stands_for: str,
    attribute_models: AttributeModels,
    backbone: Callable[..., nn.Module],
    embedding_size: int,
    inputs: InputSpec,
    folder: str | Path | None = None,
) -> AttributeModel:
    """A trained attribute classifier of the zoo, frozen.

    Args:
        name: file name of weights and card.
        family: architecture family, for marking same-family cells.
        stands_for: the full-size network it stands for.
        attribute_models: one network for all attributes, or one for each.
        backbone: builds the embedding network; called on the meta device, so nothing is initialised in vain.
        embedding_size: length of its embedding.
        inputs: how the network takes its pixels.
        folder: where weights and cards lie; None is the package's own folder.

    Raises:
        WeightError: weights missing, altered, or of another network.
    """
    place = WEIGHTS if folder is None else Path(folder)
    card = read_card(name, place)
    state = read_weights(name, card["sha256"], place)
    classes: dict[str, list[str]] = card["classes"]
    widths = {attribute: len(names) for attribute, names in classes.items()}
    with torch.device("meta"):
        network = attribute_network(attribute_models, backbone, widths, embedding_size, inputs.size)
    try:
        network.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise WeightError(
            f"weights of {name!r} do not fit conf/attribute_model/{name}.yaml: {reason}; run `make zoo`"
        ) from None
    freeze(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    outputs = tuple(AttributeOutput(attribute, "logits", tuple(names)) for attribute, names in classes.items())
    if not isinstance(network, SeparateAttributes):
        return AttributeModel(network, inputs, outputs, _card(name, family, stands_for, card))
    members = [
        AttributeModel(
            network.networks[output.name], inputs, (output,), _card(f"{name}/{output.name}", family, stands_for, card)
        )
        for output in outputs
    ]
    return AttributeSet(name, members)


def _card(name: str, family: str, stands_for: str, card: Mapping[str, Any]) -> AttributeCard:
    return AttributeCard(
        name=name,
        family=family,
        backbone=str(card["backbone"]).partition("(")[0],
        training_set=str(card["training_set"]),
        weights_sha256=str(card["sha256"]),
        licence_code="MIT",
        licence_weights="MIT",
        licence_training_data="MIT",
        stands_for=stands_for,
        note="slim network trained on rendered faces",
    )
