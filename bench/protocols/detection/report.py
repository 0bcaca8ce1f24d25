"""Report of detection: one table, and what looks wrong in it."""

from __future__ import annotations

from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.labels import CLEAN
from cloakbench.bench.report.norms import Norms
from cloakbench.bench.report.section import Section
from cloakbench.bench.report.table import SMALL, Column, Number, Row, Table, trials_text

NAME = "detection"
_ALARMED = 5.0
"""Times the false positive rate that was asked for, above which the threshold does not suit the people judged."""


def detection_section(measured: Measured, title: str) -> Section:
    """How often each method is told from clean photos."""
    table = detection_table(measured)
    return Section(title, (table,) if table else (), shows=measured.places(NAME))


def detection_table(measured: Measured) -> Table | None:
    """A row for each method at each budget, means over its surrogates and over detectors."""
    metrics = [metric for metric in measured.results.declared(NAME) if metric.name in measured.metrics]
    if not metrics:
        return None
    norms, rows = Norms(measured), []
    for run in measured.runs:
        estimates = [measured.black_box(metric.name, run) for metric in metrics]
        few = SMALL * measured.is_small(metrics[0].name, run)
        numbers = [
            Number.of(estimate, metric.scale, metric.decimals, few)
            for metric, estimate in zip(metrics, estimates, strict=True)
        ]
        rows.append(Row(measured.title(run.method), (norms.ball(run), trials_text(estimates[:1]), *numbers)))
    columns = (Column("epsilon_255", "ε (grey levels)"), Column("n", "n"))
    return Table(
        name=NAME,
        title="Who can tell that a photo is protected",
        caption="Rates in per cent, in brackets the 95 % interval over people. A small classifier for each method and "
        "budget, which learnt from other people; its threshold comes from strangers' clean photos. The clean row is "
        "what guessing gives: an AUC of one half, and as many detections as false alarms.",
        stub="Method",
        columns=(
            *columns,
            *(
                Column(f"{metric.name}{'_percent' * (metric.kind == 'rate')}", metric.heading, interval="always")
                for metric in metrics
            ),
        ),
        rows=tuple(rows),
        footnotes=tuple(
            f"{metric.title}: {'share of' if metric.kind == 'rate' else 'over'} {metric.denominator}."
            for metric in metrics
        ),
    )


def detection_checks(measured: Measured, false_positive_rate: float) -> list[str]:
    """A sentence where the clean row is told from itself, or where false alarms are far above what was asked for."""
    flags = []
    for run in measured.runs:
        area, alarms = (measured.black_box(name, run) for name in ("detection_auc", "false_alarms"))
        if run.method == CLEAN and area.ok and not area.low <= 0.5 <= area.high:
            flags.append(
                f"{measured.name(run)}: a detector tells clean photos from themselves, AUC {area.value:.3f}: something "
                "but the photos reaches it"
            )
        elif alarms.ok and alarms.low > _ALARMED * false_positive_rate:
            flags.append(
                f"{measured.name(run)}: the detector takes {100 * alarms.value:.1f} % of clean photos for protected "
                f"at a threshold for {100 * false_positive_rate:g} %: strangers are another sort of photos"
            )
    return flags
