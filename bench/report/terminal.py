"""The end of a run on one screen: what protects, what it costs the picture, what looks wrong."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table

from cloakbench.bench.core.screen import plain
from cloakbench.bench.protocols.poisoning.report import PSR, Poisoned
from cloakbench.bench.report.checks import self_checks
from cloakbench.bench.report.index import Estimate, Measured, is_control
from cloakbench.bench.report.labels import budget_name, method_name, scenario_name
from cloakbench.bench.report.results import Results
from cloakbench.bench.report.table import GAP, Column, Number, column_groups
from cloakbench.bench.report.table import Table as ReportTable
from cloakbench.bench.report.tables_facts import failures_table


def summary(results: Results) -> Group:
    """A rich renderable: one row per method and budget, controls first, then warnings and the count of failures."""
    measured = Measured(results)
    rule = measured.rule
    table = Table(
        title=plain(f"{results.name} on {results.dataset}: protection success rate ({rule.upper()}), %", "table.title"),
        caption=(
            f"means over {len(measured.surrogates)} surrogates and {len(measured.targets)} targets, white-box left out "
            "of black-box; ± half of the 95 % interval; – no value"
        ),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("Method", no_wrap=True)
    table.add_column("Budget", no_wrap=True)
    for heading in ("Black-box Top-1", "Black-box Top-5", "White-box Top-1", "SSIM", "n"):
        table.add_column(heading, justify="right")
    for position, run in enumerate(measured.runs):
        top1 = measured.black_box_overall(f"psr_{rule}_top1", run)
        top5 = measured.black_box_overall(f"psr_{rule}_top5", run)
        white = measured.white_box_overall(f"psr_{rule}_top1", run)
        following = measured.runs[position + 1] if position + 1 < len(measured.runs) else run
        table.add_row(
            plain(method_name(run.method)),
            "" if run.epsilon_255 is None else budget_name(run.epsilon_255),
            _percent(top1, interval=True),
            _percent(top5, interval=True),
            "" if is_control(run) else _percent(white),
            _plain(measured.quality("ssim", run), 3),
            str(top1.n) if top1.ok else GAP,
            end_section=is_control(run) and not is_control(following),
        )
    warnings = [plain(f"warning: {flag}", "yellow") for flag in self_checks(measured)]
    failures = failures_table(measured)
    if failures:
        warnings.append(plain(f"{len(failures.rows)} entries under Failures in report.md", "yellow"))
    shown = [table] if measured.runs else []
    if poisoned := _poisoning(results):
        shown.append(poisoned)
    return Group(*shown, *warnings)


def table_on_screen(source: ReportTable) -> Table:
    """A table of the report as a rich renderable; intervals stand where the report prints them."""
    table = Table(
        title=plain(source.title), caption=plain(source.caption), title_justify="left", caption_justify="left"
    )
    table.add_column(source.stub, no_wrap=True)
    groups = column_groups(source.columns)
    for group in groups:
        labels = " / ".join(column.label for column in group)
        table.add_column(plain(f"{group[0].group} {labels}".strip()), justify="right")
    for row in source.rows:
        cells = [_cell(column, cell) for column, cell in zip(source.columns, row.cells, strict=True)]
        place = iter(cells)
        joined = [" / ".join(part for _, part in zip(group, place, strict=False) if part) for group in groups]
        table.add_row(plain(row.label), *map(plain, joined))
    return table


def _cell(column: Column, cell: Number | str) -> str:
    if isinstance(cell, str):
        return cell
    return f"{cell.text} {cell.half_width}".strip() if column.interval == "always" else cell.text


def _poisoning(results: Results) -> Table | None:
    """PSR of every published set, mean over attackers in the first scenario; None without a poisoning track."""
    poisoned = Poisoned(results)
    if not poisoned.rows:
        return None
    scenario = scenario_name(poisoned.scenarios[0]).lower()
    table = Table(
        title=plain(f"{results.name}: poisoning, protection success rate, %", "table.title"),
        caption=f"{scenario}, mean over {len(poisoned.attackers)} attackers; ± half of the 95 % interval; – no value",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("Method", no_wrap=True)
    for heading in ("Budget", "PSR", "SSIM", "n"):
        table.add_column(heading, justify="right")
    for row in poisoned.rows:
        rate = poisoned.headline(PSR, row)
        table.add_row(
            plain(row.label),
            "" if row.run.epsilon_255 is None else budget_name(row.run.epsilon_255),
            _percent(rate, interval=True),
            _plain(poisoned.quality("ssim", row), 3),
            str(rate.n) if rate.ok else GAP,
        )
    return table


def _percent(estimate: Estimate, *, interval: bool = False) -> str:
    if not estimate.ok:
        return GAP
    width = f" ±{50 * (estimate.high - estimate.low):.1f}" if interval and estimate.high >= estimate.low else ""
    return f"{100 * estimate.value:.1f}{width}"


def _plain(estimate: Estimate, digits: int) -> str:
    return f"{estimate.value:.{digits}f}" if estimate.ok else GAP
