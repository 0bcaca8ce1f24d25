"""The figures of a report. Each function returns a matplotlib figure, or `Skipped` with the reason.

Lines and points are told apart by marker and grey value as well as by colour (palette of Okabe and Ito, 2008), so that
they survive a black-and-white printer. Rates are in per cent with 95 % intervals.
"""

from __future__ import annotations

import functools
import importlib.resources
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.cm
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from cloakbench.bench.report.inputs import Example, Results
from cloakbench.bench.report.labels import (
    CLEAN,
    RANDOM_SIGN,
    UNTRANSFORMED,
    budget_name,
    method_name,
    method_order,
    strength_name,
    transform_families,
    transform_family,
)
from cloakbench.bench.report.measured import Estimate, Measured, Run, is_control

ONE_COLUMN = 3.5
TWO_COLUMNS = 7.16
"""Figure widths in inches."""

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F5539", "#6A3D9A")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
_CONTROL_COLOUR = "0.45"
_CONTROL_MARKERS = {CLEAN: "+", RANDOM_SIGN: "x"}
_EXAMPLES_MOST = 6
_LABELS_MOST = 4
_DIFFERENCE_GAIN = 10
_NO_VALUE = "0.88"


@dataclass(frozen=True)
class Skipped:
    """A figure that the measurements cannot fill, and why."""

    reason: str


Drawing = Figure | Skipped


def _styled(draw: Callable[[Results], Drawing]) -> Callable[[Results], Drawing]:
    """Draw under the paper style, leaving the caller's matplotlib settings as they were."""

    @functools.wraps(draw)
    def wrapper(results: Results) -> Drawing:
        with _paper_style():
            return draw(results)

    return wrapper


def save_figure(figure: Figure, path: Path) -> None:
    """Write PNG (200 dpi) or PDF (vector, fonts embedded) without dates, so that equal figures give equal bytes."""
    metadata = {"CreationDate": None} if path.suffix == ".pdf" else {"Software": None}
    with _paper_style():
        if path.suffix == ".png":
            FigureCanvasAgg(figure)
        figure.savefig(path, metadata=metadata)


@_styled
def psr_against_ssim(results: Results) -> Drawing:
    """Black-box PSR over SSIM, a point per method and budget; points on the dashed front are beaten by no other."""
    measured = Measured(results)
    metrics = [f"psr_{measured.rule}_top{k}" for k in (1, 5) if f"psr_{measured.rule}_top{k}" in measured.metrics]
    if not metrics or "ssim" not in measured.metrics:
        return Skipped("identification rates or SSIM were not measured")
    points = {
        metric: [
            (run, measured.quality("ssim", run), rate)
            for run in measured.runs
            if (rate := measured.black_box_overall(metric, run)).ok and measured.quality("ssim", run).ok
        ]
        for metric in metrics
    }
    if not any(not is_control(run) for series in points.values() for run, _, _ in series):
        return Skipped("no method has both a complete black-box mean and an SSIM")
    figure = Figure(figsize=(TWO_COLUMNS, 3.3), layout="constrained")
    axes = figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0]
    styles = _Styles(measured)
    for axis, metric in zip(axes, metrics, strict=True):
        for run, ssim, rate in points[metric]:
            styles.point(axis, run, ssim, rate)
        front = _pareto([(ssim.value, 100 * rate.value) for _, ssim, rate in points[metric]])
        axis.plot(
            *zip(*front, strict=True), color="0.6", linestyle="--", linewidth=0.8, drawstyle="steps-pre", zorder=1
        )
        axis.set(xlabel="SSIM to the original", title=f"Top-{metric.rsplit('top', 1)[1]}")
        _percent_axis(axis)
    axes[0].set_ylabel(f"Black-box PSR ({measured.rule.upper()}), %")
    shown = [run for series in points.values() for run, _, _ in series]
    handles = styles.method_handles(run.method for run in shown)
    handles += styles.budget_handles(shown)
    handles.append(Line2D([], [], color="0.6", linestyle="--", linewidth=0.8, label="Pareto front"))
    figure.legend(handles=handles, loc="outside right center")
    return figure


