"""Blocks of a config for objects that were made in Python: the class by its path, and the settings it was made with.

What runs is what the block builds, in whatever process, so that a key made of the block is true of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

from cloakbench.bench.config.build import build
from cloakbench.bench.config.given_object import given_block
from cloakbench.bench.config.networks import build_attribute_model, build_generator, build_recogniser
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.python.object_digest import importable_path, object_digest
from cloakbench.datasets.base import Dataset
from cloakbench.methods.base import without_title
from cloakbench.models.attributes import AttributeModel
from cloakbench.models.base import Recogniser
from cloakbench.models.generators import Generator

Part = TypeVar("Part")

_REMEMBERED = "_cloakbench_block"
_BUDGET = "epsilon_255"
"""The setting of a method that an experiment sweeps, if the block of the method has it."""
_PLAIN = (bool, int, float, str, type(None))


def remember(part: Part, block: Mapping[str, Any]) -> Part:
    """The part, which from now on knows the block that it was built from."""
    vars(part)[_REMEMBERED] = dict(block)
    return part


def remembered(part: Any) -> dict[str, Any] | None:
    """The block that a part was built from by name; None for one that somebody made."""
    return vars(part).get(_REMEMBERED)


def dataset_block(dataset: Dataset) -> dict[str, Any]:
    """The block for a data set, whose manifest is in every key."""
    return given_block(dataset, "")


def recogniser_block(recogniser: Recogniser, where: str) -> dict[str, Any]:
    """The block for a recogniser: the one that it was loaded from, or one that holds the network itself.

    Raises:
        ConfigError: it holds something that has no digest.
    """
    block = remembered(recogniser)
    digest = _model_digest(recogniser, where)
    if block is not None and _model_digest(build_recogniser(block, where), where) == digest:
        return block
    return given_block(recogniser, digest)


def attribute_block(model: AttributeModel, where: str) -> dict[str, Any]:
    """The same for an attribute network.

    Raises:
        ConfigError: it holds something that has no digest.
    """
    block = remembered(model)
    digest = _model_digest(model, where)
    if block is not None and _model_digest(build_attribute_model(block, where), where) == digest:
        return block
    return given_block(model, digest)


def generator_block(generator: Generator, where: str) -> dict[str, Any]:
    """The same for a generator.

    Raises:
        ConfigError: it holds something that has no digest.
    """
    block = remembered(generator)
    digest = _model_digest(generator, where)
    if block is not None and _model_digest(build_generator(block), where) == digest:
        return block
    return given_block(generator, digest)


def _model_digest(model: Recogniser | AttributeModel | Generator, where: str) -> str:
    """Of everything but the card, which says what a network is called."""
    held = {name: value for name, value in vars(model).items() if name not in ("card", _REMEMBERED)}
    return object_digest([type(model), held], where)


def part_block(part: Any, where: str) -> dict[str, Any]:
    """The block that builds a part such as a method anew: the fewest settings that give an equal one.

    A setting is read from the attribute of its name. One that is its default, or follows from the others, is left out,
    so that it still follows where a budget changes; the budget itself always stands there.

    Raises:
        ConfigError: the settings cannot be read back, or the part was changed after it was made.
    """
    block = remembered(part)
    if block is not None and not _differing(build(without_title(block), where, convert="all"), part):
        return block
    target = importable_path(type(part), where)
    try:
        parameters = inspect.signature(type(part)).parameters.values()
    except ValueError as problem:
        raise ConfigError(f"{where} is a {type(part).__name__}, whose settings cannot be read back") from problem
    named = [one for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    fixed = [one.name for one in named if one.default is one.empty or _is_budget(part, one.name)]
    settings = {name: _read(part, name, where) for name in fixed}
    optional = [one.name for one in named if one.name not in settings]
    while True:
        built = build({"_target_": target, **settings}, where, convert="all")
        differing = _differing(built, part)
        if not differing:
            return {"_target_": target, **settings}
        more = [name for name in optional if name in differing]
        if not more:
            raise ConfigError(
                f"{where}: a {type(part).__name__} made of the settings that can be read back differs in "
                f"{', '.join(differing)}: keep each argument of its constructor as an attribute of that name, and "
                "change nothing after it is made"
            )
        optional.remove(more[0])
        settings[more[0]] = _read(part, more[0], where)


def _is_budget(part: Any, name: str) -> bool:
    return name == _BUDGET and vars(part).get(name) is not None


def _read(part: Any, name: str, where: str) -> Any:
    if name not in vars(part):
        raise ConfigError(
            f"{where}: {type(part).__name__} does not keep the argument {name!r} of its constructor, so its settings "
            f"cannot be read back: store it as self.{name}, or give a mapping instead, "
            f"{{'_target_': {type(part).__name__}, {name!r}: ...}}"
        )
    return _setting(vars(part)[name], f"{where}.{name}")


def _setting(value: Any, where: str) -> Any:
    """A value as a config has it; an object is a block of its own."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, list | tuple):
        return [_setting(item, where) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _setting(item, where) for key, item in value.items()}
    if inspect.isclass(value) or inspect.isroutine(value):
        return {"_target_": "hydra.utils.get_object", "path": importable_path(value, where)}
    return part_block(value, where)


def _differing(built: Any, part: Any) -> list[str]:
    """Attributes of a part that was built anew in which it differs from the one that was given."""
    given = vars(part)
    return [
        name
        for name, value in vars(built).items()
        if name not in given or object_digest(value, name) != object_digest(given[name], name)
    ]


def plain_block(block: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A block that somebody wrote in Python, in which ``_target_`` may be a class instead of its path."""
    plain = {
        str(key): plain_block(item, f"{where}.{key}") if isinstance(item, Mapping) else item
        for key, item in block.items()
    }
    target = plain.get("_target_")
    if target is not None and not isinstance(target, str):
        plain["_target_"] = importable_path(target, where)
    return plain
