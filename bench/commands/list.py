"""``cloakbench list``: what can be named on the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.table import Table

from cloakbench.bench.commands.console import wide_console
from cloakbench.bench.composition import compose_config, group_options, missing_settings, split_config_dirs
from cloakbench.datasets.redaction import without_secrets

_GROUPS = {
    "methods": "method",
    "models": "model",
    "attribute_models": "attribute_model",
    "datasets": "dataset",
    "experiments": "experiment",
    "transforms": "transform",
    "attackers": "attacker",
    "regimes": "regime",
    "protocols": "protocol",
}
_NOTE = "note"
"""Column that is printed below the table instead of in it."""


def main(words: Sequence[str]) -> int:
    """``cloakbench list GROUP``: what can be named on the command line."""
    config_dirs, rest = split_config_dirs(words)
    if len(rest) != 1 or rest[0] not in _GROUPS:
        raise ValueError(f"say what to list: cloakbench list {'|'.join(_GROUPS)}")
    group = _GROUPS[rest[0]]
    table = Table(box=None, pad_edge=False)
    names = group_options(group, config_dirs)
    describe = _DESCRIBED.get(group, _plain_columns)
    if group == "model":  # composed together: one at a time they would take half a minute
        configs = compose_config([f"+model@found.{name}={name}" for name in names], config_dirs=config_dirs).found
        describe = partial(_model_columns, configs)
    notes = []
    for number, name in enumerate(names):
        columns = describe(name, group, config_dirs)
        if note := columns.pop(_NOTE, ""):
            notes.append(f"{name}: {note}")
        if not number:
            table.add_column(group, style="bold", no_wrap=True)
            for title in columns:
                wide = title in ("paper", "what")
                table.add_column(title, overflow="fold", no_wrap=not wide)
        table.add_row(name, *columns.values())
    console = wide_console()
    console.print(table)
    for note in notes:
        console.print(note, style="dim", highlight=False)
    return 0


def _method_columns(name: str, group: str, config_dirs: Sequence[str]) -> dict[str, str]:
    from cloakbench.bench.plan import ConfigError, make_protector

    method = compose_config([f"method={name}"], config_dirs=config_dirs).method
    empty = {"scope": "", "needs": "", "budget": ""}
    if missing := missing_settings(method):
        return {**empty, "paper": "a template", _NOTE: f"set {', '.join(missing)}"}
    config: Any = OmegaConf.to_container(method)
    try:
        protector = make_protector(config, name)
    except ConfigError as problem:
        return {**empty, "paper": "cannot be built", _NOTE: str(problem)}
    budget = protector.budget
    return {
        "scope": protector.scope,
        "needs": ", ".join(sorted(protector.needs)) or "-",
        "budget": f"{budget.norm} {budget.size_255:g}/255" if budget else "-",
        "paper": _short_citation(protector.paper),
    }


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
    from cloakbench.bench.recognisers import build_recogniser

    empty = {"family": "", "head": "", "size": "", "clean Top-1": ""}
    config = configs[name]
    if missing := missing_settings(config):
        return {**empty, "state": "a template", _NOTE: f"set {', '.join(missing)}"}
    plain: Any = OmegaConf.to_container(config, resolve=True)
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


def _attribute_model_columns(name: str, group: str, config_dirs: Sequence[str]) -> dict[str, str]:
    from cloakbench.bench.recognisers import build_attribute_model

    empty = {"answers": "", "view": "", "training set": ""}
    config = compose_config([f"+attribute_model@attribute_model={name}"], config_dirs=config_dirs).attribute_model
    if missing := missing_settings(config):
        return {**empty, "state": "a template", _NOTE: f"set {', '.join(missing)}"}
    plain: Any = OmegaConf.to_container(config, resolve=True)
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


def _plain_columns(name: str, group: str, config_dirs: Sequence[str]) -> dict[str, str]:
    import cloakbench.conf

    for folder in (*config_dirs, *cloakbench.conf.__path__):
        path = Path(folder) / group / f"{name}.yaml"
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            comments = [line.lstrip("# ") for line in lines if line.startswith("#") and "@package" not in line]
            return {"what": comments[0] if comments else ""}
    return {"what": ""}


_DESCRIBED: dict[str, Callable[[str, str, Sequence[str]], dict[str, str]]] = {
    "method": _method_columns,
    "attribute_model": _attribute_model_columns,
}
