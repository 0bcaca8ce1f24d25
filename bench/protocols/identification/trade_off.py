"""The trade-off between protection and picture quality as budgets rise: curves, and rates at equal SSIM.

A budget means another visible change to each method, and one that is larger in some regions buys rate with it. At an
equal SSIM methods are compared at what they cost a viewer.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cloakbench.bench.protocols.identification.ranks import SSIM, Ranks
from cloakbench.bench.report.drawing.plotting import TWO_COLUMNS, Drawing, Skipped, Styles, arms, near, styled
from cloakbench.bench.report.drawing.side_labels import PITCH_INCHES, Mark, side_labels
from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import Measured, Run, is_control
from cloakbench.bench.report.table import Column, Number, Row, Table

FEWEST_BUDGETS = 3
"""For a curve."""
_LEVELS = tuple((100 - step) / 100 for step in range(1, 90))
_LEVELS_MOST = 6
_TOLD_MOST = 3
"""Curves to a panel whose budgets have room beside them."""


@dataclass(frozen=True)
class Curve:
    """A method at rising budgets: the budgets' runs, the SSIM and the rate of each."""

    runs: tuple[Run, ...]
    ssim: tuple[Estimate, ...]
    rate: tuple[Estimate, ...]


def curves_of(measured: Measured, rate_of: Callable[[Run], Estimate]) -> dict[str, Curve]:
    """Method to its curve, of those with enough budgets at which both are known."""
    found: dict[str, list[tuple[Run, Estimate, Estimate]]] = {}
    for run in measured.runs:
        ssim, rate = measured.quality(SSIM, run), rate_of(run)
        if run.budget and ssim.ok and rate.ok and not is_control(run):
            found.setdefault(run.method, []).append((run, ssim, rate))
    return {
        method: Curve(*(tuple(part) for part in zip(*points, strict=True)))
        for method, points in found.items()
        if len(points) >= FEWEST_BUDGETS
    }


@styled
def trade_off(measured: Measured, ranks: Ranks) -> Drawing:
    """PSR over SSIM, a curve for each method and a point for each budget, white-box and black-box beside each other."""
    metric = ranks.first
    if not {metric, SSIM} <= measured.metrics:
        return Skipped("identification rates or SSIM were not measured")
    panels = {
        "On the surrogate itself": curves_of(measured, lambda run: measured.white_box(metric, run)),
        "Transferred to other networks": curves_of(measured, lambda run: measured.black_box(metric, run)),
    }
    panels = {title: curves for title, curves in panels.items() if curves}
    if not panels:
        return Skipped(f"no method has rates and SSIM at {FEWEST_BUDGETS} budgets")
    names = list(dict.fromkeys(method for curves in panels.values() for method in curves))
    figure = Figure(figsize=(TWO_COLUMNS, max(2.8, PITCH_INCHES * len(names) + 0.8)), layout="constrained")
    ratios = [*[1.0] * len(panels), 0.45 + 0.22 * len(panels)]
    axes = figure.subplots(1, len(panels) + 1, squeeze=False, width_ratios=ratios)[0]
    styles = Styles(measured)
    for axis, (title, curves) in zip(axes, panels.items(), strict=False):
        ends: list[float] = []
        for method, curve in curves.items():
            ends += _draw(axis, curve, styles.look(method))
            if len(curves) <= _TOLD_MOST:
                _tell_budgets(axis, curve, styles.look(method)[0])
        axis.set_title(title)
        axis.set_xlabel("SSIM to the original")
        axis.set_ylim(*near(ends, 0.03))
    axes[0].set_ylabel(f"PSR {ranks.label}, %")
    axes[-1].set_axis_off()
    last = list(panels.values())[-1]
    marks = [
        Mark(
            f"{measured.title(method)}, n {curve.rate[-1].n}",
            (curve.ssim[-1].value, 100 * curve.rate[-1].value),
            *styles.look(method),
        )
        for method, curve in last.items()
    ]
    side_labels(figure, axes[-2], axes[-1], marks)
    return figure


