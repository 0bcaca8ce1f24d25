"""Session of a command about one recogniser: its config, the recogniser itself, and the faces it is tried on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig

from cloakbench.bench.config.checks.setting_checks import check_values
from cloakbench.bench.config.checks.views import check_view
from cloakbench.bench.config.compose import compose_config, missing_settings, resolved, split_config_dirs
from cloakbench.bench.config.networks import build_recogniser, fingerprint, is_embedded
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.machine import checked_device
from cloakbench.bench.experiment.parts import build_dataset
from cloakbench.bench.processes.malloc import keep_freed_memory
from cloakbench.bench.store.store import Store
from cloakbench.datasets.base import Dataset
from cloakbench.models.base import Recogniser

_FACES = "name faces with dataset=..., for instance dataset=folder dataset.root=FOLDER"


@dataclass(frozen=True)
class OneModel:
    """A recogniser and how it is to be looked at.

    Attributes:
        config: the composed config; ``conf/recogniser.yaml`` says what is in it.
        model: the recogniser, on the config's device.
        fingerprint: digest of what decides its embeddings.
        store: where results are kept.
        dataset_name: name of the data set in its config group.
        no_faces: why the data set must not be used, or empty: rendered faces say nothing about a network that was not
            trained on them, so they have to be asked for by name.
    """

    config: DictConfig
    model: Recogniser
    fingerprint: str
    store: Store
    dataset_name: str
    no_faces: str

    @property
    def name(self) -> str:
        """The model's key."""
        return str(self.config.model.name)


def compose_one_model(words: Sequence[str], command: str, config_name: str = "recogniser") -> OneModel:
    """Build the recogniser that a command line names with ``model=NAME``.

    Raises:
        ConfigError: no model, a setting that does not exist, or one that is missing.
        ValueError: the weights cannot be had; the message says what to do.
    """
    torch.set_num_threads(1)  # thread count changes the order of float sums
    keep_freed_memory()
    config_dirs, overrides = split_config_dirs(words)
    if not any(word.startswith("model=") for word in overrides):
        raise ConfigError(f"say which recogniser: cloakbench {command} model=NAME (see cloakbench list models)")
    config = compose_config(overrides, config_name, config_dirs)
    if missing := missing_settings(config.model):
        raise ConfigError(f"set {', '.join(f'model.{key}=...' for key in missing)}")
    check_values(config)
    device = checked_device(config.device, "device")
    plain = resolved(config.model)
    model = build_recogniser(plain, config.model.name)
    named = [word.partition("=")[2] for word in overrides if word.startswith("dataset=")]
    no_faces = "" if named or is_embedded(plain) else f"no faces at hand: {_FACES}"
    return OneModel(
        config=config,
        model=model.to(device),
        fingerprint=fingerprint(plain, model),
        store=Store(Path(config.paths.store)),
        dataset_name=named[0] if named else "synthetic",
        no_faces=no_faces,
    )


def faces_of(one: OneModel) -> Dataset:
    """The data set of the config.

    Raises:
        ConfigError: there are no faces to use, or no aligned ones, or a setting is missing or wrong.
    """
    if one.no_faces:
        raise ConfigError(one.no_faces)
    dataset = build_dataset(one.config)
    check_view(one.name, one.model.card, dataset)
    return dataset
