"""`who_knows`: what each judge says of the photos that a report shows, and the mean of it.

Judges that hold weights of the surrogate are told apart, as everywhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from cloakbench.bench.core.axes import BudgetSize
from cloakbench.bench.report.estimate import records, text
from cloakbench.bench.report.index import Measured, Run

Answers = Mapping[tuple[str, str, Run, str], list[dict[str, Any]]]
"""By publication, photo, method and surrogate: what each judge says."""


def run_of(measured: Measured, label: str) -> tuple[Run, str]:
    """Method at its budget and surrogate of an example's label, such as ``pgd 8/255`` or ``veil on arcface_ir``.

    A label without a surrogate is of the first one that the run used, or of none.
    """
    known = {cell.surrogate for cell in measured.cells if cell.surrogate}
    before, _, named = label.rpartition(" on ")
    surrogate = named if before and named in known else ""
    told = re.fullmatch(r"(.*) (\d[\d.]*)/255", before if surrogate else label)
    run = Run(told[1], BudgetSize(float(told[2]))) if told else Run(before if surrogate else label)
    if not surrogate and measured.uses_surrogate(run.method):
        surrogate = measured.surrogates_of(run)[0]
    elif not surrogate:
        own = [cell.surrogate for cell in measured.cells if cell.run == run and cell.surrogate]
        surrogate = own[0] if own else ""
    return run, surrogate


def who_knows(measured: Measured) -> Answers:
    """By publication, photo, method and surrogate: each judge, in the order of the model cards."""
    found: dict[tuple[str, str, Run, str], list[dict[str, Any]]] = {}
    judges = measured.in_order(measured.results.sightings["judge"])
    for line in sorted(records(measured.results.sightings), key=lambda line: judges.index(line["judge"])):
        surrogate = text(line["surrogate"])
        key = (measured.publication(line["protocol"]), line["image_id"], Run.of(line), surrogate)
        answer = {name: _flag(line[name]) for name in ("recognised", "recognised_clean")}
        likeness = {name: _cosine(line[name]) for name in ("similarity", "bar")}
        white = measured.is_white_box(surrogate, line["judge"])
        found.setdefault(key, []).append({"judge": line["judge"], **answer, **likeness, "white": white})
    return found


def _flag(value: Any) -> bool | None:
    return None if pd.isna(value) else bool(value)


def _cosine(value: float) -> float | None:
    return None if pd.isna(value) else round(float(value), 3) + 0.0


def mean_similarity(answers: list[dict[str, Any]]) -> float:
    """Mean cosine, to the photos of the person, that judges without the surrogate's weights find; NaN where none was
    asked, or one has no answer."""
    told = [one["similarity"] for one in answers if not one["white"]]
    return math.nan if not told or None in told else math.fsum(told) / len(told)
