"""Building the recognisers and attribute classifiers of an experiment and naming them by content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from hydra.utils import instantiate
from omegaconf import DictConfig

from cloakbench.bench.keys import content_key
from cloakbench.bench.reasons import cause_of
from cloakbench.datasets.provenance import code_digest
from cloakbench.models.attributes import AttributeModel
from cloakbench.models.base import Recogniser

Model = TypeVar("Model", Recogniser, AttributeModel)

_PLACES = frozenset({"path", "urls", "member", "cache", "sha256", "name", "card"})
"""Settings that say where weights lie or what they are called; the digest of the weights says what they are."""

_EMBEDDED = "cloakbench.models.zoo.load_embedded"
_TRANSPORT = frozenset({"cloakbench.models.download", "cloakbench.models.weight_lock"})
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


def _build(config: Mapping[str, Any], key: str, kind: type[Model]) -> Model:
    try:
        model = instantiate(dict(config), _convert_="all")
    except Exception as problem:
        raise ValueError(f"model {key}: {cause_of(problem)}") from problem
    if not isinstance(model, kind):
        raise ValueError(f"model {key}: {config['_target_']} built a {type(model).__name__}, not a {kind.__name__}")
    return model


def is_embedded(config: Mapping[str, Any] | DictConfig) -> bool:
    """Whether a model's config names a member of the embedded zoo, which was trained on rendered faces."""
    return config.get("_target_") == _EMBEDDED


def fingerprint(config: Mapping[str, Any], model: Recogniser) -> str:
    """Digest of what decides the embeddings: the weights, the network's settings and code, and the input rule."""
    settings = _without_places(config)
    modules = sorted({"cloakbench.models.base", *project_modules(settings)})
    code = code_digest(*modules, without=_TRANSPORT)
    inputs = {"settings": settings, "weights": model.card.weights_sha256, "code": code}
    return content_key("model", inputs)


def _without_places(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_places(item) for key, item in value.items() if key not in _PLACES}
    if isinstance(value, list | tuple):
        return [_without_places(item) for item in value]
    return value


def project_modules(value: Any) -> set[str]:
    """Modules of this project named by any ``_target_``."""
    if isinstance(value, Mapping):
        found = set().union(*(project_modules(item) for item in value.values())) if value else set()
        target = str(value.get("_target_", ""))
        return found | ({target.rpartition(".")[0]} if target.startswith("cloakbench.") else set())
    if isinstance(value, list):
        return set().union(*(project_modules(item) for item in value)) if value else set()
    return set()
