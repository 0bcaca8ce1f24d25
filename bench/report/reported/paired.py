"""Paired rows: the measured numbers that stand beside a row of a printed table, or the reason why none does."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import pandas as pd

from cloakbench.bench.report.estimate import Estimate, mean_estimate
from cloakbench.bench.report.index import CellPlace, Place, Run
from cloakbench.bench.report.reported.cards import assign
from cloakbench.bench.report.reported.lookup import Lookup, MeasuredMethod, NotComparableError
from cloakbench.bench.report.reported.pairings import AVERAGE, NOT_APPLICABLE, Pairing

NOT_BLACK = "the only network left for this name is the surrogate itself"
NOT_WHITE = "black-box here, white-box in the paper"
WHOLE = ""
"""Stands for the surrogate of a printed row whose columns are the surrogates, as in white-box tables."""
BLACK_BOX = "black_box"
"""Stands for a target: the mean over the judges of the run that are not the surrogate."""
LEFT_OUT = "the ensemble without the target"
OWN = "the network of each column"


@dataclass(frozen=True)
class Placed:
    """A pairing on the networks of a run: printed surrogate and printed target to model."""

    pairing: Pairing
    surrogates: Mapping[str, str]
    targets: Mapping[str, str]


@dataclass(frozen=True)
class MeasuredRow:
    """A measured method that stands beside a printed row.

    Attributes:
        run: method and budget.
        surrogate: its surrogate; empty for methods without one.
        over: the surrogates that it is the mean over, where it is of no single one.
        of_column: printed target to the surrogate of that column, where each column has one of its own.
    """

    run: Run
    surrogate: str
    of_column: Mapping[str, str] = field(default_factory=dict)
    over: tuple[str, ...] = ()


@dataclass(frozen=True)
class MeasuredCell:
    """What stands beside one printed cell; without a value it has a reason."""

    estimate: Estimate
    why_not: str = ""


def place(lookup: Lookup, pairing: Pairing) -> Placed:
    """Choose the run's networks for a pairing. Black-box columns take a surrogate only where nothing else fits.

    Args:
        lookup: the run.
        pairing: of a printed table.
    """
    models, judges = lookup.models, lookup.judges(pairing.protocol)
    if pairing.surrogates is None:
        surrogates: dict[str, str] = {}
        avoid = {name for name, roles in zip(models["name"], models["roles"], strict=True) if "surrogate" in roles}
    else:
        surrogates = assign(models, pairing.surrogates, role="surrogate")
        avoid = set(surrogates.values())
    avoid = avoid if pairing.box == "black" else ()
    if pairing.conditions:
        targets = {key: one for name in pairing.targets for key, one in _alone(models, pairing, name, avoid).items()}
    else:
        targets = assign(models, pairing.targets, avoid)
    return Placed(pairing, surrogates, targets | {key: one for key, one in pairing.services.items() if one in judges})


def rows_beside(lookup: Lookup, placed: Placed, method: str, surrogate: str) -> tuple[tuple[MeasuredRow, ...], str]:
    """The measured rows beside a printed row, or why there is none.

    Args:
        lookup: the run.
        placed: the pairing on its networks.
        method: printed method.
        surrogate: printed surrogate; `WHOLE` in a table whose columns are the surrogates.
    """
    pairing = placed.pairing
    if method not in pairing.methods:
        return (), pairing.why_not[method]
    paired = pairing.methods[method]
    try:
        measured = lookup.find(pairing.protocol, paired.method, paired.budget, targeted=pairing.targeted)
    except NotComparableError as reason:
        return (), str(reason)
    if pairing.leave_one_out and (row := _leave_one_out(lookup, placed, paired, measured)):
        return (row,), ""
    if surrogate == WHOLE and (row := _own_columns(placed, paired, measured)):
        return (row,), ""
    if rows := _on_surrogates(placed, paired, measured.surrogates, surrogate):
        return rows, ""
    name = placed.surrogates.get(surrogate)
    return (), f"not measured on {name}" if name else "no such surrogate in this run"


def measured_cell(lookup: Lookup, placed: Placed, row: MeasuredRow, target: str, metric: str) -> MeasuredCell:
    """What stands beside one printed cell: never a white-box rate beside a black-box one, nor the reverse.

    Args:
        lookup: the run.
        placed: the pairing on its networks.
        row: of `rows_beside`.
        target: printed target; ``average`` for the mean over the columns, as the papers print it; `BLACK_BOX` for that
            over the run's judges that are not the surrogate.
        metric: printed metric.
    """
    pairing = placed.pairing
    if metric not in pairing.metrics:
        return MeasuredCell(Estimate(), pairing.why_not[metric])
    condition = pairing.conditions.get(target, pairing.condition)
    protocol, _, measured = pairing.metrics[metric].rpartition(".")
    asked = CellPlace(Place(protocol or pairing.protocol, measured, condition), row.run, row.surrogate)
    if pairing.targets and (target == AVERAGE or (target == BLACK_BOX and row.of_column)):
        return _mean_of_columns(lookup, placed, row, asked)
    if target in (AVERAGE, BLACK_BOX):
        found = lookup.black_box(asked) if pairing.box == "black" else Estimate()
    elif target == NOT_APPLICABLE:
        found = lookup.over(asked, row.over) if row.over else lookup.rate(asked)
    elif target not in placed.targets:
        return MeasuredCell(Estimate(), "no such network in this run")
    else:
        place, judged = _at(asked, placed, row, target), lookup.is_judged(asked.place)
        found = lookup.rate(place if judged else place._replace(judge=""))
        attacks = bool(place.surrogate)  # who attacks no network is black-box in every table
        if found.ok and judged and attacks and found.white_box != (pairing.box == "white"):
            return MeasuredCell(Estimate(), NOT_BLACK if found.white_box else NOT_WHITE)
    return MeasuredCell(found, "" if found.ok else found.note or "not measured")


def _alone(models: pd.DataFrame, pairing: Pairing, target: str, avoid: Collection[str]) -> Mapping[str, str]:
    """The network of one printed target, whatever stands beside the others."""
    return assign(models, {target: pairing.targets[target]}, avoid)


def _at(asked: CellPlace, placed: Placed, row: MeasuredRow, target: str) -> CellPlace:
    return asked._replace(judge=placed.targets[target], surrogate=row.of_column.get(target, row.surrogate))


def _mean_of_columns(lookup: Lookup, placed: Placed, row: MeasuredRow, asked: CellPlace) -> MeasuredCell:
    """The mean over all columns of a table, one named like the surrogate included, as the papers print it."""
    if missing := [target for target in placed.pairing.targets if target not in placed.targets]:
        return MeasuredCell(Estimate(), f"no network for {', '.join(missing)}")
    places = [_at(asked, placed, row, target) for target in placed.pairing.targets]
    cells = [lookup.rate(place) for place in places]
    if {place.judge for place in places} == set(lookup.black_box_judges(asked)) and not row.of_column:
        found = lookup.black_box(asked)  # has the joint interval
    else:
        found = replace(mean_estimate(cells), white_box=any(cell.white_box for cell in cells))
    return MeasuredCell(found, "" if found.ok else found.note or "not measured")


def _on_surrogates(placed: Placed, run: Run, names: tuple[str, ...], surrogate: str) -> tuple[MeasuredRow, ...]:
    """The row of the printed surrogate; where any will do, that of each, or one over all where no network judges."""
    if placed.pairing.box == "none" and placed.pairing.surrogates is None and len(names) > 1:
        return (MeasuredRow(run, "", over=names),)
    if placed.pairing.surrogates is not None and names != ("",):
        names = tuple(name for name in names if name == placed.surrogates.get(surrogate))
    return tuple(MeasuredRow(run, name) for name in names)


def _own_columns(placed: Placed, run: Run, measured: MeasuredMethod) -> MeasuredRow | None:
    """One row whose columns are the surrogates; None for a method that used none of them."""
    of_column = {key: name for key, name in placed.surrogates.items() if name in measured.surrogates}
    return MeasuredRow(run, OWN, of_column) if of_column else None


def _leave_one_out(lookup: Lookup, placed: Placed, run: Run, measured: MeasuredMethod) -> MeasuredRow | None:
    """One row over several ensembles, each of which judges the column that it leaves out; None for other runs."""
    free = {
        target: [name for name in measured.surrogates if not lookup.is_white_box(name, judge)]
        for target, judge in placed.targets.items()
    }
    if not free or any(len(names) != 1 for names in free.values()):
        return None
    of_column = {target: names[0] for target, names in free.items()}
    return MeasuredRow(run, LEFT_OUT, of_column) if len(set(of_column.values())) == len(of_column) else None
