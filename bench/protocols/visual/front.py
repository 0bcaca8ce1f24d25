"""`hiding_front`: white-box and black-box MSR over the SSIM that is left, a point for each method and surrogate."""

from __future__ import annotations

from matplotlib.figure import Figure

from cloakbench.bench.protocols.visual.index import Hidden, HiddenRow
from cloakbench.bench.protocols.visual.metrics import HIDDEN, MSR
from cloakbench.bench.report.drawing.plotting import TWO_COLUMNS, Drawing, Skipped, arms, look_of, near, styled
from cloakbench.bench.report.drawing.side_labels import PITCH_INCHES, Mark, side_labels
from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import is_control
from cloakbench.bench.statistics.small_samples import pareto_front

_FEWEST = 3
"""Points from which a front says more than a table."""


@styled
def hiding_front(hidden: Hidden) -> Drawing:
    """Up and to the left is better; no point on the dashed front is beaten in both."""
    points = {
        row: (ssim, white, hidden.mean(MSR, row, white_box=False))
        for row in hidden.rows
        if row.surrogate and not is_control(row.run)
        if (ssim := hidden.cell(f"{HIDDEN}_ssim", row) or Estimate()).ok
        and (white := hidden.mean(MSR, row, white_box=True)).ok
    }
    if len(points) < _FEWEST:
        return Skipped(f"fewer than {_FEWEST} methods have a white-box MSR and an SSIM")
    figure = Figure(figsize=(TWO_COLUMNS, max(2.8, PITCH_INCHES * len(points) + 0.6)), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=[1, 1, 1.1], squeeze=False)[0]
    looks = {row: look_of(number) for number, row in enumerate(points)}
    for axis, place, title in zip(axes, (1, 2), ("On the surrogate itself", "Other networks"), strict=False):
        known = {row: (values[0], values[place]) for row, values in points.items() if values[place].ok}
        for row, (ssim, rate) in known.items():
            colour, marker = looks[row]
            ends = {"xerr": arms(ssim, 1), "yerr": arms(rate, 100), "elinewidth": 0.6}
            axis.errorbar(ssim.value, 100 * rate.value, **ends, color=colour, marker=marker, markersize=4.2, zorder=3)
        x = [ssim.value for ssim, _ in known.values()]
        y = [100 * rate.value for _, rate in known.values()]
        front = pareto_front([-value for value in x], y, [True] * len(x))
        look = {"color": "0.6", "linestyle": "--", "linewidth": 0.8, "zorder": 1}
        axis.plot([x[row] for row in front], [y[row] for row in front], **look)
        axis.set_title(title)
        axis.set_xlabel("SSIM to the original")
        axis.set_ylim(*near([0, 100], 0.03))
    axes[0].set_ylabel("MSR, %")
    axes[-1].set_axis_off()
    marks = [
        Mark(_name(hidden, row), (ssim.value, 100 * rate.value if rate.ok else 0.0), *looks[row])
        for row, (ssim, _, rate) in points.items()
    ]
    side_labels(figure, axes[1], axes[2], marks)
    return figure


def _name(hidden: Hidden, row: HiddenRow) -> str:
    surrogates = {other.surrogate for other in hidden.rows if other.surrogate}
    return hidden.label(row) + (f" on {row.surrogate}" if len(surrogates) > 1 else "")
