"""Report of poisoning: table and figure in the shape of the survey's Fig. 2, checks, headline.

The first scenario of a run, its first regime without unprotected photos, is the one that is headlined.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from cloakbench.bench.core.axes import NO_BUDGET
from cloakbench.bench.protocols.poisoning.index import NAME, Poisoned, ProtectedRow, guessing
from cloakbench.bench.protocols.poisoning.rates import METRICS, PSR, SEED_SD, TRAIN_ACCURACY
from cloakbench.bench.protocols.poisoning.scenarios import scenario_name, scenario_of
from cloakbench.bench.protocols.quality.report import SSIM, SSIM_BESIDE
from cloakbench.bench.report.decisions.ranking import Ranking, identical_notes, ranking_of
from cloakbench.bench.report.decisions.tables import TIES, TIES_NOTE, paired_tables, ties
from cloakbench.bench.report.estimate import records, text
from cloakbench.bench.report.index import Measured, Place, Run, is_control
from cloakbench.bench.report.interval_text import p_text
from cloakbench.bench.report.labels import CLEAN, RANDOM_SIGN
from cloakbench.bench.report.norms import Norms
from cloakbench.bench.report.results import Results
from cloakbench.bench.report.section import FigureSpec, Headline, HeadlineRow, Quantity, Section
from cloakbench.bench.report.table import BUDGET, Cell, Column, Number, Row, Table, cell_marks, columns, trials_text
from cloakbench.bench.report.tables_methods import LEAKAGE

POOR_ATTACKER = 0.4
"""Clean PSR above this is suspicious: the attacker is too weak, or its training too short."""
_CAVEATS = (
    "An attacker who trains longer, on more photos or otherwise may learn what these did not: read each rate against "
    "the clean row and against guessing.",
)
_PSR = next(metric for metric in METRICS if metric.name == PSR)


def poisoning_section(measured: Measured, title: str) -> Section:
    """The table and the figure."""
    from cloakbench.bench.protocols.poisoning.figures import poisoning_figure  # brings matplotlib

    table = poisoning_table(measured)
    compared = _compared(measured)
    figure = FigureSpec(
        "poisoning",
        partial(poisoning_figure, measured),
        "Classifiers trained on protected photos and tested on clean ones, as in the survey's Fig. 2: PSR of each "
        "attacker with its 95 % interval, and picture quality.",
    )
    shows = measured.places(NAME, {PSR, SEED_SD, TRAIN_ACCURACY, SSIM})
    return Section(title, (*([table] if table else []), *compared), (figure,), shows=shows)


def _compared(measured: Measured) -> list[Table]:
    """Neighbours of the ranking in the first scenario."""
    scenarios = Poisoned(measured).scenarios
    if not scenarios:
        return []
    metric = replace(_PSR, title=f"{_PSR.title}, {scenario_name(scenarios[0]).lower()}")
    return paired_tables(measured, NAME, metric, scenarios[0])[0]


def _ranking(results: Results, poisoned: Poisoned) -> Ranking | None:
    if not poisoned.scenarios:
        return None
    return ranking_of(results, Place(NAME, PSR, poisoned.scenarios[0]), NO_BUDGET, "")


def poisoning_headline(measured: Measured) -> Headline | None:
    """PSR of every published set, mean over attackers in the first scenario; None without any."""
    poisoned = Poisoned(measured)
    if not poisoned.rows or not poisoned.scenarios:
        return None
    psr = Quantity("poisoning_psr", "PSR")
    scenario = scenario_name(poisoned.scenarios[0]).lower()
    return Headline(
        "poisoning, protection success rate, %",
        f"{scenario}, mean over {len(poisoned.attackers)} attackers; in brackets the 95 % interval; – no value",
        "classifiers trained on the protected photos, mean over attackers",
        tuple(
            HeadlineRow(
                row.run, row.surrogate, {psr: poisoned.headline(PSR, row), SSIM_BESIDE: poisoned.quality(SSIM, row)}
            )
            for row in poisoned.rows
        ),
        "PSR, %",
        metric=PSR,
        condition=poisoned.scenarios[0],
        caveats=_CAVEATS,
    )


def poisoning_evidence(measured: Measured, method: str) -> Mapping[str, str]:
    """PSR with a leaked share of clean photos beside that without; standard training."""
    poisoned = Poisoned(measured)
    rows = [row for row in poisoned.rows if row.run.method == method]
    for row in reversed(rows):
        for scenario, attacker in poisoned.columns:
            regime, share = scenario_of(scenario)
            rate = poisoned.cell(PSR, row, attacker, scenario)
            if share and rate is not None and rate.ok:
                without = poisoned.cell(PSR, row, attacker, regime)
                words = f"PSR {Number.of(rate).words()} % with {100 * share:g} % leaked into training (n {rate.n})"
                known = without is not None and without.ok
                return {LEAKAGE: words + (f", {Number.of(without).words()} % with none" if known and without else "")}
    return {}


def poisoning_table(measured: Measured) -> Table | None:
    """PSR by regime, unprotected share and attacker; tie groups; SSIM; what the search said of itself."""
    poisoned = Poisoned(measured)
    if not poisoned.rows:
        return None
    ranking = _ranking(measured.results, poisoned)
    converged = _converged(measured.results)
    norms = Norms(measured, measured.publication(NAME))
    known = guessing(measured.results.setup)
    return Table(
        name="poisoning",
        title="Poisoning: protection success rate (PSR)",
        caption="Per cent, higher protects more: share of clean test photos that a classifier names wrongly after "
        "training from scratch on protected photos of the same people, mean over seeds."
        + f" An attacker who guesses scores {known:.1f}."
        * bool(known),
        stub="Method",
        columns=(
            BUDGET,
            *norms.columns,
            *(Column(f"{s}_{a}_percent", a, scenario_name(s), "csv") for s, a in poisoned.columns),
            Column("mean_percent", f"Mean, {scenario_name(poisoned.scenarios[0]).lower()}", "", "always"),
            *([TIES] if ranking else []),
            *columns(seed_sd_points="Seed sd, largest", train_accuracy_percent="Train accuracy"),
            Column(SSIM, "SSIM ↑", "", "csv"),
            *columns(converged="Converged", n="n"),
        ),
        rows=tuple(Row(poisoned.label(row), _cells(poisoned, row, norms, ranking, converged)) for row in poisoned.rows),
        footnotes=(
            "n counts test photos, each tested by every seed. Intervals: bootstrap over people"
            + (", one for all cells of a mean." if ranking else "; that of a mean has the means of its cells' ends."),
            *([TIES_NOTE.format(label="the mean")] if ranking else []),
            *identical_notes(measured, NAME),
            *norms.notes,
            "Converged: the search for the noise met its stop error; empty for methods that have none.",
            "Unprotected: that share of each person's photos was published as it was.",
        ),
    )


def _cells(
    poisoned: Poisoned,
    row: ProtectedRow,
    norms: Norms,
    ranking: Ranking | None,
    converged: Mapping[ProtectedRow, str],
) -> tuple[Cell, ...]:
    cells = [poisoned.cell(PSR, row, attacker, scenario) for scenario, attacker in poisoned.columns]
    spreads = [poisoned.cell(SEED_SD, row, attacker, scenario) for scenario, attacker in poisoned.columns]
    spread = [cell.value for cell in spreads if cell is not None and cell.ok]
    return (
        norms.ball(row.run),
        *norms.cells(row.run, row.surrogate),
        *("" if cell is None else Number.of(cell, marks=cell_marks(cell)) for cell in cells),
        Number.of(poisoned.headline(PSR, row)),
        *([ties(ranking, row.run, row.surrogate)] if ranking else []),
        Number(100 * max(spread)) if spread else "",
        Number.of(poisoned.headline(TRAIN_ACCURACY, row)),
        Number.of(poisoned.quality(SSIM, row), 1, 3),
        converged.get(row, ""),
        trials_text(cell for cell in cells if cell is not None),
    )


def poisoning_checks(measured: Measured) -> list[str]:
    """One sentence per suspicion: an attacker who learns little even from clean photos, a search that gave up."""
    poisoned, flags = Poisoned(measured), []
    for row in poisoned.rows:
        for scenario, attacker in poisoned.columns if row.run.method == CLEAN else ():
            rate = poisoned.cell(PSR, row, attacker, scenario)
            if rate is not None and rate.ok and rate.value > POOR_ATTACKER:
                flags.append(
                    f"{attacker} ({scenario_name(scenario).lower()}) misnames {100 * rate.value:.1f} % of the test "
                    "photos after training on clean ones: its other rates say little"
                )
    flags += _not_above_control(measured.results, poisoned)
    flags += [
        f"{poisoned.label(row)} at {row.run.budget.title}: the search for the noise did not reach its stop error"
        for row, converged in _converged(measured.results).items()
        if converged == "no"
    ]
    return flags


def _not_above_control(results: Results, poisoned: Poisoned) -> list[str]:
    """Methods that were not told apart from random signs at their budget, or do worse; by the clean photos without."""
    ranking, flags = _ranking(results, poisoned), []
    by_run = {row.run: row for row in poisoned.rows if is_control(row.run)}
    for row in poisoned.rows:
        control = by_run.get(Run(RANDOM_SIGN, row.run.budget), by_run.get(Run(CLEAN)))
        if is_control(row.run) or control is None:
            continue
        own, beside = poisoned.headline(PSR, row), poisoned.headline(PSR, control)
        compared = ranking.comparison(row.run, control.run, row.surrogate) if ranking else None
        above = own.value > beside.value and (compared is None or compared.decided)
        if own.ok and beside.ok and not above:
            flags.append(
                f"{poisoned.label(row)} at {row.run.budget.title} does not poison: PSR "
                f"{100 * own.value:.1f} % is not above {100 * beside.value:.1f} % of its control, "
                f"{poisoned.label(control)}" + (f" (p {p_text(compared.p_holm)} after Holm)" if compared else "")
            )
    return flags


def _converged(results: Results) -> dict[ProtectedRow, str]:
    if "converged" not in results.costs:
        return {}
    return {
        ProtectedRow(Run.of(line), text(line["surrogate"])): text(line["converged"])
        for line in records(results.costs)
        if text(line.get("publication")) == NAME
    }
