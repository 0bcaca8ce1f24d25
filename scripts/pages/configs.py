"""The project's configs: text, composed settings, and a page for each group that has no pages of its own."""

from __future__ import annotations

from omegaconf import DictConfig

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.config.plug_ins import project
from cloakbench.bench.core.escape import markdown
from pages.page import Page, code, first_comment, joined

WITH_PAGES = ("method", "model", "dataset", "experiment")
"""Groups in which every config has a page."""


def names(group: str) -> list[str]:
    """The project's own configs of a group; those with an underscore before their name are parts of others."""
    return sorted(name for name in project().names(group) if not name.startswith("_"))


def text(group: str, name: str) -> str:
    """A config as it is written."""
    return project().text(group, name)


def composed(group: str) -> DictConfig:
    """All configs of a group by name, composed together: one at a time they would take half a minute."""
    return compose_config([f"+{group}@found.{name}={name}" for name in names(group)]).found


def group_pages() -> list[Page]:
    """A page for each group without pages of its own: every config with its comment and its settings."""
    return [_group_page(group) for group in sorted(project().groups()) if group not in WITH_PAGES]


def _group_page(group: str) -> Page:
    title = group.replace("_", " ")
    body = [f"# Group `{group}`", f"The {title} configs: `conf/{group}/NAME.yaml`, listed by `cloakbench list`."]
    for name in names(group):
        settings = text(group, name)
        body += [f"## {name}", markdown(first_comment(settings)), code(settings, "yaml")]
    return Page(f"groups/{group}.md", title, joined(*body))
