"""Tables of facts that every run has: models, passes, cost, failures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from cloakbench.bench.core.status import OK, SKIPPED, UNAVAILABLE
from cloakbench.bench.report.estimate import count_text, records, text
from cloakbench.bench.report.index import Measured, Run
from cloakbench.bench.report.labels import UNTRANSFORMED
from cloakbench.bench.report.norms import Norms
from cloakbench.bench.report.results import Results
from cloakbench.bench.report.table import BUDGET, Number, Row, Table, columns


def models_table(results: Results) -> Table | None:
    """What each recogniser is and how well it recognises clean photos; None without any."""
    lines = [line for line in records(results.models) if not _is_attribute_network(line)]
    if not lines:
        return None
    rows = []
    for line in lines:
        top1 = line["clean_top1"]
        rows.append(
            Row(
                line["name"],
                (
                    str(line["roles"]),
                    str(line["family"]),
                    str(line["backbone"]),
                    str(line["head"]),
                    text(line["stands_for"]),
                    "yes" if line["robust"] else "",
                    Number() if top1 is None or pd.isna(top1) else Number(100 * float(top1)),
                ),
            )
        )
    return Table(
        name="models",
        title="Recognisers",
        caption="Clean Top-1 in per cent, from the model's card: identities that chose nothing.",
        stub="Model",
        columns=columns(
            roles="Roles",
            family="Family",
            backbone="Backbone",
            head="Head",
            stands_for="Stands for",
            robust="Hardened",
            clean_top1_percent="Clean Top-1",
        ),
        rows=tuple(rows),
    )


def attribute_networks_table(results: Results) -> Table | None:
    """What each attribute network is; None without any."""
    facts = columns(
        roles="Roles", family="Family", backbone="Backbone", stands_for="Stands for", training_set="Trained on"
    )
    rows = [
        Row(line["name"], tuple(text(line[fact.key]) for fact in facts))
        for line in records(results.models)
        if _is_attribute_network(line)
    ]
    if not rows:
        return None
    return Table(
        name="attribute_networks",
        title="Attribute networks",
        caption="What they are, from their cards; how often they are wrong about clean photos, the tables of attribute "
        "privacy say.",
        stub="Network",
        columns=facts,
        rows=tuple(rows),
    )


def _is_attribute_network(line: Mapping[str, Any]) -> bool:
    return text(line["roles"]).startswith("attribute ")


def passes_table(measured: Measured) -> Table | None:
    """Network passes per photo: the part of the cost that is equal on every machine."""
    return _cost_table(
        measured,
        "passes",
        "Network passes",
        "Images through networks per protected photo, be it the surrogate or a generator that was trained; learning a "
        "mask is spread over the photos it protects. What is trained once for everybody counts the surrogate's.",
        {
            "forward_per_image": ("Forward", 1),
            "backward_per_image": ("Backward", 1),
            "training_passes": ("Training, once", 0),
            "view_passes": ("Views, once", 0),
        },
    )


def cost_table(measured: Measured) -> Table | None:
    """Passes, seconds and memory. Times differ between equal runs, so this table is not part of the report's text."""
    return _cost_table(
        measured,
        "cost",
        "Cost",
        "Per protected photo, on the machine of this run. Peak memory: what protecting the first photos of a cell "
        "added to the process, or what it took of the GPU; a gap where the machine cannot tell. "
        "Recovered: the first photos of a cell with their keys, both at hand.",
        {
            "forward_per_image": ("Forward passes", 1),
            "backward_per_image": ("Backward passes", 1),
            "seconds_per_image": ("Seconds", 4),
            "region_seconds_per_image": ("Region (s)", 4),
            "perturbation_seconds_per_image": ("Perturbation (s)", 4),
            "fit_seconds_per_person": ("Once per person (s)", 3),
            "apply_seconds_per_image": ("Then applied (s)", 5),
            "recovery_seconds_per_image": ("Recovered (s)", 5),
            "training_seconds": ("Training (s)", 1),
            "view_seconds": ("Views (s)", 1),
            "peak_memory_mib": ("Peak memory (MiB)", 0),
        },
    )


_ONCE = (
    *("fit_seconds_per_person", "apply_seconds_per_image", "recovery_seconds_per_image"),
    *("training_seconds", "training_passes", "view_seconds", "view_passes"),
    *("region_seconds_per_image", "perturbation_seconds_per_image"),
)
"""Columns that are left out where no method learns of people, gives photos back, is trained, asks for views, or times
parts of its work."""


def _cost_table(
    measured: Measured, name: str, title: str, caption: str, numbers: dict[str, tuple[str, int]]
) -> Table | None:
    costs = measured.results.costs
    if costs.empty:
        return None
    norms = Norms(measured)
    numbers = {key: value for key, value in numbers.items() if key not in _ONCE or _is_there(costs, key)}
    compared = "recovery_seconds_per_image" in numbers
    rows = []
    refused: dict[str, None] = {}
    for line in records(costs):
        if line["status"] == OK and text(line.get("note")):
            refused[f"{measured.title(Run.of(line).method)}: {line['note']}."] = None
        surrogate = text(line["surrogate"])
        failed = line["status"] != OK
        rows.append(
            Row(
                measured.title(Run.of(line).method),
                (
                    norms.ball(Run.of(line)),
                    surrogate,
                    ", ".join(part for part in (str(line["scope"]), text(line.get("publication"))) if part),
                    count_text(line["images"]),
                    *(Number() if failed else Number(float(line[key]), digits=d) for key, (_, d) in numbers.items()),
                    *([_cheaper_from(measured, line)] if compared else []),
                ),
            )
        )
    return Table(
        name=name,
        title=title,
        caption=caption,
        stub="Method",
        columns=(
            BUDGET,
            *columns(surrogate="Surrogate", scope="Scope", images="Photos"),
            *columns(**{key: label for key, (label, _) in numbers.items()}),
            *(columns(cheaper_from_photos="Cheaper from (photos of a person)") if compared else ()),
        ),
        rows=tuple(rows),
        footnotes=tuple(refused),
    )


