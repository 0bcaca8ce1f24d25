"""Session of a command about one attribute network: its config, the network, the task, and labelled faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from cloakbench.bench.config.checks.setting_checks import check_values
from cloakbench.bench.config.checks.views import check_view
from cloakbench.bench.config.compose import compose_config, missing_settings, resolved, split_config_dirs
from cloakbench.bench.config.networks import build_attribute_model
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.machine import checked_device
from cloakbench.bench.experiment.parts import build_dataset
from cloakbench.datasets.attribute_task import AttributeTask
from cloakbench.datasets.base import FaceSet, Role
from cloakbench.models.attributes import AttributeModel

CONFIG = "attribute_network"
KEY = "attribute_model="
"""What a word begins with that names such a network."""

_EMBEDDED = "cloakbench.models.attribute_zoo.loading.load_embedded_attributes"
_TAUGHT = "world"
"""The task that has all that the embedded networks answer."""
_ROLES: tuple[Role, ...] = ("probe", "test")


@dataclass(frozen=True)
class OneAttributeModel:
    """An attribute network and how it is to be looked at.

    Attributes:
        config: the composed config; ``conf/attribute_network.yaml`` says what is in it.
        name: of the network, as it was typed.
        model: the network, on the config's device.
        embedded: whether it comes with this project and knows the embedded world.
    """

    config: DictConfig
    name: str
    model: AttributeModel
    embedded: bool

    @property
    def has_task(self) -> bool:
        """Whether it is asked anything."""
        return self.config.get("attribute_task") is not None

    def task(self) -> AttributeTask:
        """What it is asked.

        Raises:
            ConfigError: no task is named, and the network is none of those that come with this project.
        """
        if not self.has_task:
            raise ConfigError("say what it is asked: attribute_task=NAME (see cloakbench list attribute_tasks)")
        return instantiate(self.config.attribute_task)

    def faces(self, words: Sequence[str]) -> tuple[str, FaceSet]:
        """Name of the data set, and its probes, or its test photos where it has none.

        Raises:
            ConfigError: rendered faces, which only embedded networks know, were not asked for by name; or the network
                was trained on another kind of crop than the data set gives.
        """
        named = [word.partition("=")[2] for word in words if word.startswith("dataset=")]
        if not named and not self.embedded:
            raise ConfigError("name faces with dataset=..., for instance dataset=folder dataset.root=FOLDER")
        dataset = build_dataset(self.config)
        check_view(self.name, self.model.card, dataset)
        there = [dataset.faces(role) for role in _ROLES if role in dataset.roles()]
        if not there:
            raise ConfigError(f"data set {dataset.name} has neither probes nor test photos")
        return named[0] if named else dataset.name, there[0]


def compose_one_attribute_model(words: Sequence[str], command: str) -> OneAttributeModel:
    """Build the attribute network that a command line names with ``attribute_model=NAME``.

    Raises:
        ConfigError: no network, a setting that does not exist, or one that is missing.
        ValueError: the weights cannot be had; the message says what to do.
    """
    torch.set_num_threads(1)  # thread count changes the order of float sums
    config_dirs, overrides = split_config_dirs(words)
    names = [word.removeprefix(KEY) for word in overrides if word.startswith(KEY)]
    if not names:
        raise ConfigError(f"say which network: cloakbench {command} {KEY}NAME (see cloakbench list attribute_models)")
    config = compose_config(overrides, CONFIG, config_dirs)
    embedded = is_embedded_attributes(config.attribute_model)
    if embedded and config.get("attribute_task") is None:
        config = compose_config([*overrides, f"attribute_task={_TAUGHT}"], CONFIG, config_dirs)
    if missing := missing_settings(config.attribute_model):
        raise ConfigError(f"set {', '.join(f'attribute_model.{key}=...' for key in missing)}")
    check_values(config)
    device = checked_device(config.device, "device")
    plain: Any = resolved(config.attribute_model)
    return OneAttributeModel(config, names[-1], build_attribute_model(plain, names[-1]).to(device), embedded)


def is_embedded_attributes(config: DictConfig) -> bool:
    """Whether a config names an attribute network that comes with this project."""
    return config is not None and config.get("_target_") == _EMBEDDED
