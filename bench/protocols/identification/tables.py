"""Tables of identification: rates by target, surrogate by target, and what is left after a transform."""

from __future__ import annotations

from cloakbench.bench.core.axes import NO_BUDGET
from cloakbench.bench.plan.condition import ADVERSARY
from cloakbench.bench.protocols.identification.ranks import Ranks
from cloakbench.bench.protocols.recognition.conditions import families_of
from cloakbench.bench.protocols.recognition.rate_tables import Spread, by_budget, mean_interval, rate_number
from cloakbench.bench.report.decisions.tables import file_suffix
from cloakbench.bench.report.decisions.worst import WORST_NOTE, has_worst, published_cell, worst_cells, worst_columns
from cloakbench.bench.report.estimate import records
from cloakbench.bench.report.index import Measured, Run, is_control
from cloakbench.bench.report.interval_text import counted
from cloakbench.bench.report.labels import UNTRANSFORMED
from cloakbench.bench.report.norms import Norms
from cloakbench.bench.report.table import SMALL, Column, Number, Row, Table
from cloakbench.bench.statistics.flat_curves import flat_families

_NAME = "identification"
RULES = {
    "p1": "P1: gallery of one clean photo of the person and the distractors; every ordered pair of photos is a trial",
    "p2": "P2: gallery of the person's other clean photos and the distractors; every protected photo is a trial",
    "enrolled": "Gallery of the person's other photos as they were protected and the distractors; every clean photo is "
    "a trial. A method that the plan keeps to fewer photos of a person has fewer in the gallery than the clean row has",
}
_TITLES = {"p1": "P1", "p2": "P2", "enrolled": "protected photos enrolled"}
ALL_MATES = "; references of the person are among these photos"
_GIVEN_CLEAN = "Only probes whose clean photo the target recognised at the same rank are in n."


def identification_tables(measured: Measured, ranks: Ranks, mates: str = "probes", *, given_clean: bool) -> list[Table]:
    """Protection success by target at every depth, in the shape of FaceCloak Tables I and II.

    One table per rule and budget; those measured at least once, headline rule first. The rule of enrolled photos has no
    table of probes recognised clean.
    """
    suffix, words = ("_given_clean", ", probes recognised clean") if given_clean else ("", "")
    spreads = [
        Spread(
            protocol=_NAME,
            name=f"identification_{rule}{suffix}",
            title=f"Protection success rate (PSR, {_TITLES[rule]}{words})",
            caption=f"Per cent, higher protects more. {RULES[rule]}"
            + ALL_MATES * (rule == "p2" and mates == "all")
            + "."
            + f" {_GIVEN_CLEAN}" * given_clean,
            metrics=tuple(f"psr_{rule}_top{k}{suffix}" for k in ranks.ks),
            labels=tuple(f"Top-{k}" for k in ranks.ks),
        )
        for rule in ("p2", "p1", "enrolled")
    ]
    return by_budget(measured, spreads)


def matrix_tables(measured: Measured, ranks: Ranks) -> list[Table]:
    """Surrogate by target rates at the first depth of each method, one table per budget: what transfers where."""
    metric = ranks.first
    if metric not in measured.metrics:
        return []
    norms, tables = Norms(measured), []
    columns = [Column(f"{target}_percent", target, interval="csv") for target in measured.judges(metric)]
    for budget in measured.budgets or (NO_BUDGET,):
        rows = [
            Row(
                surrogate,
                (
                    *norms.cells(run, surrogate, budget),
                    *(rate_number(measured, metric, run, surrogate, t) for t in measured.judges(metric)),
                ),
                measured.title(run.method),
            )
            for run in measured.runs_at(budget)
            if measured.uses_surrogate(run.method)
            for surrogate in measured.surrogates_of(run)
        ]
        if rows:
            tables.append(
                Table(
                    name=f"surrogate_target{file_suffix(budget)}",
                    title=f"Surrogate by target, {budget.title}",
                    caption=f"PSR {ranks.label}, per cent. Rows: the network the method saw.",
                    stub="Surrogate",
                    columns=(*norms.columns, *columns),
                    rows=tuple(rows),
                    footnotes=norms.notes,
                    section_key="method",
                )
            )
    return tables