def _cheaper_from(measured: Measured, line: Mapping[str, Any]) -> str:
    """From how many photos of a person on a key that is made once takes less time than each method that works photo by
    photo, on the same surrogate; nothing for rows without such a key."""
    once = float(line["fit_seconds_per_person"])
    if not (once > 0 and float(line["recovery_seconds_per_image"]) > 0):
        return ""
    told = []
    for other in records(measured.results.costs):
        same = (other["surrogate"], other["publication"]) == (line["surrogate"], line["publication"])
        if same and other["scope"] == "image" and other["status"] == OK:
            saved = float(other["seconds_per_image"]) - float(line["apply_seconds_per_image"])
            told.append(f"{measured.name(Run.of(other))}: {math.ceil(once / saved) if saved > 0 else 'never'}")
    return "; ".join(told)


def _is_there(costs: pd.DataFrame, key: str) -> bool:
    """Whether some row has a number above zero in a column, which older runs may lack."""
    return key in costs and bool((costs[key] > 0).any())


def gaps_table(measured: Measured) -> Table | None:
    """Metrics that were never to be had, one line for all methods: nothing failed, and each has its reason."""
    reasons: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for line in records(measured.results.measurements):
        if _is_gap(line):
            reasons.setdefault((line["protocol"], text(line["note"])), []).append(line)
    if not reasons:
        return None
    return Table(
        name="gaps",
        title="Not available",
        caption="Quantities that are not defined here, that lack a file nobody has to have, or that nobody asked for.",
        stub="Protocol",
        columns=columns(metrics="Metrics", methods="Methods", cells="Cells", note="Why"),
        rows=tuple(
            Row(
                protocol,
                (
                    _few({line["metric"] for line in lines}, "metrics"),
                    _few({measured.title(line["method"]) for line in lines}, "methods"),
                    str(len(lines)),
                    why,
                ),
            )
            for (protocol, why), lines in sorted(reasons.items())
        ),
    )


def _few(names: set[str], what: str) -> str:
    return ", ".join(sorted(names)) if len(names) <= 3 else f"{len(names)} {what}"


def failures_table(measured: Measured) -> Table | None:
    """Every cell that failed or from which photos are missing, cells with one cause on one line."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for line in records(measured.results.measurements):
        if status := _failure(line):
            run = Run.of(line)
            where = (run.budget.text, text(line["surrogate"]), text(line["judge"]))
            key = (status, measured.title(run.method), *where, text(line["note"]), count_text(line["n_failed"]))
            groups.setdefault((line["protocol"], *key), []).append(line)
    rows = []
    for (protocol, status, method, budget, surrogate, target, note, n_failed), lines in sorted(groups.items()):
        metrics = sorted({line["metric"] for line in lines})
        transforms = sorted({line["condition"] for line in lines})
        what = ", ".join(metrics) if len(metrics) <= 2 else f"{protocol}: {len(metrics)} metrics"
        cells = (budget, surrogate, target, what, ", ".join(transforms), str(len(lines)), status, n_failed, note)
        rows.append(Row(method, cells))
    for (run, surrogate, target), metrics in measured.absent().items():
        what = ", ".join(metrics) if len(metrics) <= 2 else f"{len(metrics)} metrics"
        count = str(len(metrics))
        cells = (run.budget.text, surrogate, target, what, UNTRANSFORMED, count, "not measured", "", "")
        rows.append(Row(measured.title(run.method), cells))
    for line in records(measured.results.costs):
        if line["status"] != OK:
            run = Run.of(line)
            where = (run.budget.text, text(line["surrogate"]), "", "cost", "", "1")
            why = (line["status"], "", text(line.get("note")))
            rows.append(Row(measured.title(run.method), where + why))
    if not rows:
        return None
    return Table(
        name="failures",
        title="Failures",
        caption="Cells without a value, and cells from which planned photos are missing.",
        stub="Method",
        columns=(
            BUDGET,
            *columns(surrogate="Surrogate", target="Target", what="What", transforms="Transforms", cells="Cells"),
            *columns(status="Status", n_failed="Photos failed", note="Why"),
        ),
        rows=tuple(rows),
    )


def _is_gap(line: dict[str, Any]) -> bool:
    """Whether a measurement has no value and nothing failed: PSNR of equal photos, LPIPS without its weights."""
    return line["status"] in (UNAVAILABLE, SKIPPED) and not line["n_failed"] > 0


def _failure(line: dict[str, Any]) -> str:
    """Why a measurement belongs among the failures; empty when it does not."""
    if line["status"] != OK:
        return "" if _is_gap(line) else str(line["status"])
    if pd.isna(line["value"]):
        return "no value"
    return "some photos failed" if line["n_failed"] > 0 else ""
