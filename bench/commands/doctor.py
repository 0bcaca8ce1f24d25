"""``cloakbench doctor``: the machine, and what can run on it."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any

from omegaconf import OmegaConf
from rich.table import Table

from cloakbench.bench.commands.console import wide_console
from cloakbench.bench.composition import compose_config, group_options, missing_settings, split_config_dirs


def main(words: Sequence[str]) -> int:
    """``cloakbench doctor``: the machine, and for each experiment whether it can run now."""
    import torch

    from cloakbench.bench.environment import describe
    from cloakbench.bench.pool import available_cores

    config_dirs, rest = split_config_dirs(words)
    if rest:
        raise ValueError("doctor takes no settings besides --config-dir")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    facts = describe(device)
    console = wide_console()
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
