"""Paired rows: the measured numbers that stand beside a row of a printed table, or the reason why none does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import CellPlace, Place, Run
from cloakbench.bench.report.reported.cards import assign
from cloakbench.bench.report.reported.lookup import Lookup, NotComparableError
from cloakbench.bench.report.reported.pairings import AVERAGE, NOT_APPLICABLE, Pairing

NOT_BLACK = "the only network left for this name is the surrogate itself"
NOT_WHITE = "black-box here, white-box in the paper"


@dataclass(frozen=True)
class Placed:
    """A pairing on the networks of a run: printed surrogate and printed target to model."""

    pairing: Pairing
    surrogates: Mapping[str, str]
    targets: Mapping[str, str]


@dataclass(frozen=True)
class MeasuredRow:
    """A measured method that stands beside a printed row, on one surrogate (empty for methods without one)."""

    run: Run
    surrogate: str


@dataclass(frozen=True)
class MeasuredCell:
    """What stands beside one printed cell; without a value it has a reason."""

    estimate: Estimate
    why_not: str = ""


def place(pairing: Pairing, models: pd.DataFrame) -> Placed:
    """Choose the run's networks for a pairing. Black-box columns take a surrogate only where nothing else fits."""
    if pairing.surrogates is None:
        surrogates: dict[str, str] = {}
        avoid = {name for name, roles in zip(models["name"], models["roles"], strict=True) if "surrogate" in roles}
    else:
        surrogates = assign(models, pairing.surrogates, role="surrogate")
        avoid = set(surrogates.values())
    targets = assign(models, pairing.targets, avoid if pairing.box == "black" else ())
    return Placed(pairing, surrogates, targets)


def rows_beside(lookup: Lookup, placed: Placed, method: str, surrogate: str) -> tuple[tuple[MeasuredRow, ...], str]:
    """The measured rows beside a printed row, or why there is none.

    Args:
        lookup: the run.
        placed: the pairing on its networks.
        method: printed method.
        surrogate: printed surrogate.
    """
    pairing = placed.pairing
    if method not in pairing.methods:
        return (), pairing.why_not[method]
    paired = pairing.methods[method]
    try:
        measured = lookup.find(pairing.protocol, paired.method, paired.budget, targeted=pairing.targeted)
    except NotComparableError as reason:
        return (), str(reason)
    if pairing.surrogates is None or measured.surrogates == ("",):
        return tuple(MeasuredRow(paired, name) for name in measured.surrogates), ""
    if surrogate not in placed.surrogates:
        return (), "no such surrogate in this run"
    if (name := placed.surrogates[surrogate]) not in measured.surrogates:
        return (), f"not measured on {name}"
    return (MeasuredRow(paired, name),), ""


def measured_cell(lookup: Lookup, placed: Placed, row: MeasuredRow, target: str, metric: str) -> MeasuredCell:
    """What stands beside one printed cell: never a white-box rate beside a black-box one, nor the reverse.

    Args:
        lookup: the run.
        placed: the pairing on its networks.
        row: of `rows_beside`.
        target: printed target; ``average`` for the mean over the run's judges that are not the surrogate.
        metric: printed metric.
    """
    pairing = placed.pairing
    if metric not in pairing.metrics:
        return MeasuredCell(Estimate(), pairing.why_not[metric])
    asked = CellPlace(Place(pairing.protocol, pairing.metrics[metric], pairing.condition), row.run, row.surrogate)
    if target == AVERAGE:
        found = lookup.black_box(asked) if pairing.box == "black" else Estimate()
    elif target == NOT_APPLICABLE:
        found = lookup.rate(asked)
    elif target not in placed.targets:
        return MeasuredCell(Estimate(), "no such network in this run")
    else:
        found = lookup.rate(asked._replace(judge=placed.targets[target]))
        if found.ok and found.white_box != (pairing.box == "white"):
            return MeasuredCell(Estimate(), NOT_BLACK if found.white_box else NOT_WHITE)
    return MeasuredCell(found, "" if found.ok else found.note or "not measured")
