"""Parts of an experiment, built before any weight is read and any photo opened: here a wrong setting is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from hydra.utils import get_class
from omegaconf import DictConfig

from cloakbench.bench.config.asked import asks_about_probes
from cloakbench.bench.config.build import build
from cloakbench.bench.config.checks.setting_checks import check_settings
from cloakbench.bench.config.compose import compose_config, group_options, resolved
from cloakbench.bench.config.given import is_given
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.engine.added_metric import AddedMetric
from cloakbench.bench.engine.device.devices import check_devices
from cloakbench.bench.engine.protocol import Protocol
from cloakbench.bench.engine.transforms import Transform
from cloakbench.bench.experiment.logging.loggers import RunLogger
from cloakbench.bench.plan.condition import AS_PUBLISHED
from cloakbench.bench.plan.plan import Cell, build_cells
from cloakbench.bench.report.reported.pairings import load_pairings
from cloakbench.datasets.base import Dataset

Part = TypeVar("Part")


@dataclass(frozen=True)
class Parts:
    """What an experiment is made of, apart from weights and photos: everything that a wrong setting can spoil.

    Attributes:
        dataset: the data set, nothing of which has been read or rendered.
        cells: methods of the experiment at budgets on surrogates, controls first; none where nobody asks about them.
        protocols: those that somebody is asked by, by key.
        metrics: those that are added to the protocols' own, by key.
        transforms: label to resolved config, that of no transform included.
        loggers: what follows the run.
    """

    dataset: Dataset
    cells: list[Cell]
    protocols: Mapping[str, Protocol]
    metrics: Mapping[str, AddedMetric]
    transforms: Mapping[str, Mapping[str, Any]]
    loggers: tuple[RunLogger, ...]


def build_parts(config: DictConfig) -> Parts:
    """Check every setting and build what needs neither weights nor photos: a matter of milliseconds.

    Raises:
        ConfigError: the experiment asks for something that cannot be; one line that names the setting.
    """
    check_settings(config)
    single_choices(config)
    check_devices(config)
    check_printed_tables(config)
    check_compared_with(config)
    protocols = asked_protocols(config)
    if all(protocol.every_publication for protocol in protocols.values()):
        raise ConfigError(_why_nobody_asks(config, protocols))
    transforms: dict[str, Mapping[str, Any]] = {AS_PUBLISHED.label: {}}
    for key, value in config.transforms.items():
        label, settings = _built(value, f"transforms.{key}", Transform).label, resolved(value)
        if transforms.get(label) not in (None, {}, settings):
            raise ConfigError(f"transforms.{key} and another transform are both called {label}: make them differ more")
        transforms[label] = settings
    loggers = tuple(build(resolved(value), f"logger.{key}") for key, value in config.logger.items())
    for key, protocol in protocols.items():
        protocol.check(config, f"protocols.{key}.")
    check_grouped(config, protocols)
    metrics = {str(key): _built(value, f"metrics.{key}", AddedMetric) for key, value in config.metrics.items()}
    check_metrics(protocols, metrics)
    cells = build_cells(config) if asks_about_probes(config) else []
    return Parts(build_dataset(config), cells, protocols, metrics, transforms, loggers)


def check_printed_tables(config: DictConfig) -> None:
    """Refuse a table in ``report.printed`` that no paper has.

    Raises:
        ConfigError: it does not exist; the message lists those that do.
    """
    known = load_pairings().tables if config.report.printed else {}
    if unknown := [name for name in config.report.printed if name not in known]:
        raise ConfigError(f"report.printed names {unknown[0]}, which is no table of a paper: {', '.join(known)}")


def check_compared_with(config: DictConfig) -> None:
    """Refuse a ``report.compare_with`` on the command line that names no method; that of a preset may have been left
    out with it.

    Raises:
        ConfigError: there is no such method; the message lists those that there are.
    """
    named, known = config.report.compare_with, [str(key) for key in config.methods]
    if named and config.method is None and named not in known and is_given(config, "report.compare_with"):
        raise ConfigError(f"report.compare_with names {named}, which is no method of the run: {', '.join(known)}")


def check_grouped(config: DictConfig, protocols: Mapping[str, Protocol]) -> None:
    """Refuse a metric in ``report.groups`` that no protocol measures.

    Raises:
        ConfigError: nobody measures it; the message names those that are measured.
    """
    known = [metric.name for one in protocols.values() for metric in one.metrics]
    if unknown := [name for name in config.report.groups if name not in known]:
        raise ConfigError(
            f"report.groups names {unknown[0]}, which nothing measures here: use some of {', '.join(known)}"
        )


def asked_protocols(config: DictConfig) -> dict[str, Protocol]:
    """The protocols that somebody is asked by, by key.

    Raises:
        ConfigError: one cannot be built.
    """
    built = {str(key): _built(value, f"protocols.{key}", Protocol) for key, value in config.protocols.items()}
    return {key: protocol for key, protocol in built.items() if protocol.is_asked(config)}


def _why_nobody_asks(config: DictConfig, asked: Mapping[str, Protocol]) -> str:
    """What an experiment lacks in which no photo is published; ``asked`` are about those of other protocols."""
    if any(_built(value, f"protocols.{key}", Protocol).asks_targets for key, value in config.protocols.items()):
        return "the experiment has no target: add one with model@target=NAME (see cloakbench list models)"
    names = group_options("protocol")
    # One by one: some bring parts of the experiment, which two of them together would bring twice.
    found = {name: compose_config(["experiment=smoke", f"+protocol@found={name}"]).found for name in names}
    publishing = [name for name in names if not get_class(found[name]._target_).every_publication]
    lack = f"{', '.join(asked)} asks about what others publish, and nobody does" if asked else "nobody asks anything"
    return (
        f"the experiment has no protocol that says which photos are protected ({lack}): add one with "
        f"+protocol@protocols.NAME=NAME, NAME one of {', '.join(publishing)}"
    )


def check_metrics(protocols: Mapping[str, Protocol], metrics: Mapping[str, AddedMetric]) -> None:
    """Refuse a metric that is declared twice, and one whose protocol is not there to be read.

    Args:
        protocols: those that are asked, by key.
        metrics: those that are added, by key.

    Raises:
        ConfigError: there is one; the message names the settings.
    """
    declared = [(one.name, metric, f"protocols.{key}") for key, one in protocols.items() for metric in one.metrics]
    declared += [(one.protocol, one.described, f"metrics.{key}") for key, one in metrics.items()]
    places: dict[tuple[str, str], str] = {}
    for protocol, metric, place in declared:
        if first := places.get((protocol, metric.name)):
            remedy = f"leave out {first} or {place}" if first != place else f"give it another name in {place}"
            raise ConfigError(f"metric {metric.name} of {protocol} is declared twice: {remedy}")
        places[protocol, metric.name] = place
    names = {one.name for one in protocols.values()}
    for key, one in metrics.items():
        if one.protocol not in names:
            raise ConfigError(
                f"metrics.{key} reads records of {one.protocol}, which this experiment does not ask; it asks: "
                f"{', '.join(sorted(names))}"
            )


def single_choices(config: DictConfig) -> None:
    """Let ``method=``, ``model@surrogate=`` and ``model@target=`` replace the lists of the experiment, in place.

    Ensembles and limits of the experiment name surrogates of its list; with another surrogate they no longer apply.
    """
    if config.surrogate is not None:
        forget_surrogates(config)
    for one, many in (("surrogate", "surrogates"), ("target", "targets")):
        if config[one] is not None:
            config[many] = {config[one].name: config[one]}
            config[one] = None


def forget_surrogates(config: DictConfig) -> None:
    """Take out what names the surrogates of a preset, in place, because others take their place."""
    config.ensembles = {}
    config.single_surrogates = True
    for limit in (config.plan.limits or {}).values():
        limit.pop("surrogates", None)


def build_dataset(config: DictConfig) -> Dataset:
    """The data set of a composed config.

    Raises:
        ConfigError: a setting is missing or wrong.
    """
    return _built(config.dataset, "dataset", Dataset)


def _built(config: DictConfig, where: str, kind: type[Part]) -> Part:
    part = build(resolved(config), where)
    if not isinstance(part, kind):
        raise ConfigError(f"{where}: {config._target_} built a {type(part).__name__}, not a {kind.__name__}")
    return part
