"""Report of poisoning: table and figure in the shape of the survey's Fig. 2, checks, headline.

The first scenario of a run, its first regime without unprotected photos, is the one that is headlined.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from cloakbench.bench.protocols.poisoning.figures import poisoning_figure
from cloakbench.bench.protocols.poisoning.index import NAME, Poisoned, Protected, guessing
from cloakbench.bench.protocols.poisoning.rates import PSR, SEED_SD, TRAIN_ACCURACY
from cloakbench.bench.protocols.poisoning.scenarios import scenario_name
from cloakbench.bench.report.index import Estimate, Measured, Run, records, text
from cloakbench.bench.report.labels import CLEAN
from cloakbench.bench.report.results import Results
from cloakbench.bench.report.section import FigureSpec, Headline, HeadlineRow, Quantity, Section
from cloakbench.bench.report.table import SAME_FAMILY, Column, Number, Row, Table

POOR_ATTACKER = 0.4
"""Clean PSR above this is suspicious: the attacker is too weak, or its training too short."""
LEAKAGE = "Effective for out-of-distribution data leakage"
"""The survey's question, as its Table II heads it."""
_SSIM = "ssim"


def poisoning_section(measured: Measured, title: str) -> Section:
    """The table and the figure."""
    table = poisoning_table(measured.results)
    figure = FigureSpec(
        "poisoning",
        partial(poisoning_figure, measured),
        "Classifiers trained on protected photos and tested on clean ones, as in the survey's Fig. 2: PSR, mean over "
        "attackers with 95 % interval, a mark per attacker; and the same PSR over SSIM.",
    )
    shows = measured.places(NAME, {PSR, SEED_SD, TRAIN_ACCURACY, _SSIM})
    return Section(title, (table,) if table else (), (figure,), shows=shows)


def poisoning_headline(results: Results) -> Headline | None:
    """PSR of every published set, mean over attackers in the first scenario; None without any."""
    poisoned = Poisoned(results)
    if not poisoned.rows or not poisoned.scenarios:
        return None
    psr = Quantity("poisoning_psr", "PSR")
    ssim = Quantity(_SSIM, "SSIM", is_rate=False, decimals=3, on_screen=False, curve=False)
    scenario = scenario_name(poisoned.scenarios[0]).lower()
    return Headline(
        "poisoning, protection success rate, %",
        f"{scenario}, mean over {len(poisoned.attackers)} attackers; ± half of the 95 % interval; – no value",
        "classifiers trained on the protected photos, mean over attackers",
        tuple(
            HeadlineRow(row.run, row.surrogate, {psr: poisoned.headline(PSR, row), ssim: poisoned.quality(_SSIM, row)})
            for row in poisoned.rows
        ),
        "PSR, %",
    )


def poisoning_evidence(results: Results, method: str) -> Mapping[str, str]:
    """PSR with a leaked share of clean photos beside that without; standard training."""
    poisoned = Poisoned(results)
    rows = [row for row in poisoned.rows if row.run.method == method]
    for row in reversed(rows):
        for scenario, attacker in poisoned.columns():
            regime, leaked, share = scenario.partition("_unprotected_")
            rate = poisoned.cell(PSR, row, attacker, scenario)
            if leaked and rate is not None and rate.ok:
                without = poisoned.cell(PSR, row, attacker, regime)
                words = f"PSR {_words(rate)} with {100 * float(share):g} % leaked (n {rate.n})"
                known = without is not None and without.ok
                return {LEAKAGE: words + (f", {_words(without)} with none" if known and without else "")}
    return {}


def poisoning_table(results: Results) -> Table | None:
    """PSR by regime, unprotected share and attacker; SSIM; what the search said of itself."""
    poisoned = Poisoned(results)
    if not poisoned.rows:
        return None
    columns, rows = poisoned.columns(), []
    converged = _converged(results)
    for row in poisoned.rows:
        cells = [poisoned.cell(PSR, row, attacker, scenario) for scenario, attacker in columns]
        mean = poisoned.headline(PSR, row)
        spreads = [poisoned.cell(SEED_SD, row, attacker, scenario) for scenario, attacker in columns]
        spread = [cell.value for cell in spreads if cell is not None and cell.ok]
        learnt = poisoned.headline(TRAIN_ACCURACY, row)
        ssim = poisoned.quality(_SSIM, row)
        n = max((cell.n for cell in cells if cell is not None and cell.ok), default=0)
        rows.append(
            Row(
                row.label,
                (
                    row.run.budget.text,
                    *(_percent(cell) for cell in cells),
                    _percent(mean),
                    Number(100 * max(spread)) if spread else "",
                    Number(100 * learnt.value) if learnt.ok else Number(),
                    Number(ssim.value, ssim.low, ssim.high, 3) if ssim.ok else Number(),
                    converged.get(row, ""),
                    str(n) if n else "–",
                ),
            )
        )
    known = guessing(results.setup)
    chance = f" An attacker who guesses scores {known:.1f}." if known else ""
    return Table(
        name="poisoning",
        title="Poisoning: protection success rate (PSR)",
        caption=(
            "Per cent, higher protects more: share of clean test photos that a classifier names wrongly after training "
            f"from scratch on protected photos of the same people, mean over seeds.{chance}"
        ),
        stub="Method",
        columns=(
            Column("epsilon_255", "ε (grey levels)"),
            *(Column(f"{s}_{a}_percent", a, scenario_name(s), "csv") for s, a in columns),
            Column("mean_percent", f"Mean, {scenario_name(poisoned.scenarios[0]).lower()}", "", "always"),
            Column("seed_sd_points", "Seed sd, largest"),
            Column("train_accuracy_percent", "Train accuracy"),
            Column(_SSIM, "SSIM ↑", "", "csv"),
            Column("converged", "Converged"),
            Column("n", "n"),
        ),
        rows=tuple(rows),
        footnotes=(
            "n counts test photos, each tested by every seed. Intervals: bootstrap over people; that of a mean has the "
            "means of its cells' ends.",
            "Converged: the search for the noise met its stop error; empty for methods that have none.",
            "Unprotected: that share of each person's photos was published as it was.",
        ),
    )


def poisoning_checks(results: Results) -> list[str]:
    """One sentence per suspicion: an attacker who learns little even from clean photos, a search that gave up."""
    poisoned, flags = Poisoned(results), []
    for row in poisoned.rows:
        for scenario, attacker in poisoned.columns() if row.run.method == CLEAN else ():
            rate = poisoned.cell(PSR, row, attacker, scenario)
            if rate is not None and rate.ok and rate.value > POOR_ATTACKER:
                flags.append(
                    f"{attacker} ({scenario_name(scenario).lower()}) misnames {100 * rate.value:.1f} % of the test "
                    "photos after training on clean ones: its other rates say little"
                )
    flags += [
        f"{row.label} at {row.run.budget.title}: the search for the noise did not reach its stop error"
        for row, converged in _converged(results).items()
        if converged == "no"
    ]
    return flags


def _percent(cell: Estimate | None) -> Number | str:
    if cell is None:
        return ""
    if not cell.ok:
        return Number()
    return Number(100 * cell.value, 100 * cell.low, 100 * cell.high, 1, SAME_FAMILY * cell.same_family)


def _words(rate: Estimate) -> str:
    return f"{100 * rate.value:.1f} ±{50 * (rate.high - rate.low):.1f} %"


def _converged(results: Results) -> dict[Protected, str]:
    if "converged" not in results.costs:
        return {}
    return {
        Protected(Run.of(line), text(line["surrogate"])): text(line["converged"])
        for line in records(results.costs)
        if text(line.get("publication")) == NAME
    }
