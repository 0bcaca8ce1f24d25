"""FaceCloak's printed Tables I and II beside the same methods measured here."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cloakbench.bench.report.index import Estimate, Measured, Run
from cloakbench.bench.report.labels import budget_name, method_name
from cloakbench.bench.report.reported import (
    FACECLOAK_TABLES,
    comparability,
    load_reported,
    surrogate_matches,
    target_matches,
)
from cloakbench.bench.report.table import Column, Number, Row, Table

MEASURED_RULE = "p1"
"""The cited papers' code tests pairs, as P1 does (FaceCloak's text describes P2)."""
BUDGET_255 = 8.0
"""The budget at which the cited papers compare."""
_TOPS = (1, 5)
_CAVEATS = (
    "The reported averages are FaceCloak's: over all six columns, the one named like the surrogate included.",
    "FaceCloak cites these rows from the methods' papers. Table I probably mixes up its surrogate labels: the log "
    "released with OPOM gives for the Softmax surrogate what Table I prints for ArcFace.",
)


@dataclass(frozen=True)
class Pairing:
    """What stands beside what.

    Attributes:
        runs: measured methods that FaceCloak prints too.
        surrogates, targets: FaceCloak's key to our model.
        printed: (table, surrogate, method, target, metric) to the printed per cent.
    """

    runs: tuple[Run, ...]
    surrogates: dict[str, str]
    targets: dict[str, str]
    printed: dict[tuple[str, ...], float]


def reported_tables(measured: Measured) -> list[Table]:
    """Paired rows for reading, and every pair with its difference for computing. Empty when nothing pairs."""
    surrogates = surrogate_matches(measured.results.models)
    targets = target_matches(measured.results.models)
    if f"psr_{MEASURED_RULE}_top1" not in measured.metrics or not surrogates or not targets:
        return []
    printed = _printed()
    keys = {method for _, _, method, _, _ in printed}
    runs = [run for run in measured.runs if run.method in keys and run.epsilon_255 == BUDGET_255]
    if not runs:
        return []
    pairing = Pairing(tuple(runs), surrogates, targets, printed)
    return [_paired(measured, pairing), _differences(measured, pairing)]


def _printed() -> dict[tuple[str, ...], float]:
    """FaceCloak Tables I and II: (table, surrogate, method, target, metric) to the printed per cent."""
    return {
        (line["table"], line["surrogate"], line["method"], line["target"], line["metric"]): line["value"]
        for line in load_reported().to_dict("records")
        if line["paper"] == "facecloak" and line["table"] in FACECLOAK_TABLES
    }


def _paired(measured: Measured, pairing: Pairing) -> Table:
    columns = [Column(f"{key}_top{k}_percent", f"Top-{k}", key, "csv") for key in pairing.targets for k in _TOPS]
    columns += [Column(f"mean_top{k}_percent", f"Top-{k}", "Mean", "csv") for k in _TOPS]
    rows = []
    for reported_surrogate, surrogate in pairing.surrogates.items():
        section = f"Surrogate: {reported_surrogate} (here {surrogate})"
        for run in pairing.runs:
            cells = [measured.cell(_metric(k), run, surrogate, t) for t in pairing.targets.values() for k in _TOPS]
            cells += [measured.black_box(_metric(k), run, surrogate) for k in _TOPS]
            rows.append(Row(f"{method_name(run.method)}, measured", tuple(_percent(cell) for cell in cells), section))
            for table, (numeral, _) in FACECLOAK_TABLES.items():
                values = [
                    Number(
                        pairing.printed.get((table, reported_surrogate, run.method, target, f"psr_top{k}"), math.nan)
                    )
                    for target in (*pairing.targets, "average")
                    for k in _TOPS
                ]
                rows.append(Row(f"reported, Table {numeral}", tuple(values), section))
    stand_ins = ", ".join(f"{key}: {name}" for key, name in pairing.targets.items())
    status = "; ".join(
        f"Table {numeral} ({dataset}): {comparability(measured.results.dataset, dataset)}"
        for numeral, dataset in FACECLOAK_TABLES.values()
    )
    return Table(
        name="reported_beside_measured",
        title=f"Reported beside measured, {budget_name(BUDGET_255)}",
        caption="PSR in per cent, measured by rule P1. Mean: black-box here, over all columns in FaceCloak's tables.",
        stub="Method",
        columns=tuple(columns),
        rows=tuple(rows),
        footnotes=(f"Comparability. {status}.", f"Columns, reported name: measured model. {stand_ins}.", *_CAVEATS),
        section_key="surrogate",
    )


def _differences(measured: Measured, pairing: Pairing) -> Table:
    rows = []
    for reported_surrogate, surrogate in pairing.surrogates.items():
        for run in pairing.runs:
            for table, (numeral, dataset) in FACECLOAK_TABLES.items():
                for key, target in pairing.targets.items():
                    for k in _TOPS:
                        ours = _percent(measured.cell(_metric(k), run, surrogate, target))
                        theirs = pairing.printed.get(
                            (table, reported_surrogate, run.method, key, f"psr_top{k}"), math.nan
                        )
                        cells = (surrogate, target, f"Table {numeral}", f"Top-{k}", ours, Number(theirs))
                        difference = Number(ours.value - theirs)
                        rows.append(
                            Row(
                                method_name(run.method),
                                (*cells, difference, comparability(measured.results.dataset, dataset)),
                            )
                        )
    return Table(
        name="reported_differences",
        title=f"Measured minus reported, {budget_name(BUDGET_255)}",
        caption="PSR in per cent (P1) and percentage points.",
        stub="Method",
        columns=(
            Column("surrogate", "Surrogate"),
            Column("target", "Target"),
            Column("facecloak_table", "FaceCloak"),
            Column("top", "Rank"),
            Column("measured_percent", "Measured", interval="csv"),
            Column("reported_percent", "Reported"),
            Column("difference_points", "Difference"),
            Column("status", "Comparability"),
        ),
        rows=tuple(rows),
    )


def _metric(k: int) -> str:
    return f"psr_{MEASURED_RULE}_top{k}"


def _percent(cell: Estimate) -> Number:
    return Number(100 * cell.value, 100 * cell.low, 100 * cell.high) if cell.ok else Number()
