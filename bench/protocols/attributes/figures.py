"""Figures of attribute privacy, after Figures 5, 7, 8 and 9 of Invisible-Face (Yang et al., TIFS 2025)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cloakbench.bench.protocols.attributes.index import Hiding
from cloakbench.bench.protocols.attributes.metrics import H_PN, MOSR, asr_name
from cloakbench.bench.report.drawing.dot_plot import DotPanel, DotRow, dot_plot
from cloakbench.bench.report.drawing.plotting import (
    CONTROL_COLOUR,
    TWO_COLUMNS,
    Drawing,
    Skipped,
    arms,
    dodge,
    look_of,
    styled,
)
from cloakbench.bench.report.drawing.words import shortened, wrapped
from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import Run, is_control
from cloakbench.bench.report.labels import CLEAN
from cloakbench.bench.report.results import Example
from cloakbench.bench.report.section import FigureSpec
from cloakbench.datasets.attribute_task import AttributeTask

_PANELS_MOST = 4
"""Attributes that have a panel each, beside MOSR."""
_ACROSS = 4
_ROW_INCHES = 1.35
_TITLE_PT = 7.0
_LINES_MOST = 7
_LEGEND_PT = 6.5


def figure_specs(hiding: Hiding, task: AttributeTask) -> Iterator[FigureSpec]:
    """The figures that a run can fill."""
    yield FigureSpec(
        "attributes",
        partial(overview, hiding),
        "MOSR on the network that was attacked, or the mean of all where none was, and on all others, mean over "
        "ordered pairs; H-PN on the former. The line is where guesses come to.",
    )
    yield FigureSpec(
        "attributes_each",
        partial(each_attribute, hiding, task),
        "MOSR and each attribute alone, mean over networks; the line is where guesses come to.",
    )
    if hiding.counts:
        yield FigureSpec(
            "attributes_counts",
            partial(over_counts, hiding, task),
            "MOSR over the number of attributes that were attacked and judged, in the order of the task, mean over "
            "networks. The dashed line is where guesses come to.",
        )
    if hiding.measured.results.examples:
        yield FigureSpec(
            "attributes_differences",
            partial(differences, hiding),
            "How often a value of a published photo differs from the original by so many grey levels: all pixels and "
            f"channels of {len(hiding.measured.results.examples)} photos; in brackets the share of untouched pixels.",
        )


@styled
def overview(hiding: Hiding) -> Drawing:
    """A row for each method, panels of MOSR before and after transfer, and of H-PN (Figure 7)."""
    runs = _known(hiding)
    if not runs:
        return Skipped("no method has a complete MOSR")
    chance = (100 * hiding.chance, "guessing")
    own = [[hiding.over_targets(MOSR, run)] for run in runs]
    other = [[hiding.transfer(MOSR, run, white_box=False)] for run in runs]
    both = [[hiding.over_targets(H_PN, run)] for run in runs]
    panels = [DotPanel("MOSR, %", [""], own, line=chance, title="Attacked network")]
    if any(one.ok for [one] in other):
        panels.append(DotPanel("MOSR, %", [""], other, line=chance, title="Other networks"))
    panels.append(DotPanel("H-PN", [""], both, 1.0, title="Privacy and naturalness"))
    return dot_plot([_row(hiding, run) for run in runs], panels)


@styled
def each_attribute(hiding: Hiding, task: AttributeTask) -> Drawing:
    """A panel for all attributes together and for each (Figure 5)."""
    runs = _known(hiding)
    if not runs:
        return Skipped("no method has a complete MOSR")
    if len(task.attributes) > _PANELS_MOST:
        return Skipped(f"more than {_PANELS_MOST} attributes; the table has them")
    panels = [
        DotPanel(
            "MOSR, %",
            [""],
            [[hiding.over_targets(MOSR, run)] for run in runs],
            line=(100 * hiding.chance, "guessing"),
            title="Every attribute",
        )
    ]
    for one in task.attributes:
        dots = [[hiding.over_targets(asr_name(one.name), run)] for run in runs]
        guesses = 100 * (1 - 1 / len(one.classes))
        title = one.name.replace("_", " ").capitalize()
        panels.append(DotPanel("ASR, %", [""], dots, line=(guesses, "guessing"), title=title))
    return dot_plot([_row(hiding, run) for run in runs], panels)


@styled
def over_counts(hiding: Hiding, task: AttributeTask) -> Drawing:
    """A line for each method (Figure 8)."""
    counts = hiding.counts
    shown = [run for run in hiding.runs if run.method != CLEAN]
    lines = {run: [hiding.by_count(run, count) for count in counts] for run in shown}
    lines = {run: found for run, found in lines.items() if any(one.ok for one in found)}
    if not lines:
        return Skipped("no method has a MOSR over a number of attributes")
    if len(lines) > _LINES_MOST:
        return Skipped(f"more than {_LINES_MOST} methods; the table has them")
    figure = Figure(figsize=(TWO_COLUMNS, 3.0), layout="constrained")
    axis = figure.subplots()
    for number, (run, found) in enumerate(lines.items()):
        colour, marker = look_of(number)
        if is_control(run):
            colour = CONTROL_COLOUR
        shift = dodge(number, len(lines), 1.0)
        known = [(count, one) for count, one in zip(counts, found, strict=True) if one.ok]
        axis.errorbar(
            [count + shift for count, _ in known],
            [100 * one.value for _, one in known],
            yerr=np.hstack([arms(one, 100) for _, one in known]),
            color=colour,
            marker=marker,
            markersize=3.5,
            linewidth=0.9,
            elinewidth=0.6,
            label=shortened(hiding.label(run), TWO_COLUMNS / 2 - 0.6, _LEGEND_PT),
        )
    guesses = [100 * task.first(count).chance for count in counts]
    axis.plot(counts, guesses, color="0.4", linestyle="--", linewidth=0.9, label="guessing")
    axis.set_xlabel("Attributes")
    axis.set_ylabel("MOSR, %")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_ylim(-4, 104)
    figure.legend(loc="outside upper center", ncols=2, fontsize=_LEGEND_PT)
    return figure


@styled
def differences(hiding: Hiding) -> Drawing:
    """A panel for each method with the density of signed differences (Figure 9)."""
    examples = hiding.measured.results.examples
    asked = {run.method for run in hiding.runs} - {CLEAN}
    every = dict.fromkeys(label for one in examples for label in one.protected)
    labels = [label for label in every if _method_and_budget(label)[0] in asked]
    if not labels:
        return Skipped("the run stored no example photos of these methods")
    lines = -(-len(labels) // _ACROSS)
    figure = Figure(figsize=(TWO_COLUMNS, _ROW_INCHES * lines + 0.3), layout="constrained")
    panels = figure.subplots(lines, _ACROSS, squeeze=False).flatten()
    found = {label: signed_differences(examples, label) for label in labels}
    widest = max(int(np.abs(levels[shares > 0]).max()) for levels, shares, _ in found.values()) + 1
    for panel, (label, (levels, shares, untouched)) in zip(panels, found.items(), strict=False):
        shown = np.abs(levels) <= widest
        panel.fill_between(levels[shown], 100 * shares[shown], step="mid", color="#0072B2", alpha=0.8, linewidth=0)
        method, budget = _method_and_budget(label)
        name = f"{hiding.measured.title(method)}{f' {budget}' if budget else ''} ({100 * untouched:.1f} %)"
        panel.set_title(wrapped(name, TWO_COLUMNS / _ACROSS - 0.3, _TITLE_PT, most=2), fontsize=_TITLE_PT)
        panel.set_xlim(-widest, widest)
        panel.set_ylim(bottom=0)
    for panel in panels[len(labels) :]:
        panel.set_axis_off()
    figure.supxlabel("Difference in grey levels", fontsize=_TITLE_PT)
    figure.supylabel("Share of values, %", fontsize=_TITLE_PT)
    return figure


def _method_and_budget(label: str) -> tuple[str, str]:
    """Key of the method and words of the budget in the label of an example; empty without a budget."""
    method, _, budget = label.rpartition(" ") if label.endswith("/255") else (label, "", "")
    return method, budget


def signed_differences(examples: Sequence[Example], label: str) -> tuple[NDArray[np.int64], NDArray[np.float64], float]:
    """Levels from -255 to 255, the share of values of the published photos that differ by each, and the share of pixels
    that no channel differs in."""
    pairs = [(one.protected[label].numpy(), one.original.numpy()) for one in examples if label in one.protected]
    changes = np.stack([now.astype(np.int64) - before for now, before in pairs])
    counts = np.bincount(changes.ravel() + 255, minlength=511)
    return np.arange(-255, 256), counts / counts.sum(), float((changes == 0).all(axis=1).mean())


def _known(hiding: Hiding) -> list[Run]:
    """Methods with a complete mean, in the order of the tables."""
    return [run for _, runs in hiding.blocks(hiding.runs) for run in runs if hiding.over_targets(MOSR, run).ok]


def _row(hiding: Hiding, run: Run) -> DotRow:
    cell: Estimate = hiding.over_targets(MOSR, run)
    return DotRow(hiding.label(run), str(cell.n), is_control(run))
