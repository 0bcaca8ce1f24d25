"""The section on groups: two tables and a figure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from cloakbench.bench.core.status import OK
from cloakbench.bench.report.drawing.dot_plot import DotPanel, DotRow, dot_plot
from cloakbench.bench.report.drawing.plotting import Drawing, Skipped, styled
from cloakbench.bench.report.estimate import Estimate, records
from cloakbench.bench.report.index import Measured, Run, is_control
from cloakbench.bench.report.labels import CLEAN
from cloakbench.bench.report.metric import Metric
from cloakbench.bench.report.section import FigureSpec, Section
from cloakbench.bench.report.table import BUDGET, Column, Number, Row, Table
from cloakbench.bench.statistics.group_gap import FEWEST_PEOPLE

TITLE = "Who is protected"
_HARDNESS = (
    "Light is the mean brightness of the clean photo, sharpness the variance of its Laplacian, pose how far the nose "
    "lies beside the middle of the eyes, and size the distance of the eyes in the crop, each in thirds of the photos."
)
_TOO_FEW = f"Groups of fewer than {FEWEST_PEOPLE} people have no number, and no part in the largest gap."
_DRAWN = ("complexion", "gender", "age", "glasses", "light", "sharpness", "pose", "size")


def groups_section(measured: Measured) -> Section:
    """Numbers by groups; nothing where a run tells none apart."""
    if measured.results.groups.empty:
        return Section(TITLE)
    figures = tuple(
        FigureSpec(
            f"groups_{metric.name}",
            partial(groups_figure, measured, metric),
            f"{metric.title} by groups of people and of photos, with 95 % intervals over people; clean photos beside.",
        )
        for metric in _metrics(measured)
    )
    return Section(TITLE, (groups_table(measured), *_known(gaps_table(measured))), figures)


def groups_table(measured: Measured) -> Table:
    """A row for each method and group, a column for each metric."""
    metrics = _metrics(measured)
    found = _numbers(measured)
    rows = []
    for run in measured.ordered(run for run, *_ in found):
        groups = {(label, group): None for other, label, group, _ in found if other == run}
        for label, group in groups:
            lines = [found.get((run, label, group, metric.name)) for metric in metrics]
            known = [line for line in lines if line is not None]
            counts = [str(max(int(line[name]) for line in known)) for name in ("n_identities", "n_photos")]
            numbers = [
                Number.of(_estimate(line), metric.scale, metric.decimals)
                for line, metric in zip(lines, metrics, strict=True)
            ]
            rows.append(Row(f"{label}: {group}", (run.budget.text, *counts, *numbers), measured.title(run.method)))
    return Table(
        name="groups",
        title="By groups of people and of photos",
        caption="Black-box means over judges and surrogates, photos as published. Rates in per cent, in brackets the "
        "95 % interval over people.",
        stub="Group",
        columns=(BUDGET, Column("people", "People"), Column("n", "n"), *(_column(metric) for metric in metrics)),
        rows=tuple(rows),
        footnotes=(_HARDNESS, _TOO_FEW),
        section_key="method",
    )


def gaps_table(measured: Measured) -> Table | None:
    """The largest gap between groups of every label, with its permutation test."""
    frame = measured.results.gaps
    if frame.empty:
        return None
    metrics = {metric.name: metric for metric in _metrics(measured)}
    rows = []
    lines = [line for line in records(frame) if line["metric"] in metrics]
    for run in measured.ordered(Run.of(line) for line in lines):
        for line in (line for line in lines if Run.of(line) == run):
            metric = metrics[str(line["metric"])]
            cells = (
                run.budget.text,
                metric.title,
                Number(metric.scale * float(line["value"]), digits=metric.decimals),
                str(line["highest"]),
                str(line["lowest"]),
                f"{float(line['p']):.3f}",
                f"{float(line['p_holm']):.3f}",
            )
            rows.append(Row(str(line["label"]), cells, measured.title(run.method)))
    return Table(
        name="group_gaps",
        title="Largest gap between groups",
        caption="Rates in points of per cent. p: share of shuffles of the labels that make a gap as large, among "
        "people for what all photos of a person share and within people for all else; after Holm over the labels of one"
        " method and metric.",
        stub="Label",
        columns=(
            BUDGET,
            Column("metric", "Metric"),
            Column("gap", "Gap"),
            Column("highest", "Highest"),
            Column("lowest", "Lowest"),
            Column("p", "p"),
            Column("p_holm", "p (Holm)"),
        ),
        rows=tuple(rows),
        footnotes=(_TOO_FEW,),
        section_key="method",
    )


@styled
def groups_figure(measured: Measured, metric: Metric) -> Drawing:
    """A row for each group, a panel for each method at its largest budget."""
    found = {key: line for key, line in _numbers(measured).items() if key[3] == metric.name}
    runs = measured.ordered(run for run, *_ in found)
    largest = {run.method: run for run in runs}  # runs ascend by budget
    shown = [run for run in largest.values() if not is_control(run) or run.method == CLEAN]
    groups = list(dict.fromkeys((label, group) for run, label, group, _ in found if run in shown))
    groups.sort(key=lambda one: _DRAWN.index(one[0]) if one[0] in _DRAWN else len(_DRAWN))
    if not any(_estimate(found.get((run, *group, metric.name))).ok for run in shown for group in groups):
        return Skipped(f"no group of at least {FEWEST_PEOPLE} people has a {metric.title}")
    rows = []
    for label, group in groups:
        line = next(line for (_, *key, _), line in found.items() if key == [label, group])
        rows.append(DotRow(f"{label}: {group}", str(int(line["n_photos"])), is_control=False))
    panels = [
        DotPanel(
            f"{metric.title}, %" if metric.kind == "rate" else metric.title,
            ("",),
            [[_estimate(found.get((run, *group, metric.name)))] for group in groups],
            metric.scale,
            title=measured.name(run),
        )
        for run in shown
    ]
    return dot_plot(rows, panels)


_Key = tuple[Run, str, str, str]
"""Run, label, group, metric."""


def _numbers(measured: Measured) -> dict[_Key, dict[str, Any]]:
    return {
        (Run.of(line), str(line["label"]), str(line["group"]), str(line["metric"])): line
        for line in records(measured.results.groups)
    }


def _metrics(measured: Measured) -> list[Metric]:
    """Those that are told apart, in the order of the run."""
    results = measured.results
    named = dict.fromkeys(zip(results.groups["protocol"], results.groups["metric"], strict=True))
    return [metric for protocol, name in named for metric in results.declared(str(protocol)) if metric.name == name]


def _column(metric: Metric) -> Column:
    return Column(metric.name + "_percent" * (metric.kind == "rate"), metric.heading, interval="always")


def _estimate(line: Mapping[str, Any] | None) -> Estimate:
    if line is None or pd.isna(line["value"]):
        return Estimate()
    value, low, high = (float(line[name]) for name in ("value", "low", "high"))
    return Estimate(value, low, high, n=int(line["n_photos"]), status=OK)


def _known(table: Table | None) -> tuple[Table, ...]:
    return (table,) if table else ()
