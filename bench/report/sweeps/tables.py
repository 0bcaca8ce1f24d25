"""The tables that only a multirun has: one row for each variant and part, and the spread over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloakbench.bench.core.axes import split_row_name, value_text, variant_text
from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import ALL, Measured, Run, is_control
from cloakbench.bench.report.labels import varied_settings
from cloakbench.bench.report.norms import NORM_COLUMNS, NORMS_NOTE, Norms
from cloakbench.bench.report.reporters import headlines, reporters
from cloakbench.bench.report.section import Headline, HeadlineRow, Quantity
from cloakbench.bench.report.sweeps.parts import Part, Sweep
from cloakbench.bench.report.table import BUDGET, GAP, Column, Number, Row, Table


@dataclass(frozen=True)
class Entry:
    """A row: a method at a budget, under the settings of its variant and part.

    Attributes:
        run: method without its variant, and budget.
        title: printed name of the method.
        surrogate: the surrogate it used, where rows are told apart by it; else empty.
        settings: settings of the multirun that the row depends on.
        values: quantity to estimate.
        ball: the norm ball of its photos.
        norms: both norms really used; none of a run that was kept without them.
    """

    run: Run
    title: str
    surrogate: str
    settings: Mapping[str, Any]
    values: Mapping[Quantity, Estimate]
    ball: str
    norms: tuple[Number, ...]

    @property
    def label(self) -> str:
        return self.title + (f" ({self.surrogate})" if self.surrogate else "")


def is_seed(setting: str) -> bool:
    """Whether a setting seeds random draws, so that its values are repetitions."""
    return setting.rpartition(".")[2] == "seed"


@dataclass(frozen=True)
class Swept:
    """The headline of one protocol over a whole multirun.

    Attributes:
        suffix: of the names of its files: empty for the first protocol about the probes.
        about: how numbers were averaged, in the words of a caption.
        axis: label of the axis of its rates.
        entries: the rows of all parts.
    """

    suffix: str
    about: str
    axis: str
    entries: tuple[Entry, ...]


def swept_headlines(sweep: Sweep) -> list[Swept]:
    """The headlines of all protocols, in the order of the experiment."""
    found: dict[str, list[tuple[Headline, list[Entry], bool]]] = {}
    for part in sweep.parts:
        measured = Measured(part.results)
        for name, headline in headlines(measured, reporters(part.results)).items():
            norms = Norms(measured, measured.publication(name))
            entries = [_entry(part, measured, norms, row) for row in headline.rows]
            found.setdefault(name, []).append((headline, entries, measured.is_foreign(name)))
    first = next((name for name, parts in found.items() if not parts[0][2]), None)
    return [
        Swept(
            "" if name == first else f"_{name}",
            parts[0][0].about,
            parts[0][0].axis,
            tuple(entry for _, entries, _ in parts for entry in entries if entry.settings or is_control(entry.run)),
        )
        for name, parts in found.items()
    ]


def _entry(part: Part, measured: Measured, norms: Norms, row: HeadlineRow) -> Entry:
    """The row of a method as composed has the values that it is set to where variants have others."""
    method, _ = split_row_name(row.run.method)
    settings = {**part.settings, **varied_settings(measured.methods, row.run.method)}
    return Entry(
        Run(method, row.run.budget),
        measured.title(method),
        row.surrogate,
        settings,
        row.values,
        norms.ball(row.run),
        norms.cells(row.run, row.surrogate or ALL),
    )


def sweep_tables(sweep: Sweep) -> list[Table]:
    """One line per variant and part, and mean and spread over seeds where there are several; none without variants."""
    tables: list[Table] = []
    seeds = [key for key in sweep.names if is_seed(key)]
    for swept in swept_headlines(sweep) if sweep.names else ():
        tables.append(_rows_table(sweep, swept.entries, f"variants{swept.suffix}", swept.about))
        if seeds and (spread := _seeds_table(sweep, swept.entries, seeds, f"variants{swept.suffix}_seeds")):
            tables.append(spread)
    return tables


def _rows_table(sweep: Sweep, entries: Sequence[Entry], name: str, about: str) -> Table:
    quantities = shown_quantities(entries)
    of_parts = {key for part in sweep.parts for key in part.settings}
    beside = [entry for rows in by_all_but(entries, list(of_parts)) for entry in rows]  # parts next to each other
    ordered = _ordered(beside, [name for name in sweep.names if name not in of_parts])
    norms, rows = _norm_columns(entries), []
    for entry in ordered:
        known = next((estimate for estimate in entry.values.values() if estimate.ok), Estimate())
        settings = [value_text(entry.settings[key]) if key in entry.settings else "" for key in sweep.names]
        numbers = [
            "" if is_control(entry.run) and quantity.needs_surrogate else quantity.number(entry.values[quantity])
            for quantity in quantities
        ]
        told = entry.ball, str(known.n) if known.ok else GAP
        rows.append(Row(entry.label, (*settings, *told, *numbers, *_norm_cells(norms, [entry]))))
    return Table(
        name=name,
        title="Variants",
        caption=f"Settings that were varied, per cent: {about}; n is that of the first rate.",
        stub="Method",
        columns=(
            *(Column(name, heading(name)) for name in sweep.names),
            BUDGET,
            Column("n", "n"),
            *(Column(q.column, q.label, interval="always" if q.is_rate else "csv") for q in quantities),
            *norms,
        ),
        rows=tuple(rows),
        footnotes=("In brackets the 95 % interval (bootstrap over people).", *(NORMS_NOTE,) * bool(norms)),
    )


def _ordered(entries: Sequence[Entry], names: Sequence[str]) -> list[Entry]:
    """Controls first, then each method's rows by the values of its settings, numbers from small to large."""
    labels = list(dict.fromkeys(entry.label for entry in entries))

    def place(entry: Entry) -> tuple[object, ...]:
        values = [entry.settings.get(name) for name in names]
        return (
            not is_control(entry.run),
            labels.index(entry.label),
            *(float(value) if isinstance(value, int | float) else -math.inf for value in values),
        )

    return sorted(entries, key=place)


