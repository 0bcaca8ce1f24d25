"""From what a Python call names or hands over to the config that the same words on the command line would compose."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict

from cloakbench.bench.config.compose import WITHOUT_EXPERIMENT, compose_config, group_options, resolved
from cloakbench.bench.config.given import is_given
from cloakbench.bench.config.plug_ins import make_importable
from cloakbench.bench.config.values import quoted
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.engine.protocol import Protocol
from cloakbench.bench.engine.transforms import Transform
from cloakbench.bench.experiment.parts import forget_surrogates
from cloakbench.bench.python.blocks import (
    attribute_block,
    dataset_block,
    generator_block,
    part_block,
    plain_block,
    recogniser_block,
)
from cloakbench.bench.python.faces import GivenFaces
from cloakbench.datasets.base import Dataset, FaceSet
from cloakbench.methods.base import Protector
from cloakbench.models.attributes import AttributeModel
from cloakbench.models.base import Recogniser
from cloakbench.models.generators import Generator

ConfigDirs = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_KINDS: Mapping[str, tuple[str, type]] = {
    "methods": ("method", Protector),
    "surrogates": ("model", Recogniser),
    "targets": ("model", Recogniser),
    "attribute_surrogates": ("attribute_model", AttributeModel),
    "attribute_targets": ("attribute_model", AttributeModel),
    "transforms": ("transform", Transform),
    "protocols": ("protocol", Protocol),
}
"""Lists of an experiment: the config group of their names, and the contract of what may be handed over."""

_HOLDER = "handed"
"""Where parts are composed before they take the place of the experiment's lists."""


def config_folders(config_dir: ConfigDirs) -> list[str]:
    """Folders of somebody's own configs, whose modules can be imported from now on."""
    one = isinstance(config_dir, str | os.PathLike)
    folders = [os.fspath(folder) for folder in ([config_dir] if one else config_dir)]  # type: ignore[list-item]
    make_importable(folders)
    return folders


def compose_experiment(
    lists: Mapping[str, Any],
    faces: Any,
    experiment: str | None,
    settings: Mapping[str, Any],
    config_dirs: list[str],
    generator: Any = None,
    attribute_task: Any = None,
) -> DictConfig:
    """The config of an experiment.

    Args:
        lists: name of a list of `_KINDS` to what it is to be; None for that of the experiment.
        faces: see `cloakbench.bench.python.experiments.evaluate`.
        experiment: a preset to start from, or None for empty lists.
        settings: dotted name to value.
        config_dirs: folders of somebody's own configs.
        generator: by name, as an object or as a block; None for that of the experiment.
        attribute_task: by name or as a block; None for that of the experiment.

    Raises:
        ConfigError: a name or setting that does not exist, or an object that cannot stand in an experiment.
    """
    words = [f"experiment={experiment}" if experiment else WITHOUT_EXPERIMENT]
    parts = {group: keyed(value, group) for group, value in lists.items() if value is not None}
    for group, entries in parts.items():
        for place, entry in enumerate(entries.values()):
            if isinstance(entry, str):
                words.append(f"+{_KINDS[group][0]}@{_HOLDER}.{group}.p{place}={entry}")
    words += [f"generator={generator}"] if isinstance(generator, str) else []
    words += [f"attribute_task={attribute_task}"] if isinstance(attribute_task, str) else []
    words += [*_dataset_words(faces, config_dirs), *map(_word, settings, settings.values())]
    config = compose_config(words, config_dirs=config_dirs)
    with open_dict(config):
        config.given = [
            name for name in config.given if name != WITHOUT_EXPERIMENT and not name.startswith(f"{_HOLDER}.")
        ]
        _forget_replaced(config, parts)
        found = config.pop(_HOLDER, {})
        for group, entries in parts.items():
            blocks = {
                key: found[group][f"p{place}"] if isinstance(entry, str) else _block(entry, group, key)
                for place, (key, entry) in enumerate(entries.items())
            }
            config[group] = DictConfig(blocks, flags={"allow_objects": True})
        if isinstance(faces, Dataset | Mapping):
            dataset = faces if isinstance(faces, Dataset) else GivenFaces(faces)
            config.dataset = DictConfig(dataset_block(dataset), flags={"allow_objects": True})
        if generator is not None and not isinstance(generator, str):
            config.generator = DictConfig(_generator_block(generator), flags={"allow_objects": True})
        if attribute_task is not None and not isinstance(attribute_task, str):
            config.attribute_task = DictConfig(_task_block(attribute_task))
    return config


def _forget_replaced(config: DictConfig, parts: Mapping[str, Mapping[str, Any]]) -> None:
    """Take out what a preset says of methods and surrogates in whose place others stand."""
    if "surrogates" in parts and not any(is_given(config, name) for name in ("ensembles", "plan.limits")):
        forget_surrogates(config)
    blocks = [block for key, block in config.protocols.items() if key not in parts.get("protocols", config.protocols)]
    gone = {*config.methods, *(method for block in blocks for method in block.get("methods") or ())}
    for method in set(config.plan.limits or {}) & (gone - set(parts.get("methods", config.methods))):
        if not is_given(config, f"plan.limits.{method}"):
            del config.plan.limits[method]


