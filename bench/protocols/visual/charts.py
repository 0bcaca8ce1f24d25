"""Charts of matching: by target, over settings of a method, after transforms (veils, Figures 4, 6 and 7).

White-box: the target is the surrogate. Rates are in per cent with 95 % intervals over people.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cloakbench.bench.core.axes import split_row_name, variant_settings
from cloakbench.bench.core.ranges import is_number
from cloakbench.bench.protocols.recognition.conditions import families_of
from cloakbench.bench.protocols.visual.index import Hidden, HiddenRow
from cloakbench.bench.protocols.visual.metrics import HIDDEN, MSR, of_role
from cloakbench.bench.report.drawing.dot_plot import DotPanel, DotRow, dot_plot
from cloakbench.bench.report.drawing.plotting import TWO_COLUMNS, Drawing, Skipped, curve, look_of, near, styled
from cloakbench.bench.report.drawing.words import wrapped
from cloakbench.bench.report.estimate import Estimate, text
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.labels import UNTRANSFORMED
from cloakbench.bench.report.section import FigureSpec
from cloakbench.datasets.base import Role

_LEVELS_MOST = 6
_METHODS_MOST = 4
_ROW_INCHES = 1.75


def chart_specs(measured: Measured, hidden: Hidden, role: Role, ending: str, photos: str) -> Iterator[FigureSpec]:
    """The charts that a run can fill.

    Args:
        measured: the run.
        hidden: its index for the photos of a role.
        role: that role.
        ending: of the file names.
        photos: what the photos are, in words.
    """
    rows = [row for row in hidden.rows if row.surrogate]
    if not (rows and hidden.targets):
        return
    yield FigureSpec(
        f"visual_targets{ending}",
        partial(msr_by_target, measured, hidden, rows),
        f"MSR by target, a panel for each surrogate, which is a target, too, where its name stands in both: {photos}.",
    )
    if varied := settings_of(measured, rows):
        yield FigureSpec(
            f"visual_settings{ending}",
            partial(over_settings, measured, hidden, varied),
            f"MSR and SSIM over a setting, a line for each surrogate: {photos}.",
        )
    if families_of(measured, of_role(MSR, role)):
        yield FigureSpec(
            f"visual_transforms{ending}",
            partial(over_transforms, measured, hidden, rows, role),
            f"MSR after a transform, a line for each surrogate: {photos}.",
        )


@styled
def msr_by_target(measured: Measured, hidden: Hidden, rows: Sequence[HiddenRow]) -> Drawing:
    """A panel for each surrogate, a row for each target, a dot for each method."""
    runs = list(dict.fromkeys(row.run for row in rows))
    if len(runs) > _LEVELS_MOST:
        return Skipped(f"more than {_LEVELS_MOST} methods; the tables have them")
    surrogates = list(dict.fromkeys(row.surrogate for row in rows))
    of = {
        surrogate: [
            [hidden.cell(MSR, HiddenRow(run, surrogate), target) or Estimate() for run in runs]
            for target in hidden.targets
        ]
        for surrogate in surrogates
    }
    counts = [
        sorted({one.n for dots in of.values() for one in dots[place] if one.ok}) for place in range(len(hidden.targets))
    ]
    names = [
        DotRow(target, "–".join(map(str, n[:1] + n[1:][-1:])) or "–", is_control=False)
        for target, n in zip(hidden.targets, counts, strict=True)
    ]
    levels = [measured.name(run) for run in runs]
    return dot_plot(names, [DotPanel("MSR, %", levels, of[one], title=f"Surrogate {one}") for one in surrogates])


Varied = dict[tuple[str, str], list[tuple[float, HiddenRow]]]
"""Method and setting to value and row, values ascending, surrogate by surrogate."""


def settings_of(measured: Measured, rows: Sequence[HiddenRow]) -> Varied:
    """The rows of methods that vary in numbers; a method that varies in several has the rows that differ in one."""
    found: Varied = {}
    for row in rows:
        method = split_row_name(row.run.method)[0]
        varied = text(measured.methods.get(row.run.method, {}).get("varied"))
        for name, value in variant_settings(varied or split_row_name(row.run.method)[1]).items():
            if is_number(value):
                found.setdefault((method, name), []).append((float(value), row))
    ordered = {key: sorted(pairs, key=lambda pair: pair[0]) for key, pairs in found.items()}
    return {key: pairs for key, pairs in ordered.items() if len({value for value, _ in pairs}) > 1}


@styled
def over_settings(measured: Measured, hidden: Hidden, varied: Varied) -> Drawing:
    """A line of panels for each method and setting: MSR on the surrogate, on others, and SSIM."""
    if len(varied) > _METHODS_MOST:
        return Skipped(f"more than {_METHODS_MOST} settings; the tables have them")
    surrogates = measured.in_order({row.surrogate for pairs in varied.values() for _, row in pairs})
    figure, panels = _grid(len(varied), ["White-box MSR, %", "Black-box MSR, %", "SSIM, protected"], surrogates)
    for ((method, name), pairs), line in zip(varied.items(), panels, strict=True):
        values = list(dict.fromkeys(value for value, _ in pairs))
        rates: list[float] = []
        for number, surrogate in enumerate(surrogates):
            at = {value: row for value, row in pairs if row.surrogate == surrogate}
            own = [at.get(value) for value in values]
            for panel, white in zip(line[:2], (True, False), strict=True):
                means = [hidden.mean(MSR, row, white_box=white) if row else Estimate() for row in own]
                rates += curve(panel, means, number, len(surrogates))
            ssims = [(hidden.cell(f"{HIDDEN}_ssim", row) if row else None) or Estimate() for row in own]
            curve(line[2], ssims, number, len(surrogates), scale=1.0)
        for panel in line[:2]:
            panel.set_ylim(*near(rates, 0.06))
        line[0].set_ylabel(wrapped(measured.title(method), _ROW_INCHES, 7.5, most=3))
        for panel in line:
            panel.set_xticks(range(len(values)), [f"{value:g}" for value in values])
            panel.set_xlabel(name)
    return figure


@styled
def over_transforms(measured: Measured, hidden: Hidden, rows: Sequence[HiddenRow], role: Role) -> Drawing:
    """For each method a line of panels on the surrogate and one on others, a panel for each kind of transform."""
    runs = list(dict.fromkeys(row.run for row in rows))
    if len(runs) > _METHODS_MOST:
        return Skipped(f"more than {_METHODS_MOST} methods; the tables have them")
    families = families_of(measured, of_role(MSR, role))
    surrogates = measured.in_order({row.surrogate for row in rows})
    figure, panels = _grid(2 * len(runs), [family.title for family in families], surrogates)
    kinds = [(run, white) for run in runs for white in (True, False)]
    for (run, white), line in zip(kinds, panels, strict=True):
        ends: list[float] = []
        for family, panel in zip(families, line, strict=True):
            for number, surrogate in enumerate(surrogates):
                row = HiddenRow(run, surrogate)
                means = [hidden.mean(MSR, row, white_box=white, condition=key) for key, _ in family.members]
                ends += curve(panel, means, number, len(surrogates))
            panel.set_xticks(range(len(family.members)), _ticks(family.members))
            if (run, white) == kinds[-1]:
                panel.set_xlabel(family.axis)
        for panel in line:
            panel.set_ylim(*near(ends, 0.04))
        said = f"{measured.name(run)}, {'white' if white else 'black'}-box MSR, %"
        line[0].set_ylabel(wrapped(said, _ROW_INCHES, 7.5, most=3))
    return figure


def _ticks(members: Sequence[tuple[str, str]]) -> list[str]:
    return ["as is" if key == UNTRANSFORMED else tick for key, tick in members]


def _grid(lines: int, titles: Sequence[str], surrogates: Sequence[str]) -> tuple[Figure, list[list[Axes]]]:
    """Empty panels with titles above and a key of surrogates."""
    figure = Figure(figsize=(TWO_COLUMNS, _ROW_INCHES * lines + 0.7), layout="constrained")
    panels = [list(line) for line in figure.subplots(lines, len(titles), squeeze=False)]
    for panel, title in zip(panels[0], titles, strict=True):
        panel.set_title(title)
    looks = [look_of(number) for number in range(len(surrogates))]
    handles = [
        Line2D([], [], color=colour, marker=marker, label=name)
        for (colour, marker), name in zip(looks, surrogates, strict=True)
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=min(4, len(handles)))
    return figure, panels