def _draw(axis: Axes, curve: Curve, look: tuple[str, str]) -> list[float]:
    """One curve with both intervals; gives the ends of its rates."""
    colour, marker = look
    x = [one.value for one in curve.ssim]
    y = np.array([100 * one.value for one in curve.rate])
    across = np.concatenate([arms(one, 1) for one in curve.ssim], axis=1)
    upright = np.concatenate([arms(one, 100) for one in curve.rate], axis=1)
    style = {"color": colour, "marker": marker, "markersize": 3.6, "elinewidth": 0.6, "linewidth": 0.9}
    axis.errorbar(x, y, xerr=across, yerr=upright, **style)
    return [*(y - upright[0]), *(y + upright[1])]


def _tell_budgets(axis: Axes, curve: Curve, colour: str) -> None:
    """The smallest and the largest budget of a curve beside their points."""
    for place in (0, -1):
        at = (curve.ssim[place].value, 100 * curve.rate[place].value)
        beside = {"xytext": (3, 3), "textcoords": "offset points", "fontsize": 6, "color": colour}
        axis.annotate(curve.runs[place].budget.text, at, **beside)


def equal_ssim_tables(measured: Measured, ranks: Ranks) -> list[Table]:
    """Black-box PSR of each method at equal SSIM, between its two nearest budgets; none without two curves."""
    if not {ranks.first, SSIM} <= measured.metrics:
        return []
    curves = curves_of(measured, lambda run: measured.black_box(ranks.first, run))
    levels = _shared_levels(curves)
    if not levels:
        return []
    rows = [
        Row(measured.title(method), tuple(Number.of(at_ssim(curve, level)) for level in levels))
        for method, curve in curves.items()
    ]
    table = Table(
        name="psr_at_equal_ssim",
        title="Protection at equal picture quality",
        caption=f"Black-box PSR {ranks.label} in per cent where a method's SSIM is that of the column.",
        stub="Method",
        columns=tuple(Column(f"ssim_{level:g}_percent", f"SSIM {level:g}", interval="always") for level in levels),
        rows=tuple(rows),
        footnotes=(
            "Rates and their intervals are read off the line between the budgets on either side, and the best of them "
            "where a curve has that SSIM twice; a gap lies beyond all budgets that were run.",
        ),
    )
    return [table]


def _shared_levels(curves: Mapping[str, Curve]) -> Sequence[float]:
    """Levels that at least two curves reach: of as many as lie side by side the one that most curves reach."""
    met = {level: sum(at_ssim(curve, level).ok for curve in curves.values()) for level in _LEVELS}
    reached = [level for level, count in met.items() if count > 1]
    step = max(1, -(-len(reached) // _LEVELS_MOST))
    return [max(reached[first : first + step], key=lambda level: met[level]) for first in range(0, len(reached), step)]


def at_ssim(curve: Curve, level: float) -> Estimate:
    """The best rate of a curve at an SSIM, linear between two budgets next to each other; missing outside of them.

    Where strong regions make up most of the change, SSIM need not fall with the budget.
    """
    ssim = [one.value for one in curve.ssim]
    found = [
        _between(curve.rate[place : place + 2], (level - one) / (other - one) if other != one else 1.0)
        for place, (one, other) in enumerate(itertools.pairwise(ssim))
        if min(one, other) <= level <= max(one, other)
    ]
    return max(found, key=lambda rate: rate.value, default=Estimate())


def _between(rates: Sequence[Estimate], share: float) -> Estimate:
    """A rate ``share`` of the way from the first of two to the second."""
    one, other = rates
    value, low, high = (
        (1 - share) * getattr(one, part) + share * getattr(other, part) for part in ("value", "low", "high")
    )
    return Estimate(value, low, high, n=min(one.n, other.n), status="ok")
