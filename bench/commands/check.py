"""``cloakbench check``: hold a method against its contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omegaconf import OmegaConf
from rich.table import Table

from cloakbench.bench.commands.console import wide_console
from cloakbench.bench.composition import compose_config, split_config_dirs


def main(words: Sequence[str]) -> int:
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
    wide_console().print(table)
    return 0 if all(result.passed for result in results) else 1
