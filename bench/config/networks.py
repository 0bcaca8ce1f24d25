"""Building the recognisers, attribute networks and generators of an experiment and naming them by content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from hydra.utils import instantiate
from omegaconf import DictConfig

from cloakbench.bench.config.node_keys import node_code, node_settings
from cloakbench.bench.core.errors import cause_of
from cloakbench.bench.core.hashing import content_key
from cloakbench.bench.core.machine import FULL_PRECISION
from cloakbench.bench.core.ranges import positive, whole
from cloakbench.datasets.attribute_task import AttributeTask
from cloakbench.models.attributes import AttributeModel
from cloakbench.models.base import Recogniser
from cloakbench.models.generators import Generator

Model = TypeVar("Model", Recogniser, AttributeModel, Generator)

_PROJECT = "cloakbench."
_LABELS = frozenset({"name", "card"})
"""Settings of this project's loaders that say what a model is called, and that no pixel passes through."""
_WEIGHT_FILE = "cloakbench.models.weight_file.WeightFile"
_LAYOUT = frozenset({"state_key", "strip_prefix", "ignore"})
"""What counts of a weight file: which of its tensors are taken. Where it lies does not; its digest says what it is."""

_EMBEDDED = "cloakbench.models.zoo.load_embedded"
_EMBEDDED_ATTRIBUTES = "cloakbench.models.attribute_zoo.loading.load_embedded_attributes"
_EMBEDDED_GENERATOR = "cloakbench.models.generators.load_embedded_generator"
_TRANSPORT = frozenset(
    {
        "cloakbench.models.download",
        "cloakbench.models.file_format",
        "cloakbench.models.weight_file",
        "cloakbench.models.weight_lock",
    }
)
"""Code that brings weights; what it brought has a digest."""


def build_recogniser(config: Mapping[str, Any], key: str) -> Recogniser:
    """Build one model from its config.

    Raises:
        ValueError: the weights are missing, damaged or do not fit; one line saying what to do.
    """
    return _build(config, key, Recogniser)


def build_attribute_model(config: Mapping[str, Any], key: str) -> AttributeModel:
    """Build one attribute classifier from its config.

    Raises:
        ValueError: the weights are missing, damaged or do not fit; one line saying what to do.
    """
    return _build(config, key, AttributeModel)


def build_generator(config: Mapping[str, Any]) -> Generator:
    """Build the generator of an experiment from its config.

    Raises:
        ValueError: a setting is wrong, or its weights are missing, damaged or do not fit; one line saying what to do.
    """
    return _build(config, "", Generator)


def _build(config: Mapping[str, Any], key: str, kind: type[Model]) -> Model:
    inputs, where = config.get("inputs"), f"model {key}" if key else "generator"
    try:
        if isinstance(inputs, Mapping):
            _check_inputs(inputs)
        model = instantiate(dict(config), _convert_="all")
    except Exception as problem:
        raise ValueError(f"{where}: {cause_of(problem)}") from problem
    if not isinstance(model, kind):
        raise ValueError(f"{where}: {config['_target_']} built a {type(model).__name__}, not a {kind.__name__}")
    return model


def _check_inputs(inputs: Mapping[str, Any]) -> None:
    """Refuse an input rule under which no photo is left; a division by nothing would show as failed photos only.

    Raises:
        SettingError: so it is.
    """
    std, size, crop = inputs.get("std"), inputs.get("size"), inputs.get("crop")
    for value in std if isinstance(std, list | tuple) else [] if std is None else [std]:
        positive("inputs.std", value)
    for value in size or ():
        whole("inputs.size", value)
    for place, value in enumerate(crop or ()):
        whole("inputs.crop", value, least=int(place > 1))


def is_embedded(config: Mapping[str, Any] | DictConfig) -> bool:
    """Whether a model's config names a member of the embedded zoo, which was trained on rendered faces."""
    return config.get("_target_") == _EMBEDDED


def is_embedded_attributes(config: Mapping[str, Any] | DictConfig) -> bool:
    """Whether a config names attribute networks that come with this project, which were trained on rendered faces."""
    return config.get("_target_") == _EMBEDDED_ATTRIBUTES


def is_embedded_generator(config: Mapping[str, Any] | DictConfig) -> bool:
    """Whether a generator's config names one whose weights come with this project."""
    return config.get("_target_") == _EMBEDDED_GENERATOR


def fingerprint(config: Mapping[str, Any], model: Recogniser, precision: str = FULL_PRECISION) -> str:
    """Digest of what decides the embeddings: the weights, the network's settings and code, the input rule, and in which
    precision it computes, where that is not float32."""
    inputs = _decisive(config, model.card.weights_sha256, "cloakbench.models.base")
    if precision != FULL_PRECISION:
        inputs["precision"] = precision
    return content_key("model", inputs)


def attribute_fingerprint(config: Mapping[str, Any], model: AttributeModel, task: AttributeTask) -> str:
    """Digest of what decides the answers to a task: weights, settings and code of the networks, and how the task reads
    them, which has nothing to do with labels. They compute in float32."""
    inputs = _decisive(config, model.card.weights_sha256, "cloakbench.models.attribute_surrogate")
    read = [
        [one.called, [part.called for part in one.classes], None if one.bins is None else vars(one.bins)]
        for one in task.attributes
    ]
    return content_key("model", inputs | {"task": read})


def generator_fingerprint(config: Mapping[str, Any], model: Generator) -> str:
    """Digest of what decides the pictures of a generator: its weights, settings and code. It computes in float32."""
    return content_key("generator", _decisive(config, model.card.weights_sha256, "cloakbench.models.generators"))


def _decisive(config: Mapping[str, Any], weights_sha256: str, contract: str) -> dict[str, Any]:
    counted = _counted(config)
    return {
        "settings": node_settings(counted, _TRANSPORT),
        "weights": weights_sha256,
        "code": node_code(counted, base=(contract,), without=_TRANSPORT),
    }


def _counted(config: Mapping[str, Any]) -> dict[str, Any]:
    """A model's config without what cannot change an embedding."""
    ours = str(config.get("_target_", "")).startswith(_PROJECT)
    return {str(key): _layout_only(item) for key, item in config.items() if not (ours and key in _LABELS)}


def _layout_only(value: Any) -> Any:
    if isinstance(value, Mapping):
        whole = value.get("_target_") != _WEIGHT_FILE
        return {str(key): _layout_only(item) for key, item in value.items() if whole or key in _LAYOUT}
    if isinstance(value, list | tuple):
        return [_layout_only(item) for item in value]
    return value
