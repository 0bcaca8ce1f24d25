"""Robustness by target: protection left after what may happen to a photo, a line per target (FaceCloak, Figure 6).

What has no strength, such as adversaries, has no line: points of kinds that no order joins.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cloakbench.bench.core.axes import NO_BUDGET
from cloakbench.bench.protocols.identification.ranks import Ranks
from cloakbench.bench.protocols.recognition.conditions import Family, families_of
from cloakbench.bench.report.drawing.plotting import TWO_COLUMNS, Drawing, Skipped, curve, look_of, near, styled
from cloakbench.bench.report.drawing.words import wrapped
from cloakbench.bench.report.estimate import Estimate, mean_estimate
from cloakbench.bench.report.index import Measured, Run, is_control

_METHODS_MOST = 4
_ROW_INCHES = 1.75


@styled
def robustness_by_target(measured: Measured, ranks: Ranks) -> Drawing:
    """PSR at the first depth, a row of panels for each method at the largest budget and a panel for each transform."""
    families = families_of(measured, ranks.first)
    if not families:
        return Skipped("the run has no transforms")
    runs = [run for run in measured.runs_at(max(measured.budgets, default=NO_BUDGET)) if not is_control(run)]
    if not runs or ranks.first not in measured.metrics:
        return Skipped("no identification rates after transforms")
    if len(runs) > _METHODS_MOST:
        return Skipped(f"more than {_METHODS_MOST} methods; the means over targets are in the other figure")
    targets = measured.judges(ranks.first)
    figure = Figure(figsize=(TWO_COLUMNS, _ROW_INCHES * len(runs) + 0.7), layout="constrained")
    rows = figure.subplots(len(runs), len(families), squeeze=False, sharey="row", sharex="col")
    for run, panels in zip(runs, rows, strict=True):
        ends: list[float] = []
        for family, panel in zip(families, panels, strict=True):
            for place, target in enumerate(targets):
                rates = [_rate(measured, ranks.first, run, target, key) for key, _ in family.members]
                style = "-" if family.is_ordered else ""
                ends += curve(panel, rates, place, len(targets), style=style)
            if run == runs[0]:
                panel.set_title(family.title)
        panels[0].set_ylim(*near(ends, 0.04))
        panels[0].set_ylabel(wrapped(f"{measured.title(run.method)}, PSR {ranks.label}, %", _ROW_INCHES, 7.5, most=3))
    _label_axes(rows[-1], families)
    handles = [
        Line2D([], [], color=look_of(place)[0], marker=look_of(place)[1], label=target)
        for place, target in enumerate(targets)
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=min(4, len(handles)))
    return figure


def _rate(measured: Measured, metric: str, run: Run, target: str, condition: str) -> Estimate:
    """Mean over the surrogates that are not the target."""
    surrogates = [one for one in measured.surrogates_of(run) if not measured.is_white_box(one, target)]
    return mean_estimate([measured.cell(metric, run, one, target, condition) for one in surrogates])


def _label_axes(panels: Sequence[Axes], families: Sequence[Family]) -> None:
    for panel, family in zip(panels, families, strict=True):
        words = [tick if family.is_ordered else tick.replace(" ", "\n") for _, tick in family.members]
        panel.set_xticks(range(len(family.members)), words)
        panel.set_xlabel(family.axis if family.is_ordered else "")
