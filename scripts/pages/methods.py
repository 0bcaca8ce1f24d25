"""A page for each protection method: what its class says of it, what it costs, where paper and code disagree."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from omegaconf import DictConfig

from cloakbench.bench.config.compose import missing_settings, resolved
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.escape import markdown
from cloakbench.bench.plan.plan import make_protector
from cloakbench.bench.report.archive import load_results
from cloakbench.bench.report.reported.register import Disagreement, load_register
from cloakbench.methods.base import Protector
from pages import configs
from pages.page import ROOT, Page, code, facts, first_comment, index_table, joined, markdown_lines

REFERENCE = ROOT / "results" / "reference" / "bench"


def method_pages() -> list[Page]:
    """A page for each method, and their list."""
    settings = configs.composed("method")
    costs = load_results(REFERENCE).costs
    built = {name: _built(settings[name], name) for name in configs.names("method")}
    pages = [_page(name, settings[name], protector, costs) for name, protector in built.items()]
    rows = [_row(name, settings[name], protector) for name, protector in built.items()]
    head = ["Method", "Name", "Scope", "Goal", "Budget", "Paper"]
    told = "`cloakbench method=NAME` runs one instead of a preset's list, `cloakbench check method=NAME` holds one "
    told += "against the contract. [How to add one](../adding.md)."
    return [Page("methods/index.md", "Methods", joined("# Methods", told, index_table(head, rows))), *pages]


def _built(config: DictConfig, name: str) -> Protector | str:
    """The method with its settings, or why it cannot be built."""
    if missing := missing_settings(config):
        return f"A template: set {', '.join(missing)}."
    try:
        return make_protector(resolved(config), name)
    except (ConfigError, ValueError) as problem:
        return f"Cannot be built as it is: {problem}"


def _budget(protector: Protector) -> str:
    budget = protector.budget
    return f"{budget.norm}, {budget.size_255:g}/255" if budget else "none"


def _row(name: str, config: DictConfig, built: Protector | str) -> list[str]:
    link = f"[{markdown(config.title)}]({name}.md)"
    if isinstance(built, str):
        return [link, f"`{name}`", "", "", "", markdown(built)]
    return [link, f"`{name}`", built.scope, built.goal, _budget(built), markdown(built.paper)]


def _page(name: str, config: DictConfig, built: Protector | str, costs: pd.DataFrame) -> Page:
    settings = configs.text("method", name)
    parts = [f"# {markdown(config.title)}", markdown(first_comment(settings))]
    if isinstance(built, str):
        parts.append(markdown(built))
    else:
        parts += [_facts(name, built), _prose(inspect.getdoc(type(built)) or "")]
    parts += [
        "## Settings",
        code(settings, "yaml"),
        code(f"cloakbench method={name}\ncloakbench check method={name}", "sh"),
    ]
    parts += _disagreements(name)
    parts += ["## Cost", _cost(costs[costs["method"] == name])]
    return Page(f"methods/{name}.md", str(config.title), joined(*parts))


def _prose(docstring: str) -> str:
    """What a class says of itself, without the list of its arguments, which the settings below explain."""
    return markdown_lines(docstring.partition("\nArgs:")[0])


def _facts(name: str, built: Protector) -> str:
    values: Mapping[str, Any] = {
        "Name": name,
        "Paper": built.paper,
        "Scope": built.scope,
        "Goal": built.goal,
        "Needs": ", ".join(sorted(built.needs)) or "nothing",
        "Budget": _budget(built),
        "Official settings": built.official_settings,
        "Deviations": built.deviations,
        "Class": f"{type(built).__module__}.{type(built).__qualname__}",
        "Licence": "MIT (this implementation; what the method learns from has terms of its own)",
    }
    return facts(values)


@functools.cache
def _register() -> Sequence[Disagreement]:
    return tuple(load_register())


def _disagreements(name: str) -> list[str]:
    """Entries of the register that name this method's file."""
    own = [entry for entry in _register() if any(option.file == f"method/{name}" for option in entry.options)]
    if not own:
        return []
    lines = [f"- **{entry.name}.** Paper: {markdown(entry.paper)} Here: {markdown(entry.here)}" for entry in own]
    return ["## Paper and code", "\n".join(lines), "All of them: [Paper and code](../paper-vs-code.md)."]


def _cost(own: pd.DataFrame) -> str:
    """What the kept reference run measured, a row for each cell."""
    if own.empty:
        return (
            "Not in the kept reference run; `cloakbench doctor` estimates presets, and every report has a cost table."
        )
    rows = [
        [
            f"{line['epsilon_255']:g}" if pd.notna(line["epsilon_255"]) else "–",
            str(line["surrogate"] or "–"),
            str(line["publication"] or "probes"),
            f"{line['images']:.0f}",
            f"{line['forward_per_image']:.1f}",
            f"{line['backward_per_image']:.1f}",
            f"{line['seconds_per_image']:.4f}",
        ]
        for line in own.to_dict("records")
    ]
    head = ["Budget, grey levels", "Surrogate", "Photos of", "Photos", "Forward passes", "Backward passes", "Seconds"]
    told = "Per photo, in the [kept reference run](../results/reference/bench/report.md) on its machine; passes do not "
    return joined(told + "depend on the machine, seconds do.", index_table(head, rows)).strip()
