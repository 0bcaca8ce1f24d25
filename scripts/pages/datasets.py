"""A page for each data set: what it is, how to get it, under which licence, and its settings."""

from __future__ import annotations

from typing import Any

from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from cloakbench.bench.core.escape import markdown
from cloakbench.datasets.listing import Layout
from pages import configs
from pages.page import Page, code, facts, first_comment, index_table, joined


def dataset_pages() -> list[Page]:
    """A page for each data set, and their list."""
    settings = configs.composed("dataset")
    layouts = {name: _layout(settings[name]) for name in configs.names("dataset")}
    rows = [
        [f"[`{name}`]({name}.md)", markdown(first_comment(configs.text("dataset", name))), _licence(layout)]
        for name, layout in layouts.items()
    ]
    about = "`dataset=NAME` in any experiment; `cloakbench fetch dataset=NAME` fetches what everybody may have."
    table = index_table(["Name", "What", "Licence"], rows)
    pages = [_page(name, layout) for name, layout in layouts.items()]
    return [Page("datasets/index.md", "Data sets", joined("# Data sets", about, table)), *pages]


def _layout(config: DictConfig) -> type[Layout] | None:
    """The class that reads the files of a data set; None where faces are rendered."""
    target = OmegaConf.select(config, "layout._target_")
    return None if target is None else get_class(target)


def _licence(layout: type[Layout] | None) -> str:
    return "MIT (rendered faces)" if layout is None else markdown(str(layout.licence))


def _page(name: str, layout: type[Layout] | None) -> Page:
    settings = configs.text("dataset", name)
    values: dict[str, Any] = {"Name": name, "Licence": _licence(layout)}
    if layout is not None:
        values |= {
            "Page": layout.page,
            "Disk, GiB": f"{layout.disk_gib:g}" if layout.disk_gib else "",
            "Reader": layout.__name__,
        }
    parts = [f"# {name}", markdown(first_comment(settings)), facts(values), "## Settings", code(settings, "yaml")]
    parts.append(code(f"cloakbench fetch dataset={name}" if layout else f"cloakbench dataset={name}", "sh"))
    return Page(f"datasets/{name}.md", name, joined(*parts))
