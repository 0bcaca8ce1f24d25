"""The section of variants: a table and curves over the settings that were varied, in one run or by a multirun."""

from __future__ import annotations

from functools import partial

from matplotlib.figure import Figure

from cloakbench.bench.report.section import FigureSpec, Section
from cloakbench.bench.report.sweeps.figures import sweep_figures
from cloakbench.bench.report.sweeps.parts import Sweep
from cloakbench.bench.report.sweeps.tables import sweep_tables


def variants_section(sweep: Sweep) -> Section:
    """One row for each variant and part, one curve for each setting with numbers; empty where nothing was varied."""
    figures = tuple(
        FigureSpec(stem, partial(_drawn, figure), caption) for stem, (figure, caption) in sweep_figures(sweep).items()
    )
    return Section("Variants", tuple(sweep_tables(sweep)), figures)


def _drawn(figure: Figure) -> Figure:
    return figure
