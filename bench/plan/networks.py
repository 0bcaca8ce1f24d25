"""`Networks`: the recognisers and attribute networks of an experiment, which share one space of keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from cloakbench.bench.config.build import build
from cloakbench.bench.config.compose import resolved
from cloakbench.bench.config.networks import (
    attribute_fingerprint,
    build_attribute_model,
    build_recogniser,
    fingerprint,
)
from cloakbench.bench.core.errors import ConfigError
from cloakbench.datasets.attribute_task import AttributeTask, AttributeTaskError
from cloakbench.models.attribute_surrogate import AttributeSurrogate
from cloakbench.models.attributes import AttributeCard, AttributeModel
from cloakbench.models.base import ModelCard, Recogniser
from cloakbench.models.same_weights import same_weights

_GROUPS = ("attribute_surrogates", "attribute_targets")


@dataclass(frozen=True)
class AttributeNetwork:
    """What makes an attribute network of an experiment, in picklable form.

    Attributes:
        model: resolved config.
        attributes: how many of the task it answers, the first ones; None for all.
    """

    model: Mapping[str, Any]
    attributes: int | None = None


@dataclass(frozen=True)
class Networks:
    """Networks by key.

    Attributes:
        recognisers: key to resolved config.
        attributes: key to what makes an attribute network.
        fingerprints: key to content digest, of both.
        cards: key to card, of both.
        same_weights: key to the keys of all with its weights, its own among them.
        embedding_sizes: key of a recogniser to the length of its embeddings.
    """

    recognisers: Mapping[str, Mapping[str, Any]]
    attributes: Mapping[str, AttributeNetwork]
    fingerprints: Mapping[str, str]
    cards: Mapping[str, ModelCard | AttributeCard]
    same_weights: Mapping[str, frozenset[str]]
    embedding_sizes: Mapping[str, int]

    @classmethod
    def of(cls, config: DictConfig) -> Networks:
        """Those of a composed config; each is built once, and let go.

        Raises:
            ConfigError: a key stands for two networks, or attribute networks have no task, or one that they do not fit.
            ValueError: weights cannot be had; the message says what to do.
        """
        models = {key: resolved(model) for group in (config.surrogates, config.targets) for key, model in group.items()}
        built = {key: build_recogniser(model, key) for key, model in models.items()}
        others = attribute_networks(config)
        if twice := sorted(set(others) & set(models)):
            raise ConfigError(f"{twice[0]} is a recogniser and an attribute network: give one of them another key")
        classifiers = _attribute_models(others)
        asked: dict[str, AttributeModel] = {}
        prints = {key: fingerprint(models[key], one, config.runtime.precision) for key, one in built.items()}
        for key, one in others.items():
            model, part = classifiers[repr(one.model)], task_of(config, one)
            _fit(model, part)
            asked[key] = model
            prints[key] = attribute_fingerprint(one.model, model, part)
        everything: dict[str, Recogniser | AttributeModel] = {**built, **asked}
        return cls(
            models,
            others,
            prints,
            {key: model.card for key, model in everything.items()},
            same_weights(everything),
            {key: model.card.embedding_size for key, model in built.items()},
        )


def attribute_task(config: DictConfig) -> AttributeTask | None:
    """The attribute task of an experiment; None where it has none.

    Raises:
        ConfigError: it is none, or wrong in itself.
    """
    if config.attribute_task is None:
        return None
    task = build(resolved(config.attribute_task), "attribute_task")
    if not isinstance(task, AttributeTask):
        raise ConfigError(f"attribute_task: {config.attribute_task._target_} built a {type(task).__name__}, not a task")
    return task


def task_of(config: DictConfig, network: AttributeNetwork) -> AttributeTask:
    """What a network of `attribute_networks` answers."""
    task = attribute_task(config)
    assert task is not None
    return task if network.attributes is None else task.first(network.attributes)


def attribute_networks(config: DictConfig) -> dict[str, AttributeNetwork]:
    """Key to what makes each attribute network, those that are attacked on the first attributes only among them.

    Raises:
        ConfigError: there is no task, or one that has not so many attributes, or a key that stands for two networks.
    """
    given = {key: resolved(model) for group in _GROUPS for key, model in config[group].items()}
    task = attribute_task(config)
    if given and task is None:
        names = ", ".join(given)
        raise ConfigError(
            f"{names} answer no attribute task: choose one with attribute_task=NAME (cloakbench list attribute_tasks)"
        )
    if task is None:
        return {}
    found = {key: AttributeNetwork(model) for key, model in given.items()}
    for count in config.attribute_counts:
        try:
            task.first(count)
        except AttributeTaskError as problem:
            raise ConfigError(f"attribute_counts: {problem}") from problem
        for key in config.attribute_surrogates:
            found[on_first(str(key), count)] = AttributeNetwork(given[key], count)
    return found


def attribute_labels(config: DictConfig) -> dict[str, tuple[str, ...]]:
    """Label to keys of the attribute networks that methods attack: each on the whole task, or on its first attributes
    as ``attribute_counts`` says."""
    keys = [str(key) for key in config.attribute_surrogates]
    if not config.attribute_counts:
        return {key: (key,) for key in keys}
    names = [on_first(key, count) for key in keys for count in config.attribute_counts]
    return {name: (name,) for name in names}


def on_first(key: str, count: int) -> str:
    """Key of an attribute network that is attacked on the first attributes of the task only."""
    return f"{key}_first{count}"


def _attribute_models(networks: Mapping[str, AttributeNetwork]) -> dict[str, AttributeModel]:
    """Each different one of them once, by its config."""
    found: dict[str, AttributeModel] = {}
    for key, one in networks.items():
        if repr(one.model) not in found:
            found[repr(one.model)] = build_attribute_model(one.model, key)
    return found


def _fit(model: AttributeModel, task: AttributeTask) -> None:
    try:
        AttributeSurrogate(model, task)
    except AttributeTaskError as problem:
        raise ConfigError(str(problem)) from problem