@_styled
def transfer_heat_map(results: Results) -> Drawing:
    """PSR Top-1 of every method on every target, a panel per surrogate, at the largest budget."""
    measured = Measured(results)
    metric = f"psr_{measured.rule}_top1"
    epsilon = max(measured.budgets, default=None)
    runs = measured.runs_at(epsilon)
    if metric not in measured.metrics or not any(measured.uses_surrogate(run.method) for run in runs):
        return Skipped("no method with a surrogate has identification rates")
    per_line = _panels_per_line(len(measured.surrogates), len(measured.targets))
    lines = -(-len(measured.surrogates) // per_line)
    figure = Figure(figsize=(TWO_COLUMNS, lines * (0.19 * len(runs) + 1.0) + 0.3), layout="constrained")
    panels = figure.subplots(lines, per_line, squeeze=False, sharey=True)
    image = matplotlib.cm.ScalarMappable()
    for panel, surrogate in itertools.zip_longest(panels.flat, measured.surrogates):
        if surrogate is None:
            panel.axis("off")
            continue
        cells = [[measured.cell(metric, run, surrogate, target) for target in measured.targets] for run in runs]
        rates = np.array([[100 * cell.value for cell in line] for line in cells])
        image = panel.imshow(rates, cmap="Blues", vmin=0, vmax=100, aspect="auto")
        _annotate(panel, cells)
        panel.set_title(f"Surrogate: {surrogate}", pad=3)
        panel.set_yticks(range(len(runs)), [method_name(run.method) for run in runs])
        panel.set_xticks(
            range(len(measured.targets)), measured.targets, rotation=40, ha="right", rotation_mode="anchor"
        )
        panel.tick_params(length=0, pad=2)
        panel.grid(visible=False)
        panel.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=panels, aspect=28, pad=0.01)
    bar.set_label(f"PSR Top-1 ({measured.rule.upper()}), {budget_name(epsilon)}, %")
    bar.outline.set_visible(False)
    handles = [
        Patch(facecolor="white", edgecolor="0.2", hatch="/////", linewidth=0.5, label="white-box"),
        Patch(facecolor="white", edgecolor="0.2", linestyle=":", label="same family"),
        Patch(facecolor=_NO_VALUE, edgecolor="none", label="no value"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


@_styled
def robustness_curves(results: Results) -> Drawing:
    """Black-box PSR Top-1 against the strength of each kind of transform, at the largest budget."""
    measured = Measured(results)
    metric = f"psr_{measured.rule}_top1"
    families = transform_families(measured.transforms)
    if not families:
        return Skipped("the run has no transforms")
    if metric not in measured.metrics:
        return Skipped("no identification rates after transforms")
    epsilon = max(measured.budgets, default=None)
    runs = measured.runs_at(epsilon)
    styles = _Styles(measured)
    per_line = min(3, len(families))
    lines = -(-len(families) // per_line)
    figure = Figure(figsize=(TWO_COLUMNS, 2.3 * lines + 0.2), layout="constrained")
    panels = figure.subplots(lines, per_line, squeeze=False, sharey=True)
    for panel, item in itertools.zip_longest(panels.flat, families.items()):
        if item is None:
            panel.axis("off")
            continue
        family, members = item
        for position, run in enumerate(runs):
            rates = [measured.black_box_overall(metric, run, transform) for transform in members]
            styles.line(panel, run.method, np.arange(len(members)) + _dodge(position, len(runs), 1.0), rates)
        panel.set_xticks(range(len(members)), ["as is" if m == UNTRANSFORMED else strength_name(m) for m in members])
        panel.set_xlim(-0.4, len(members) - 0.6)
        described = transform_family(family)
        panel.set(title=described.label, xlabel=described.strength)
        _percent_axis(panel)
    for line in panels:
        line[0].set_ylabel(f"Black-box PSR Top-1 ({measured.rule.upper()}), %")
    figure.legend(handles=styles.method_handles(run.method for run in runs), loc="outside right center")
    return figure


@_styled
def budget_curves(results: Results) -> Drawing:
    """PSR against the budget, black-box and white-box: what a sweep over budgets shows."""
    measured = Measured(results)
    metric = f"psr_{measured.rule}_top1"
    if len(measured.budgets) < 2:
        return Skipped("the run has fewer than two budgets")
    if metric not in measured.metrics:
        return Skipped("identification rates were not measured")
    methods = method_order(run.method for run in measured.runs if run.epsilon_255 is not None)
    styles = _Styles(measured)
    figure = Figure(figsize=(TWO_COLUMNS, 2.7), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    step = 0.4 * min(np.diff(measured.budgets))
    means = {"Black-box mean": measured.black_box_overall, "White-box": measured.white_box_overall}
    for panel, (title, mean) in zip(panels, means.items(), strict=True):
        for position, method in enumerate(methods):
            rates = [mean(metric, Run(method, epsilon)) for epsilon in measured.budgets]
            styles.line(panel, method, np.array(measured.budgets) + _dodge(position, len(methods), step), rates)
        clean = measured.black_box_overall(metric, Run(CLEAN, None))
        if clean.ok:
            panel.axhline(100 * clean.value, color=_CONTROL_COLOUR, linestyle=":", linewidth=0.8)
        panel.set(title=title, xlabel="Budget ε (grey levels)")
        panel.set_xticks(measured.budgets, [f"{epsilon:g}" for epsilon in measured.budgets])
        _percent_axis(panel)
    panels[0].set_ylabel(f"PSR Top-1 ({measured.rule.upper()}), %")
    handles = styles.method_handles(methods)
    handles.append(Line2D([], [], color=_CONTROL_COLOUR, linestyle=":", linewidth=0.8, label=method_name(CLEAN)))
    figure.legend(handles=handles, loc="outside right center")
    return figure


@_styled
def image_grid(results: Results) -> Drawing:
    """Faces in columns; the original, then for each method the protected photo and its difference times ten."""
    examples = results.examples[:_EXAMPLES_MOST]
    labels = list(dict.fromkeys(label for example in examples for label in example.protected))[:_LABELS_MOST]
    if not labels:
        return Skipped("the run stored no example photos")
    lines = ["Original"]
    for label in labels:
        lines += [_two_lines(label), f"Difference\n×{_DIFFERENCE_GAIN}"]
    margin, gap = 1.25, 0.03
    side = min(1.1, (TWO_COLUMNS - margin) / len(examples), 8.6 / len(lines))
    width, height = margin + side * len(examples), side * len(lines)
    figure = Figure(figsize=(width, height))
    for column, example in enumerate(examples):
        for line, picture in enumerate(_pictures(example, labels)):
            bounds = (margin + column * side, height - (line + 1) * side + gap, side - gap, side - gap)
            panel = figure.add_axes((bounds[0] / width, bounds[1] / height, bounds[2] / width, bounds[3] / height))
            panel.set_axis_off()
            if picture is None:
                panel.text(0.5, 0.5, "failed", ha="center", va="center", transform=panel.transAxes, color="0.4")
            else:
                panel.imshow(picture.transpose(1, 2, 0), aspect="auto")
    for line, label in enumerate(lines):
        middle = 1 - (line + 0.5) * side / height
        figure.text((margin - 0.08) / width, middle, label, ha="right", va="center", fontsize=8)
    return figure


FIGURES: dict[str, tuple[Callable[[Results], Drawing], str]] = {
    "psr_ssim": (
        psr_against_ssim,
        "Protection against picture quality: black-box mean PSR over SSIM with 95 % intervals. "
        "Up and to the right is better.",
    ),
    "transfer": (transfer_heat_map, "Which surrogate protects from which target."),
    "robustness": (robustness_curves, "Protection that is left after what may happen to a published photo."),
    "budget": (budget_curves, "Protection over the perturbation budget."),
    "faces": (image_grid, "Originals, protected photos, and their difference times ten about mid-grey."),
}
"""File stem to drawing function and caption, in the order of the report."""


class _Styles:
    """One colour and marker per method, equal in every figure of a report; open markers for smaller budgets."""

    def __init__(self, measured: Measured) -> None:
        self.budgets = measured.budgets
        methods = method_order(run.method for run in measured.runs)
        protectors = [method for method in methods if method not in _CONTROL_MARKERS]
        self._looks = {
            method: (_COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)]) for i, method in enumerate(protectors)
        }
        self._looks |= {method: (_CONTROL_COLOUR, marker) for method, marker in _CONTROL_MARKERS.items()}

    def fill(self, epsilon_255: float | None, colour: str) -> str:
        """Filled at the largest budget, open at the smallest, paler in between."""
        if epsilon_255 is None or len(self.budgets) < 2 or epsilon_255 == self.budgets[-1]:
            return colour
        share = self.budgets.index(epsilon_255) / (len(self.budgets) - 1)
        rgb = np.array(to_rgb(colour))
        return to_hex(1 - share * (1 - rgb))

    def point(self, axis: Axes, run: Run, x: Estimate, rate: Estimate) -> None:
        """A point with both intervals."""
        colour, marker = self._looks[run.method]
        axis.errorbar(
            x.value,
            100 * rate.value,
            xerr=_arms(x, 1),
            yerr=_arms(rate, 100),
            color=colour,
            marker=marker,
            markerfacecolor=self.fill(run.epsilon_255, colour),
            markeredgewidth=0.8,
            markersize=4.2,
            elinewidth=0.6,
            linestyle="none",
            zorder=3,
        )

    def line(self, axis: Axes, method: str, x: np.ndarray, rates: Sequence[Estimate]) -> None:
        """A line through the rates that exist, broken at gaps; controls are dashed."""
        colour, marker = self._looks[method]
        y = np.array([100 * rate.value for rate in rates])
        arms = np.array([_arms(rate, 100).ravel() for rate in rates]).T
        axis.errorbar(
            x,
            y,
            yerr=arms,
            color=colour,
            marker=marker,
            markersize=3.8,
            elinewidth=0.6,
            linestyle="--" if method in _CONTROL_MARKERS else "-",
            linewidth=0.9,
        )

    def method_handles(self, methods: Iterable[str]) -> list[Line2D]:
        """Legend entries of the methods that are drawn."""
        return [
            Line2D([], [], color=self._looks[m][0], marker=self._looks[m][1], linestyle="none", label=method_name(m))
            for m in method_order(methods)
        ]

    def budget_handles(self, runs: Sequence[Run]) -> list[Line2D]:
        """Legend entries of the budgets, when there is more than one."""
        shown = sorted({run.epsilon_255 for run in runs if run.epsilon_255 is not None})
        if len(shown) < 2:
            return []
        return [
            Line2D(
                [],
                [],
                color="0.3",
                marker="o",
                markerfacecolor=self.fill(epsilon, "0.3"),
                linestyle="none",
                label=budget_name(epsilon),
            )
            for epsilon in shown
        ]


def _paper_style():
    style = importlib.resources.files("cloakbench.bench.report") / "style.mplstyle"
    with importlib.resources.as_file(style) as path:
        return matplotlib.style.context(["default", str(path)])


def _arms(estimate: Estimate, scale: float) -> np.ndarray:
    """Error bar arms ``[2, 1]``, never negative; zero where there is no interval."""
    arms = np.array([[estimate.value - estimate.low], [estimate.high - estimate.value]])
    return scale * np.nan_to_num(arms).clip(min=0)


def _dodge(position: int, count: int, step: float) -> float:
    """Sideways shift of one of ``count`` series, so that intervals at the same place stay apart."""
    return 0.26 * step * (position / max(1, count - 1) - 0.5)


def _percent_axis(axis: Axes) -> None:
    axis.set_ylim(-3, 103)
    axis.set_yticks(range(0, 101, 20))


def _pareto(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other point beats in both coordinates (larger is better), from left to right."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(points, reverse=True):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front[::-1]


def _annotate(axis: Axes, cells: list[list[Estimate]]) -> None:
    """Numbers in the cells; hatching for white-box, a dotted frame for same-family, grey for no value."""
    for line, row in enumerate(cells):
        for column, cell in enumerate(row):
            corner = (column - 0.5, line - 0.5)
            if not cell.ok:
                axis.add_patch(Rectangle(corner, 1, 1, facecolor=_NO_VALUE, edgecolor="none"))
                axis.text(column, line, "–", ha="center", va="center", color="0.3")
                continue
            dark = cell.value > 0.55
            ink = "white" if dark else "black"
            if cell.white_box:
                axis.add_patch(
                    Rectangle(corner, 1, 1, fill=False, edgecolor=ink, hatch="/////", linewidth=0, alpha=0.35)
                )
            elif cell.same_family:
                inset = (column - 0.45, line - 0.4)
                axis.add_patch(Rectangle(inset, 0.9, 0.8, fill=False, edgecolor=ink, linestyle=":", linewidth=0.9))
            axis.text(column, line, f"{100 * cell.value:.0f}", ha="center", va="center", color=ink, fontsize=7)


def _pictures(example: Example, labels: Sequence[str]) -> list[np.ndarray | None]:
    """One column of the grid, ``[3, H, W]`` each: original, then photo and difference, None where a method failed."""
    original = example.original.numpy()
    pictures: list[np.ndarray | None] = [original]
    for label in labels:
        protected = example.protected.get(label)
        pictures += [None, None] if protected is None else [protected.numpy(), _difference(original, protected.numpy())]
    return pictures


def _two_lines(label: str) -> str:
    """``pgd 8/255`` to the printed name over the budget."""
    method, _, budget = label.partition(" ")
    return f"{method_name(method)}\n{budget}".strip()


def _panels_per_line(panels: int, columns: int) -> int:
    """As many heat maps side by side as leave a cell wide enough for its number."""
    return max(1, min(panels, 26 // max(1, columns)))


def _difference(original: np.ndarray, protected: np.ndarray) -> np.ndarray:
    """uint8 picture of the amplified difference about mid-grey."""
    difference = protected.astype(np.float32) - original.astype(np.float32)
    return (127.5 + _DIFFERENCE_GAIN * difference).clip(0, 255).round().astype(np.uint8)