def _seeds_table(sweep: Sweep, entries: Sequence[Entry], seeds: Sequence[str], name: str) -> Table | None:
    """Mean and standard deviation over seeds of every row that ran under several."""
    quantities = shown_quantities(entries)
    groups = by_all_but(entries, seeds)
    rest = [key for key in sweep.names if key not in seeds]
    norms, rows = _norm_columns(entries), []
    for members in groups:
        if len(members) < 2:
            continue
        first = members[0]
        settings = [value_text(first.settings[key]) if key in first.settings else "" for key in rest]
        cells: list[Number | str] = [*settings, first.ball, str(len(members))]
        for quantity in quantities:
            numbers = [quantity.number(entry.values.get(quantity, Estimate())) for entry in members]
            values = [number.value for number in numbers]
            whole = not any(map(math.isnan, values))
            mean, spread = (
                (math.fsum(values) / len(values), statistics.stdev(values)) if whole else (math.nan, math.nan)
            )
            digits = numbers[0].digits if whole else 1
            blank = is_control(first.run) and quantity.needs_surrogate
            cells += ["", ""] if blank else [Number(mean, digits=digits), Number(spread, digits=digits)]
        rows.append(Row(first.label, (*cells, *_norm_cells(norms, members))))
    if not rows:
        return None
    return Table(
        name=name,
        title="Mean and spread over seeds",
        caption="Per cent; SD is the standard deviation over the seeds, whose number stands in each row.",
        stub="Method",
        columns=(
            *(Column(name, heading(name)) for name in rest),
            BUDGET,
            Column("seeds", "Seeds"),
            *(
                column
                for q in quantities
                for column in (Column(f"{q.column}_mean", "mean", q.label), Column(f"{q.column}_sd", "SD", q.label))
            ),
            *norms,
        ),
        rows=tuple(rows),
        footnotes=(NORMS_NOTE,) * bool(norms),
    )


def _norm_columns(entries: Sequence[Entry]) -> tuple[Column, ...]:
    """None where no run was kept with norms."""
    return NORM_COLUMNS if any(entry.norms for entry in entries) else ()


def _norm_cells(columns: Sequence[Column], entries: Sequence[Entry]) -> list[Number]:
    """Means over entries; gaps where one of them was kept without norms."""
    known = [entry.norms or (Number(),) * len(columns) for entry in entries] if columns else []
    return [Number(math.fsum(one.value for one in some) / len(some)) for some in zip(*known, strict=True)]


def shown_quantities(entries: Sequence[Entry]) -> list[Quantity]:
    """Quantities that some row has a value of, in order."""
    found = dict.fromkeys(quantity for entry in entries for quantity in entry.values)
    with_value = [q for q in found if any(entry.values[q].ok for entry in entries if q in entry.values)]
    return with_value or list(found)[:1]


def by_all_but(entries: Sequence[Entry], left_out: Sequence[str]) -> list[list[Entry]]:
    """Rows that agree in method, budget and every setting but those left out."""
    groups: dict[object, list[Entry]] = {}
    for entry in entries:
        settings = tuple((key, value_text(value)) for key, value in entry.settings.items() if key not in left_out)
        groups.setdefault((entry.run, entry.surrogate, settings), []).append(entry)
    return list(groups.values())


def heading(setting: str) -> str:
    """A setting as it heads a column or names an axis."""
    return setting.replace("_", " ").capitalize()


def context_name(entry: Entry, keys: Sequence[str], *, budget: bool) -> str:
    """Budget and settings of a row: ``8/255, decay=0.5``."""
    told = variant_text({key: entry.settings[key] for key in keys if key in entry.settings})
    return ", ".join(word for word in (entry.run.budget.title * (budget and bool(entry.run.budget)), told) if word)