def flat_notes(measured: Measured, ranks: Ranks) -> tuple[str, ...]:
    """A sentence for each kind of transform that moves no method at any budget, and so tells nothing apart."""
    runs = [run for run in measured.runs if not is_control(run)]
    curves = {
        family.title: [
            [measured.black_box(ranks.first, run, condition=label).value for label, _ in family.members] for run in runs
        ]
        for family in families_of(measured, ranks.first)
    }
    return tuple(
        f"{family} moves the PSR of no method by more than {100 * shift:.1f} points at any strength: it says nothing "
        "about robustness"
        for family, shift in flat_families(curves).items()
    )


def robustness_tables(measured: Measured, ranks: Ranks) -> list[Table]:
    """Black-box mean after each transform, one table per budget; the clean row shows what a transform costs."""
    metric = ranks.first
    families = families_of(measured, metric)
    if not families or metric not in measured.metrics:
        return []
    keys = [(UNTRANSFORMED, "As published", "")]
    for family in families:
        keys += [(key, tick, family.title) for key, tick in family.members if key != UNTRANSFORMED]
    norms, tables = Norms(measured), []
    columns = *norms.columns, *(Column(f"{key}_percent", label, group, "csv") for key, label, group in keys)
    for budget in measured.budgets or (NO_BUDGET,):
        rows = [
            Row(
                measured.title(run.method),
                (
                    *norms.cells(run, beside=budget),
                    *(
                        Number.of(
                            measured.black_box(metric, run, condition=key), marks=SMALL * measured.is_small(metric, run)
                        )
                        for key, _, _ in keys
                    ),
                ),
            )
            for run in measured.runs_at(budget)
        ]
        tables.append(
            Table(
                name=f"robustness{file_suffix(budget)}",
                title=f"PSR after a transform, {budget.title}",
                caption=(
                    f"{ranks.label}, per cent, black-box mean over targets and surrogates. "
                    "Read each column against its clean row."
                ),
                stub="Method",
                columns=columns,
                rows=tuple(rows),
                footnotes=(mean_interval(measured), *norms.notes, *(f"{n}." for n in flat_notes(measured, ranks))),
            )
        )
    return tables


def worst_tables(measured: Measured) -> list[Table]:
    """The worst case of each method beside what it protects as published, one table per budget; none of one attack."""
    if not has_worst(measured, _NAME):
        return []
    first = next(line for line in records(measured.results.worst) if line["protocol"] == _NAME)
    metric, count = str(first["metric"]), int(first["n_attacks"])
    met, asked = int(first["n_judges"]), len(measured.judges(metric))
    before = "" if met == asked else f", before the {counted(met, 'target')} that met all of them"
    met_by = _attacked(measured)
    norms, tables = Norms(measured), []
    for budget in measured.budgets or (NO_BUDGET,):
        if budget not in {run.budget for run in met_by}:
            continue
        rows = [
            Row(
                measured.title(run.method),
                (
                    *norms.cells(run, beside=budget),
                    published_cell(measured, _NAME, run, SMALL * measured.is_small(metric, run)),
                    *worst_cells(measured, _NAME, run),
                ),
            )
            for run in measured.runs_at(budget)
            if run in met_by
        ]
        tables.append(
            Table(
                name=f"worst_case{file_suffix(budget)}",
                title=f"PSR against the attack that does best, {budget.title}",
                caption="Per cent, black-box mean over targets and surrogates; the least of "
                f"{count} attacks{before}. In brackets the 95 % interval. Read each row against the clean row.",
                stub="Method",
                columns=(
                    *norms.columns,
                    Column("as_published_percent", "As published", interval="always"),
                    *worst_columns(_NAME),
                ),
                rows=tuple(rows),
                footnotes=(WORST_NOTE, *norms.notes),
            )
        )
    return tables


def _attacked(measured: Measured) -> set[Run]:
    """Who has a worst case, and who met an adversary and has none, for want of a number."""
    found = {Run.of(line) for line in records(measured.results.worst) if line["protocol"] == _NAME}
    adverse = {line["label"] for line in records(measured.results.conditions) if line["family"] == ADVERSARY}
    own = [cell for cell in measured.cells if cell.place.protocol == _NAME]
    return found | {cell.run for cell in own if cell.place.condition in adverse}
