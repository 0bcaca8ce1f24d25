"""`load_method`, `load_recogniser`, `load_generator`: one part of a config group, built."""

from __future__ import annotations

from typing import Any

from cloakbench.bench.config.checks.annotations import check_part
from cloakbench.bench.config.networks import build_generator, build_recogniser
from cloakbench.bench.core.machine import checked_device
from cloakbench.bench.plan.plan import make_protector
from cloakbench.bench.python.blocks import remember
from cloakbench.bench.python.composing import ConfigDirs, compose_part, config_folders
from cloakbench.methods.base import Protector
from cloakbench.models.base import Recogniser
from cloakbench.models.generators import Generator


def load_method(name: str, *, config_dir: ConfigDirs = (), **settings: Any) -> Protector:
    """A protection method by the name of its config.

    Args:
        name: as ``cloakbench list methods`` prints it.
        config_dir: one or several folders of your own configs.
        settings: replace those of the config, such as ``steps=20``.

    Returns:
        The method. In `cloakbench.evaluate` it shares keys with the method of that name and these settings.

    Raises:
        ConfigError: there is no such method or setting, or a value is refused; the message lists what there is.

    Example:
        >>> import cloakbench
        >>> method = cloakbench.load_method("pgd", steps=3)
        >>> method.budget
        Budget(norm='linf', size_255=8)
    """
    block = compose_part("method", name, settings, config_folders(config_dir))
    return remember(make_protector(block, name, "method"), block)


def load_recogniser(name: str, *, device: str = "cpu", config_dir: ConfigDirs = (), **settings: Any) -> Recogniser:
    """A recogniser by the name of its config, with its weights.

    Args:
        name: as ``cloakbench list models`` prints it.
        device: where to put it.
        config_dir: one or several folders of your own configs.
        settings: replace those of the config, such as ``weights={"path": "file.pt"}``; a mapping is merged.

    Raises:
        ConfigError: there is no such recogniser or setting; the message lists what there is.
        ValueError: its weights are not here or do not fit; the message says what to do.

    Example:
        >>> import cloakbench, torch
        >>> recogniser = cloakbench.load_recogniser("cosface_ir")
        >>> recogniser.embed(torch.rand(2, 3, 112, 112)).shape
        torch.Size([2, 128])
    """
    place = checked_device(device, "device")
    block = compose_part("model", name, settings, config_folders(config_dir))
    check_part(block, "model")
    return remember(build_recogniser(block, name).to(place), block)


def load_generator(name: str, *, device: str = "cpu", config_dir: ConfigDirs = (), **settings: Any) -> Generator:
    """A generator by the name of its config, with its weights.

    Args:
        name: as ``cloakbench list generators`` prints it.
        device: where to put it.
        config_dir: one or several folders of your own configs.
        settings: replace those of the config, such as ``turn_degrees=5``; a mapping is merged.

    Raises:
        ConfigError: there is no such generator or setting; the message lists what there is.
        ValueError: its weights are not here or do not fit; the message says what to do.

    Example:
        >>> import cloakbench, torch
        >>> generator = cloakbench.load_generator("augment")
        >>> generator.views(torch.rand(1, 3, 112, 112), 4, [torch.Generator().manual_seed(0)]).shape
        torch.Size([1, 4, 3, 112, 112])
    """
    place = checked_device(device, "device")
    block = compose_part("generator", name, settings, config_folders(config_dir))
    check_part(block, "generator")
    return remember(build_generator(block).to(place), block)
