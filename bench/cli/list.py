"""``cloakbench list``: what can be named on the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.table import Table

from cloakbench.bench.config.compose import (
    WITHOUT_EXPERIMENT,
    compose_config,
    group_options,
    missing_settings,
    resolved,
    split_config_dirs,
)
from cloakbench.bench.config.flags import nearest
from cloakbench.bench.config.plug_ins import project, shadowed, sources
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.redaction import without_secrets
from cloakbench.bench.core.screen import Screen
from cloakbench.bench.core.side_cache import SideCache, key_of, project_digest

_NOTE = "note"
"""Column that is printed below the table instead of in it."""

_UNBUILT = "cannot be built"

Describe = Callable[..., dict[str, str]]
"""Columns of a config by its name, its group and the folders of ``--config-dir``."""


def main(words: Sequence[str]) -> int:
    """``cloakbench list [GROUP]``: what can be named on the command line; without a group, the groups.

    A config that cannot be used, of whomever, is a line with the reason and never the end of the list.
    """
    config_dirs, rest = split_config_dirs(words)
    groups = sorted(project().groups())
    if not rest:
        return _list_groups(groups, config_dirs)
    group = next((one for one in groups if rest[0] in (one, _plural(one))), None)
    if len(rest) != 1 or group is None:
        plurals = [_plural(one) for one in groups]
        raise ConfigError(f"say what to list: cloakbench list {'|'.join(plurals)}{nearest(rest[0], plurals)}")
    names = group_options(group, config_dirs)
    describe: Describe = _DESCRIBED.get(group, _plain_columns)
    own = sorted(project().names(group) & set(names))
    rows = _own_methods(own) if group == "method" else {}
    if group == "model":
        describe = partial(describe, _composed(group, own))
    elif group == "method":
        describe = partial(describe, OmegaConf.create())
    rows |= {name: _columns(describe, name, group, config_dirs) for name in names if name not in rows}
    table, notes = _table(_plural(group), {name: rows[name] for name in names})
    console = Screen()
    console.print(table)
    for note in [*notes, *shadowed(config_dirs)]:
        console.note(note)
    return 0


def _plural(group: str) -> str:
    return group if group == "runtime" else f"{group}s"


def _list_groups(groups: Sequence[str], config_dirs: Sequence[str]) -> int:
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    table.add_column("group", style="bold", no_wrap=True)
    table.add_column("how many", justify="right")
    table.add_column("names", overflow="fold")
    for group in groups:
        names = group_options(group, config_dirs)
        table.add_row(_plural(group), str(len(names)), ", ".join(names))
    console = Screen()
    console.print(table)
    console.print("cloakbench list GROUP says more of each", style="dim")
    return 0


def _columns(describe: Describe, name: str, group: str, config_dirs: Sequence[str]) -> dict[str, str]:
    """The columns of a config, or why there are none."""
    try:
        return describe(name, group, config_dirs)
    except Exception as problem:  # a class of somebody's own may raise anything
        return {_NOTE: f"cannot be used: {problem}"}


def _table(title: str, rows: Mapping[str, dict[str, str]]) -> tuple[Table, list[str]]:
    """A table with a row for each name, and the notes below it."""
    titles = list(dict.fromkeys(title for columns in rows.values() for title in columns if title != _NOTE))
    notes = [f"{name}: {columns[_NOTE]}" for name, columns in rows.items() if _NOTE in columns]
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    table.add_column(title, style="bold", no_wrap=True)
    for column in titles:
        table.add_column(column, overflow="fold")
    for name, columns in rows.items():
        table.add_row(name, *(columns.get(column, "") for column in titles))
    return table, notes


def _composed(group: str, names: Sequence[str], config_dirs: Sequence[str] = ()) -> DictConfig:
    """Configs of a group, composed together: the project's own would take half a minute one at a time."""
    found = (f"+{group}@found.{name}={name}" for name in names)
    return compose_config([WITHOUT_EXPERIMENT, *found], config_dirs=config_dirs).found


