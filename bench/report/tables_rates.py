"""Tables of rates: identification and verification by target, the surrogate by target matrix, robustness."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cloakbench.bench.report.index import Estimate, Measured, Run, is_control
from cloakbench.bench.report.labels import (
    FARS,
    UNTRANSFORMED,
    budget_name,
    method_name,
    strength_name,
    transform_families,
    transform_family,
)
from cloakbench.bench.report.table import SAME_FAMILY, SOME_FAILED, WHITE_BOX, Column, Number, Row, Table

RULES = {
    "p1": "P1: gallery of one clean photo of the person and the distractors; every ordered pair of photos is a trial",
    "p2": "P2: gallery of the person's other clean photos and the distractors; every protected photo is a trial",
}
GIVEN_CLEAN = "Only probes whose clean photo the target recognised at the same rank are in n."
MEAN_INTERVAL = (
    "± is half the width of the 95 % interval (bootstrap over identities); every interval is in the CSV file. "
    "The interval of a mean has the means of its cells' ends and is rather too wide than too narrow."
)
SAME_TARGETS = "The means of the rows without a surrogate leave out the same targets as the block they stand in."


@dataclass(frozen=True)
class Spread:
    """The sub-columns that every target of a table has: metrics and how they are headed."""

    name: str
    title: str
    caption: str
    metrics: tuple[str, ...]
    labels: tuple[str, ...]


def identification_tables(measured: Measured) -> list[Table]:
    """Top-1 and Top-5 protection success by target, in the shape of FaceCloak Tables I and II.

    One table per rule, denominator and budget; those measured at least once, headline rule first.
    """
    spreads = []
    for given_clean in ("", "_given_clean"):
        for rule in ("p2", "p1"):
            suffix = ", probes recognised clean" if given_clean else ""
            spreads.append(
                Spread(
                    name=f"identification_{rule}{given_clean}",
                    title=f"Protection success rate (PSR, {rule.upper()}{suffix})",
                    caption=f"Per cent, higher protects more. {RULES[rule]}." + f" {GIVEN_CLEAN}" * bool(given_clean),
                    metrics=tuple(f"psr_{rule}_top{k}{given_clean}" for k in (1, 5)),
                    labels=("Top-1", "Top-5"),
                )
            )
    return _by_budget(measured, spreads)


def verification_tables(measured: Measured) -> list[Table]:
    """Dodging and impersonation rates at the calibrated false accept rates, by target."""
    meanings = {
        "dodging": "share of genuine pairs (protected, clean) that the target rejects",
        "impersonation": "share of protected photos that the target accepts as the chosen other person",
    }
    spreads = [
        Spread(
            name=f"verification_{kind}{given_clean}",
            title=f"{kind.capitalize()} rate" + " (pairs accepted clean)" * bool(given_clean),
            caption=f"Per cent: {meaning}, at false accept rates {', '.join(FARS)}.",
            metrics=tuple(f"{kind}_far_{far}{given_clean}" for far in FARS),
            labels=tuple(f"FAR {far}" for far in FARS),
        )
        for given_clean in ("", "_given_clean")
        for kind, meaning in meanings.items()
    ]
    return _by_budget(measured, spreads)


def matrix_tables(measured: Measured) -> list[Table]:
    """Surrogate by target Top-1 rates of each method, one table per budget: what transfers where."""
    metric = f"psr_{measured.rule}_top1"
    if metric not in measured.metrics:
        return []
    columns = [Column(f"{target}_percent", target, interval="csv") for target in measured.targets]
    tables = []
    for epsilon in measured.budgets or (None,):
        rows = [
            Row(
                surrogate,
                tuple(_rate(measured, metric, run, surrogate, t) for t in measured.targets),
                method_name(run.method),
            )
            for run in measured.runs_at(epsilon)
            if measured.uses_surrogate(run.method)
            for surrogate in measured.surrogates_of(run)
        ]
        if rows:
            tables.append(
                Table(
                    name=f"surrogate_target{_suffix(epsilon)}",
                    title=f"Surrogate by target, {budget_name(epsilon)}",
                    caption=f"PSR Top-1 ({measured.rule.upper()}), per cent. Rows: the network the method saw.",
                    stub="Surrogate",
                    columns=tuple(columns),
                    rows=tuple(rows),
                    section_key="method",
                )
            )
    return tables


def robustness_tables(measured: Measured) -> list[Table]:
    """Black-box mean Top-1 after each transform, one table per budget; the clean row shows what a transform costs."""
    metric = f"psr_{measured.rule}_top1"
    families = transform_families(measured.transforms)
    if not families or metric not in measured.metrics:
        return []
    keys = [(UNTRANSFORMED, "As published", "")]
    for family, members in families.items():
        for key in members:
            if key != UNTRANSFORMED:
                keys.append((key, strength_name(key), transform_family(family).label))
    columns = tuple(Column(f"{key}_percent", label, group, "csv") for key, label, group in keys)
    tables = []
    for epsilon in measured.budgets or (None,):
        rows = [
            Row(
                method_name(run.method),
                tuple(_number(measured.black_box_overall(metric, run, key)) for key, _, _ in keys),
            )
            for run in measured.runs_at(epsilon)
        ]
        tables.append(
            Table(
                name=f"robustness{_suffix(epsilon)}",
                title=f"PSR after a transform, {budget_name(epsilon)}",
                caption=(
                    f"Top-1 ({measured.rule.upper()}), per cent, black-box mean over targets and surrogates. "
                    "Read each column against its clean row."
                ),
                stub="Method",
                columns=columns,
                rows=tuple(rows),
                footnotes=(MEAN_INTERVAL,),
            )
        )
    return tables


def _by_budget(measured: Measured, spreads: Iterable[Spread]) -> list[Table]:
    return [
        _rate_table(measured, spread, epsilon)
        for spread in spreads
        if any(metric in measured.metrics for metric in spread.metrics)
        for epsilon in measured.budgets or (None,)
    ]


def _rate_table(measured: Measured, spread: Spread, epsilon: float | None) -> Table:
    """One block of rows per surrogate: clean, control, methods; one group of columns per target, then the mean."""
    columns = [Column("n", "n")]
    for target in measured.targets:
        columns += [
            Column(f"{target}_{metric}_percent", label, target, "csv")
            for metric, label in zip(spread.metrics, spread.labels, strict=True)
        ]
    columns += [
        Column(f"black_box_mean_{metric}_percent", label, "Black-box mean", "always")
        for metric, label in zip(spread.metrics, spread.labels, strict=True)
    ]
    rows = []
    for surrogate in measured.surrogates:
        for run in measured.runs_at(epsilon):
            if surrogate not in measured.surrogates_of(run):
                continue
            numbers = [_rate(measured, m, run, surrogate, t) for t in measured.targets for m in spread.metrics]
            means = [_number(measured.black_box(metric, run, surrogate)) for metric in spread.metrics]
            estimates = [measured.cell(m, run, surrogate, t) for t in measured.targets for m in spread.metrics]
            section = f"Surrogate: {surrogate}" if surrogate else ""
            rows.append(Row(method_name(run.method), (_n(estimates), *numbers, *means), section))
    return Table(
        name=f"{spread.name}{_suffix(epsilon)}",
        title=f"{spread.title}, {budget_name(epsilon)}",
        caption=spread.caption,
        stub="Method",
        columns=tuple(columns),
        rows=tuple(rows),
        footnotes=(_half_widths(rows), MEAN_INTERVAL, *([SAME_TARGETS] if _has_shared_controls(measured) else [])),
        section_key="surrogate",
    )


def _rate(measured: Measured, metric: str, run: Run, surrogate: str, target: str) -> Number:
    """A rate in per cent with the marks of its cell."""
    estimate = measured.cell(metric, run, surrogate, target)
    marks = WHITE_BOX * estimate.white_box + SAME_FAMILY * (estimate.same_family and not estimate.white_box)
    return _number(estimate, marks + SOME_FAILED * (estimate.n_failed > 0))


def _number(estimate: Estimate, marks: str = "") -> Number:
    if not estimate.ok:
        return Number(marks=marks)
    return Number(100 * estimate.value, 100 * estimate.low, 100 * estimate.high, 1, marks)


def _n(estimates: Sequence[Estimate]) -> str:
    """Trials per cell: one number, or the range when cells differ."""
    counts = sorted({estimate.n for estimate in estimates if estimate.ok})
    if not counts:
        return "–"
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"


def _half_widths(rows: list[Row]) -> str:
    """How wide the intervals of the single cells are, for the Markdown table that does not print them."""
    cells = [cell for row in rows for cell in row.cells if isinstance(cell, Number) and cell.half_width]
    widths = [(cell.high - cell.low) / 2 for cell in cells]
    if not widths:
        return "No intervals were computed."
    return (
        f"Half-widths of the 95 % intervals: median {statistics.median(widths):.1f}, largest {max(widths):.1f} points."
    )


def _has_shared_controls(measured: Measured) -> bool:
    return any(is_control(run) and not measured.uses_surrogate(run.method) for run in measured.runs)


def _suffix(epsilon: float | None) -> str:
    return "" if epsilon is None else f"_eps{epsilon:g}"
