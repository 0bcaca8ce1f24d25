"""The embedded zoo: small recognisers trained by this project on its own synthetic faces.

Each member is two files in ``models/weights``: ``<name>.safetensors`` (half precision) and ``<name>.json``, the card
that ``cloakbench zoo`` wrote with it. The network's definition is in ``conf/model/<name>.yaml``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import nn

from cloakbench.models.base import InputSpec, ModelCard, Recogniser
from cloakbench.models.frozen.network import freeze
from cloakbench.models.weight_file import WeightError

WEIGHTS = Path(__file__).resolve().parent / "weights"


def read_card(name: str, folder: Path = WEIGHTS, train: str = "make zoo") -> dict[str, Any]:
    """The card of a trained member, which the command ``train`` makes again.

    Raises:
        WeightError: the member was not trained, or its card is not JSON.
    """
    path = folder / f"{name}.json"
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise WeightError(f"model {name!r} has no weights in {folder}; run `{train}` to train them") from None
    except json.JSONDecodeError as error:
        raise WeightError(f"{path} is not a model card ({error}); run `{train}`") from None


def read_weights(name: str, sha256: str, folder: Path = WEIGHTS, train: str = "make zoo") -> dict[str, torch.Tensor]:
    """The weights of a member in single precision, checked against ``sha256``; the command ``train`` makes them again.

    Raises:
        WeightError: the file is missing, its digest differs, or it is not a safetensors file.
    """
    path = folder / f"{name}.safetensors"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise WeightError(f"model {name!r} has no weights in {folder}; run `{train}` to train them") from None
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise WeightError(
            f"{path} has sha256 {found[:12]}..., its card says {sha256[:12]}...; restore it or run `{train}`"
        )
    try:
        state = load(data)
    except SafetensorError as error:
        raise WeightError(f"{path} is not a safetensors file ({error}); restore it or run `{train}`") from None
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def load_embedded(
    *,
    name: str,
    family: str,
    stands_for: str,
    network: Callable[[], nn.Module],
    inputs: InputSpec,
    folder: str | Path | None = None,
) -> Recogniser:
    """A trained member of the zoo as a frozen recogniser.

    Args:
        name: file name of weights and card.
        family: architecture family, for marking same-family cells.
        stands_for: the full-size network it stands for.
        network: builds the untrained network; called on the meta device, so nothing is initialised in vain.
        inputs: how the network takes its pixels.
        folder: where weights and cards lie; None is the package's own folder.

    Raises:
        WeightError: weights missing, altered, or of another network.
    """
    place = WEIGHTS if folder is None else Path(folder)
    card = read_card(name, place)
    state = read_weights(name, card["sha256"], place)
    with torch.device("meta"):
        module = network()
    try:
        module.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise WeightError(f"weights of {name!r} do not fit conf/model/{name}.yaml: {reason}; run `make zoo`") from None
    freeze(module).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Recogniser(
        module,
        inputs,
        ModelCard(
            name=name,
            family=family,
            backbone=card["backbone"].partition("(")[0],
            head=card["head"].partition("(")[0],
            training_set=card["training_set"],
            embedding_size=card["embedding_size"],
            weights_sha256=card["sha256"],
            licence_code="MIT",
            licence_weights="MIT",
            licence_training_data="MIT",
            clean_top1=card["clean"]["top1"],
            stands_for=stands_for,
            robust=card["robust"],
            note="slim network trained on rendered faces",
        ),
    )