def _own_methods(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """The rows of the project's own methods, which are built once for the project as it is and for this Python.

    One that cannot be built may lack something of the machine's, and is tried each time.
    """
    kept, key = SideCache("listed_methods", most=8), key_of(project_digest(), sys.version_info, list(names))
    rows = kept.get(key)
    if rows is None:
        describe = partial(_method_columns, _composed("method", names))
        rows = {name: _columns(describe, name, "method", ()) for name in names}
        if all(columns.get("paper", _UNBUILT) != _UNBUILT for columns in rows.values()):
            kept.put(key, rows)
            kept.save()
    return rows


def _method_columns(configs: DictConfig, name: str, group: str, config_dirs: Sequence[str]) -> dict[str, str]:
    from cloakbench.bench.plan.plan import make_protector

    method = _config(configs, name, group, config_dirs)
    empty = {"scope": "", "needs": "", "budget": ""}
    if missing := missing_settings(method):
        return {**empty, "paper": "a template", _NOTE: f"set {', '.join(missing)}"}
    try:
        protector = make_protector(resolved(method), name)
    except ConfigError as problem:
        return {**empty, "paper": _UNBUILT, _NOTE: str(problem)}
    budget = protector.budget
    return {
        "scope": protector.scope,
        "needs": ", ".join(sorted(protector.needs)) or "-",
        "budget": f"{budget.norm} {budget.size_255:g}/255" if budget else "-",
        "paper": _short_citation(protector.paper),
    }


def _config(configs: DictConfig, name: str, group: str, config_dirs: Sequence[str]) -> DictConfig:
    """One of the project's configs, or else somebody's own, which may not compose."""
    if name in configs:
        return configs[name]
    return _composed(group, [name], config_dirs)[name]


def _short_citation(paper: str) -> str:
    """``Dong et al. 2018`` of a full citation; what has no year stays as it is."""
    authors, _, rest = paper.partition(",")
    year = rest.rpartition(" ")[2]
    return f"{authors} {year}" if year.isdigit() else paper


def _absent_file(config: Mapping[str, Any]) -> str:
    """What to do about the first file of a model that is not there; empty when there is none, or no file at all."""
    for part in (config.get("weights"), config.get("symbol")):
        if isinstance(part, Mapping) and part.get("path") and not Path(part["path"]).exists():
            page = without_secrets(config["card"].get("page") or "its publisher")
            how = "fetched on first use from" if part.get("urls") else "to be put there by hand; see"
            return f"{part['path']} is {how} {page}"
    return ""


def _model_columns(configs: DictConfig, name: str, group: str, config_dirs: Sequence[str]) -> dict[str, str]:
    from cloakbench.bench.config.networks import build_recogniser

    empty = {"family": "", "head": "", "size": "", "clean Top-1": ""}
    config = _config(configs, name, group, config_dirs)
    if missing := missing_settings(config):
        return {**empty, "state": "a template", _NOTE: f"set {', '.join(missing)}"}
    plain = resolved(config)
    if absent := _absent_file(plain):  # nothing is fetched, and no network built, for a list
        stated = {"family": plain["card"]["family"], "head": plain["card"]["head"]}
        return {**empty, **stated, "state": "not yet", _NOTE: absent}
    try:
        card = build_recogniser(plain, name).card
    except ValueError as problem:
        return {**empty, "state": "not yet", _NOTE: str(problem)}
    clean = "" if card.clean_top1 is None else f"{card.clean_top1:.1%}"
    return {
        "family": card.family,
        "head": card.head,
        "size": str(card.embedding_size),
        "clean Top-1": clean,
        "state": "ready",
    }


def _attribute_model_columns(configs: DictConfig, name: str, group: str, config_dirs: Sequence[str]) -> dict[str, str]:
    from cloakbench.bench.config.networks import build_attribute_model

    empty = {"answers": "", "view": "", "training set": ""}
    config = _config(configs, name, group, config_dirs)
    if missing := missing_settings(config):
        return {**empty, "state": "a template", _NOTE: f"set {', '.join(missing)}"}
    plain = resolved(config)
    try:
        model = build_attribute_model(plain, name)
    except ValueError as problem:
        return {**empty, "state": "not yet", _NOTE: str(problem)}
    return {
        "answers": ", ".join(f"{output.name} ({len(output.classes) or output.unit})" for output in model.outputs),
        "view": model.card.view,
        "training set": model.card.training_set,
        "state": "ready",
    }


def _generator_columns(name: str, group: str, config_dirs: Sequence[str]) -> dict[str, str]:
    from cloakbench.bench.config.networks import build_generator
    from cloakbench.bench.doctor.preflight import missing_of_generator

    config = _composed(group, [name], config_dirs)[name]
    stated = config.get("card") or {}
    told = {"how": stated.get("kind", ""), "training set": stated.get("training_set", "")}
    if missing := missing_of_generator(config):
        return {**told, "state": "not yet", _NOTE: "; ".join(map(str, missing))}
    if not stated:  # one that states its card is too large to be built for a list
        card = build_generator(resolved(config)).card
        told = {"how": card.kind, "training set": card.training_set}
    return {**told, "state": "ready"}


def _service_columns(name: str, group: str, config_dirs: Sequence[str]) -> dict[str, str]:
    """What a service offers; the connection has no keys and opens nothing."""
    from cloakbench.bench.services.building import build_service
    from cloakbench.models.service_keys import ServiceKeys
    from cloakbench.models.services import OPERATIONS, Connection

    config = _composed(group, [name], config_dirs)[name]
    missing = missing_settings(config)
    if missing == ["line.base_url"]:  # of one's own resource: what it offers does not depend on where it is
        config.line.base_url = "https://unset.invalid"
    elif missing:
        return {"service": "", "offers": "", "host": "", _NOTE: f"set {', '.join(missing)}"}
    service = build_service(resolved(config), name, Connection(ServiceKeys("")))
    service.close()
    offered = [operation for operation in OPERATIONS if operation in service.card.operations]
    told = {"service": service.card.title, "offers": ", ".join(offered)}
    return told | ({"host": "", _NOTE: f"set {missing[0]}"} if missing else {"host": service.card.host})


def _plain_columns(name: str, group: str, config_dirs: Sequence[str]) -> dict[str, str]:
    """The first line of the config, which says what it is."""
    for source in (project(), *sources(config_dirs)):
        if name in source.names(group):
            lines = source.text(group, name).splitlines()
            comments = [line.lstrip("# ") for line in lines if line.startswith("#") and "@package" not in line]
            return {"what": comments[0] if comments else ""}
    return {"what": ""}


_DESCRIBED: dict[str, Describe] = {
    "model": _model_columns,
    "method": _method_columns,
    "attribute_model": _attribute_model_columns,
    "generator": _generator_columns,
    "service": _service_columns,
}