def compose_part(group: str, name: str, settings: Mapping[str, Any], config_dirs: list[str]) -> dict[str, Any]:
    """The resolved block of one config of a group, with some of its settings replaced.

    Raises:
        ConfigError: there is no config of that name; the message lists those there are.
    """
    config = compose_config([WITHOUT_EXPERIMENT, f"+{group}@{_HOLDER}.part={name}"], config_dirs=config_dirs)
    return _merged(resolved(config[_HOLDER].part), plain_block(settings, group))


def _merged(block: dict[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """A block with other settings; a mapping is merged into the one that is there."""
    merged = dict(block)
    for key, value in settings.items():
        known = block.get(key)
        inner = isinstance(value, Mapping) and isinstance(known, Mapping) and "_target_" not in value
        merged[key] = _merged(dict(known), value) if inner and isinstance(known, Mapping) else value
    return merged


def keyed(value: Any, group: str) -> dict[str, Any]:
    """Key to name, object or block, from one of them, a list of them, or a mapping.

    Raises:
        ConfigError: two have one key, or one has none.
    """
    if isinstance(value, Mapping) and "_target_" not in value:
        return {str(key): entry for key, entry in value.items()}
    entries: dict[str, Any] = {}
    for entry in value if isinstance(value, list | tuple) else [value]:
        key = _key_of(entry)
        if not key:
            raise ConfigError(f"{group}: a {type(entry).__name__} has no name: give a mapping, {{'NAME': ...}}")
        if key in entries:
            raise ConfigError(f"{group}: two are called {key}: give a mapping, {{'NAME': ..., 'OTHER': ...}}")
        entries[key] = entry
    return entries


def _key_of(entry: Any) -> str:
    if isinstance(entry, str):
        return entry
    if isinstance(entry, Recogniser | AttributeModel):
        return entry.card.name
    if isinstance(entry, Transform):
        return entry.label
    return entry.name if isinstance(entry, Protector | Protocol) else ""


def _block(entry: Any, group: str, key: str) -> dict[str, Any]:
    """The block of what was handed over."""
    name, kind = _KINDS[group]
    where = f"{group}.{key}"
    if isinstance(entry, Mapping) and "_target_" in entry:
        return plain_block(entry, where)
    if isinstance(entry, type) or not isinstance(entry, kind):
        given = f"the class {entry.__name__}" if isinstance(entry, type) else f"a {type(entry).__name__}"
        raise ConfigError(
            f"{where} is {given}: give the name of a {name}, a {kind.__name__}, or a mapping with _target_ and settings"
        )
    if isinstance(entry, AttributeModel):
        return attribute_block(entry, where)
    return recogniser_block(entry, where) if isinstance(entry, Recogniser) else part_block(entry, where)


def _generator_block(given: Any) -> dict[str, Any]:
    if isinstance(given, Mapping) and "_target_" in given:
        return plain_block(given, "generator")
    if not isinstance(given, Generator):
        raise ConfigError(
            f"generator is a {type(given).__name__}: give the name of a generator, a Generator, or a mapping with "
            "_target_ and settings"
        )
    return generator_block(given, "generator")


def _task_block(given: Any) -> dict[str, Any]:
    if isinstance(given, Mapping) and "_target_" in given:
        return plain_block(given, "attribute_task")
    raise ConfigError(
        f"attribute_task is a {type(given).__name__}: give the name of an attribute task, or a mapping with _target_, "
        "name and attributes"
    )


def _dataset_words(faces: Any, config_dirs: list[str]) -> Iterator[str]:
    """How a command line names these faces; nothing for those of the experiment and for what is handed over."""
    if faces is None or isinstance(faces, Dataset):
        return
    if isinstance(faces, Mapping):
        if wrong := [role for role, some in faces.items() if not isinstance(some, FaceSet)]:
            raise ConfigError(f"faces[{wrong[0]!r}] is a {type(faces[wrong[0]]).__name__}: it must be a FaceSet")
    elif isinstance(faces, os.PathLike) or (
        isinstance(faces, str) and faces not in group_options("dataset", config_dirs) and Path(faces).is_dir()
    ):
        yield "dataset=folder"
        yield f"dataset.root={os.fspath(faces)}"
    elif isinstance(faces, str):
        yield f"dataset={faces}"
    else:
        raise ConfigError(f"faces is a {type(faces).__name__}: give a name, a folder, a Dataset, or FaceSets by role")


def _word(key: str, value: Any) -> str:
    return f"{key}={_grammar(value)}"


def _grammar(value: Any) -> str:
    """A value in Hydra's grammar."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_grammar(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_grammar, value)) + "]"
    return str(value) if isinstance(value, int | float) else quoted(os.fspath(value))
