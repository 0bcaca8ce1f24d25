"""A page for each preset: what it asks, of whom, against whom, and what that comes to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.escape import markdown
from pages import configs
from pages.page import Page, code, facts, first_comment, index_table, joined

LISTS = {
    "Methods": "methods",
    "Surrogates": "surrogates",
    "Targets": "targets",
    "Attribute surrogates": "attribute_surrogates",
    "Attribute targets": "attribute_targets",
    "Transforms": "transforms",
    "Protocols": "protocols",
    "Services": "services",
}


def experiment_pages() -> list[Page]:
    """A page for each preset, and their list."""
    found = {name: compose_config([f"experiment={name}"]) for name in configs.names("experiment")}
    rows = [[f"[`{name}`]({name}.md)", markdown(str(config.description))] for name, config in found.items()]
    about = "`cloakbench experiment=NAME` runs one, `runtime.dry_run=true` says how much there is to do, and "
    about += "`cloakbench doctor` what it lacks and how long it will take."
    table = index_table(["Preset", "What it asks"], rows)
    pages = [_page(name, config) for name, config in found.items()]
    return [Page("experiments/index.md", "Experiments", joined("# Experiments", about, table)), *pages]


def _page(name: str, config: DictConfig) -> Page:
    settings = configs.text("experiment", name)
    values = {
        "Name": name,
        "Faces": config.dataset.get("name", ""),
        **{title: _keys(config.get(key)) for title, key in LISTS.items()},
        "Budgets, grey levels": _budgets(config.epsilons_255),
        "Printed tables": ", ".join(config.report.printed),
    }
    parts = [f"# {name}", markdown(str(config.description)), markdown(first_comment(settings)), facts(values)]
    parts += ["## Settings", code(settings, "yaml"), code(f"cloakbench experiment={name}", "sh")]
    return Page(f"experiments/{name}.md", name, joined(*parts))


def _keys(block: Mapping[str, Any] | None) -> str:
    return ", ".join(str(key) for key, value in (block or {}).items() if value is not None)


def _budgets(value: Any) -> str:
    plain = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
    return ", ".join(f"{one:g}" for one in plain) if isinstance(plain, Iterable) else ""
