"""The verbs of the command line that are not experiments: report, list, check, doctor."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from cloakbench.bench.composition import compose_config, group_options, missing_settings, split_config_dirs

_GROUPS = {
    "methods": "method",
    "models": "model",
    "datasets": "dataset",
    "experiments": "experiment",
    "transforms": "transform",
    "protocols": "protocol",
}
_NOTE = "note"
"""Column that is printed below the table instead of in it."""


def report_verb(words: Sequence[str]) -> int:
    """``cloakbench report RUN [RUN ...]``: write the report of a run again, or one report over several runs."""
    from cloakbench.bench.archive import load_results, mark_current
    from cloakbench.bench.report.sweep import combine
    from cloakbench.bench.report.terminal import summary
    from cloakbench.bench.report.writer import write_report

    folders = [_run_folder(word) for word in words]
    if not folders:
        raise ValueError("name a run: cloakbench report RUN; finished runs are in results/runs")
    loaded = [load_results(folder) for folder in folders]
    results = loaded[0] if len(loaded) == 1 else combine(loaded)
    target = (
        folders[0] if len(folders) == 1 else folders[0].parent / ("+".join(folder.name for folder in folders))[:120]
    )
    write_report(results, target)
    if len(folders) == 1:
        mark_current(results, target)
    console = Console()
    console.print(summary(results))
    console.print(f"Report written: {target / 'report.md'}", soft_wrap=True, highlight=False)
    return 0


def _run_folder(word: str) -> Path:
    """A run given as a folder, as its name in the runs folder, or as the start of that name."""
    if Path(word).is_dir():
        return Path(word)
    runs = Path(compose_config([]).paths.runs)
    matches = sorted(runs.glob(f"{word}*"), key=lambda path: path.stat().st_mtime) if runs.is_dir() else []
    if not matches:
        known = ", ".join(sorted(path.name for path in runs.iterdir())) if runs.is_dir() else "none yet"
        raise ValueError(f"there is no run {word!r} in {runs} (there are: {known})")
    return matches[-1]


def list_verb(words: Sequence[str]) -> int:
    """``cloakbench list GROUP``: what can be named on the command line."""
    config_dirs, rest = split_config_dirs(words)
    if len(rest) != 1 or rest[0] not in _GROUPS:
        raise ValueError(f"say what to list: cloakbench list {'|'.join(_GROUPS)}")
    group = _GROUPS[rest[0]]
    table = Table(box=None, pad_edge=False)
    describe = {"method": _method_columns, "model": _model_columns}.get(group, _plain_columns)
    notes = []
    for number, name in enumerate(group_options(group, config_dirs)):
        columns = describe(name, group, config_dirs)
        if note := columns.pop(_NOTE, ""):
            notes.append(f"{name}: {note}")
        if not number:
            table.add_column(group, style="bold", no_wrap=True)
            for title in columns:
                wide = title in ("paper", "what")
                table.add_column(title, overflow="fold", no_wrap=not wide)
        table.add_row(name, *columns.values())
    console = _console()
    console.print(table)
    for note in notes:
        console.print(note, style="dim", highlight=False)
    return 0


def _console() -> Console:
    """As wide as the terminal, and wide enough for a table where there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


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


def _model_columns(name: str, group: str, config_dirs: Sequence[str]) -> dict[str, str]:
    from cloakbench.bench.recognisers import build_recogniser

    empty = {"family": "", "head": "", "size": "", "clean Top-1": ""}
    config = compose_config([f"model@surrogate={name}"], config_dirs=config_dirs).surrogate
    if missing := missing_settings(config):
        return {**empty, "state": "a template", _NOTE: f"set {', '.join(missing)}"}
    plain: Any = OmegaConf.to_container(config, resolve=True)
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


def _plain_columns(name: str, group: str, config_dirs: Sequence[str]) -> dict[str, str]:
    import cloakbench.conf

    for folder in (*config_dirs, *cloakbench.conf.__path__):
        path = Path(folder) / group / f"{name}.yaml"
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            comments = [line.lstrip("# ") for line in lines if line.startswith("#") and "@package" not in line]
            return {"what": comments[0] if comments else ""}
    return {"what": ""}


def check_verb(words: Sequence[str]) -> int:
    """``cloakbench check method=NAME``: hold a method against the contract, on a tiny network, in seconds."""
    from cloakbench.bench.plan import ConfigError, make_protector
    from cloakbench.methods.conformance import check_config

    config_dirs, overrides = split_config_dirs(words)
    config = compose_config(overrides, config_dirs=config_dirs)
    if config.method is None:
        raise ConfigError("say what to check: cloakbench check method=NAME")
    plain: Any = OmegaConf.to_container(config.method, resolve=True)
    make_protector(plain, config.method_key)  # a bad setting is one line, not a failed check
    results = check_config(plain)
    table = Table(title=f"Conformance of {config.method_key}", box=None, title_justify="left", pad_edge=False)
    for title in ("check", "result", "detail"):
        table.add_column(title)
    for result in results:
        verdict = "[dim]skipped[/]" if result.skipped else "[green]passed[/]" if result.passed else "[red]failed[/]"
        table.add_row(result.name, verdict, result.detail)
    _console().print(table)
    return 0 if all(result.passed for result in results) else 1


def doctor_verb(words: Sequence[str]) -> int:
    """``cloakbench doctor``: the machine, and for each experiment whether it can run now."""
    import torch

    from cloakbench.bench.environment import describe
    from cloakbench.bench.pool import available_cores

    config_dirs, rest = split_config_dirs(words)
    if rest:
        raise ValueError("doctor takes no settings besides --config-dir")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    facts = describe(device)
    console = _console()
    console.print(f"Python {platform.python_version()}, torch {torch.__version__}, {available_cores()} cores")
    console.print(f"device: {facts['accelerator'] or 'cpu only'}")
    table = Table(box=None, pad_edge=False)
    for title in ("experiment", "state", "what is missing, and how to get it"):
        table.add_column(title)
    for name in group_options("experiment", config_dirs):
        problems = _experiment_problems(name, config_dirs)
        table.add_row(name, "[green]ready[/]" if not problems else "[yellow]not yet[/]", "\n".join(problems))
    console.print(table)
    return 0


def _experiment_problems(name: str, config_dirs: Sequence[str]) -> list[str]:
    """What keeps an experiment from running, a line each; nothing is rendered, detected or trained to find out."""
    from hydra.utils import instantiate

    from cloakbench.bench.plan import ConfigError
    from cloakbench.bench.recognisers import build_recogniser

    try:
        config = compose_config([f"experiment={name}"], config_dirs=config_dirs)
    except ConfigError as problem:
        return [str(problem)]
    problems = [f"set {key}=..." for key in missing_settings(config)]
    for key, model in {**config.surrogates, **config.targets}.items():
        plain: Any = OmegaConf.to_container(model, resolve=True)
        try:
            build_recogniser(plain, key)
        except ValueError as problem:
            problems.append(str(problem))
    if missing_settings(config.dataset):
        return problems
    try:
        instantiate(config.dataset)
    except Exception as problem:
        problems.append(f"dataset: {str(problem.__cause__ or problem).splitlines()[0]}")
    return problems
