"""Views: what crops show and what networks were trained on: of a face box a network of aligned faces says nothing."""

from __future__ import annotations

from collections.abc import Mapping

from cloakbench.bench.core.errors import ConfigError
from cloakbench.datasets.base import CropView, Dataset
from cloakbench.models.attributes import AttributeCard
from cloakbench.models.base import ModelCard

_SHOWS: Mapping[CropView, str] = {"aligned": "aligned crops", "box": "face boxes"}


def check_view(key: str, card: ModelCard | AttributeCard, dataset: Dataset) -> None:
    """Refuse a network that was trained on another kind of crop than a data set gives.

    Args:
        key: of the network.
        card: its card; recognisers know aligned crops.
        dataset: where the crops come from.

    Raises:
        ConfigError: so it is.
    """
    view: CropView = card.view if isinstance(card, AttributeCard) else "aligned"
    if view == dataset.view:
        return
    kind = "attribute model" if isinstance(card, AttributeCard) else "recogniser"
    choose = "dataset.crop=box, with a data set of whole photos" if view == "box" else "dataset.crop=aligned"
    raise ConfigError(
        f"{kind} {key} was trained on {_SHOWS[view]}, and data set {dataset.name} gives {_SHOWS[dataset.view]}, on "
        f"which its answers mean nothing: set {choose}, or name a network of view {dataset.view}"
    )
