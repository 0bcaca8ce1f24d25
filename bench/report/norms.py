"""`Norms`: the ball of each row, and how far its photos really are from their originals, for tables of rates.

Methods of one table may lie in unlike balls, such as 8 grey levels for each value beside an L2 norm of 1200. A rate
says little without the change that it cost, so both norms stand beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from cloakbench.bench.core.axes import NO_BUDGET, BudgetSize
from cloakbench.bench.report.estimate import records, text
from cloakbench.bench.report.index import ALL, Measured, Run
from cloakbench.bench.report.labels import CLEAN
from cloakbench.bench.report.table import OTHER_BALL, Column, Number

_NEEDED = {"norm", "size_255", "linf_255", "l2_255"}
NORM_COLUMNS = (Column("linf_255", "Linf"), Column("l2_255", "L2"))
NORMS_NOTE = "Linf and L2: the largest and the Euclidean change of a published photo in grey levels, mean over photos."


@dataclass(frozen=True)
class _Made:
    """What is known of the photos of a row."""

    norm: str
    size_255: float
    used: tuple[float, float]


class Norms:
    """Of the photos of a publication; a run that was kept without them has no columns.

    Args:
        measured: the run.
        publication: whose photos; empty for the probes.

    Attributes:
        columns: of both norms.
        notes: what these columns are.
    """

    def __init__(self, measured: Measured, publication: str = "") -> None:
        costs = measured.results.costs
        self._made: dict[Run, dict[str, _Made]] = {}
        for line in records(costs) if set(costs.columns) >= _NEEDED else ():
            if text(line.get("publication")) == publication:
                made = _Made(text(line["norm"]), line["size_255"], (line["linf_255"], line["l2_255"]))
                self._made.setdefault(Run.of(line), {})[text(line["surrogate"])] = made
        known = set(costs.columns) >= _NEEDED
        self.columns = NORM_COLUMNS if known else ()
        self.notes = (NORMS_NOTE,) * known

    def cells(self, run: Run, surrogate: str = ALL, beside: BudgetSize = NO_BUDGET) -> tuple[Number, ...]:
        """A number for each of ``columns``, mean over photos.

        Args:
            run: whose photos.
            surrogate: made with this, or with none where the method uses none; over all of them for ``ALL``.
            beside: Linf budget of a table in which rows of another ball are marked.
        """
        if not self.columns:
            return ()
        known = self._made.get(run, {})
        rows = list(known.values()) if surrogate == ALL else [known.get(surrogate) or known.get("")]
        used = [row.used for row in rows if row]
        means = [math.fsum(norm) / len(used) for norm in zip(*used, strict=True)] if used else [math.nan, math.nan]
        other = bool(beside) and self._is_other(run, beside)
        return tuple(Number(mean, marks=OTHER_BALL * other) for mean in means)

    def ball(self, run: Run) -> str:
        """``8`` for grey levels of each value, ``8 (Linf 32)`` where some may change by more than the budget says,
        ``L2 1200``, or a dash where there is no ball."""
        return self._words(run, in_grey_levels=True) or NO_BUDGET.text

    def title(self, run: Run) -> str:
        """The same after a name: ``8/255``, ``8/255 (Linf 32)``, ``L2 1200``; what no budget is called without one."""
        return self._words(run, in_grey_levels=False) or run.budget.title

    def aside(self, run: Run, budget: BudgetSize) -> str:
        """`` (L2 1200)`` after the name of a run whose ball is not that of its neighbours in a list, else nothing.

        Args:
            run: whose photos.
            budget: Linf budget of the list.
        """
        if run not in self._made or not budget or not self._is_other(run, budget):
            return ""
        norm, size_255 = self.ball_of(run)
        return f" ({norm.capitalize()} {size_255:.4g})" if norm else " (no ball)"

    def _is_other(self, run: Run, budget: BudgetSize) -> bool:
        return run.method != CLEAN and self.ball(run) != budget.text

    def _words(self, run: Run, *, in_grey_levels: bool) -> str:
        norm, size_255 = self.ball_of(run)
        if run.method == CLEAN or not norm:
            return ""
        if norm == "l2":
            return f"L2 {size_255:g}"
        budget = run.budget or BudgetSize(size_255)
        beyond = f" (Linf {size_255:.4g})" * (budget.number != size_255)
        return (budget.text if in_grey_levels else budget.title) + beyond

    def ball_of(self, run: Run) -> tuple[str, float]:
        """Norm (``linf`` or ``l2``) and size in grey levels; an empty norm where there is no ball.

        Of a run that was kept without norms, the budget of its rows.
        """
        made = next(iter(self._made.get(run, {}).values()), None)
        if made is None:
            return "linf" * bool(run.budget), run.budget.number
        return made.norm, made.size_255
