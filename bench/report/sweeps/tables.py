"""The tables that only a multirun has: one row for each variant and part, and the spread over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import Measured, Run, is_control
from cloakbench.bench.report.labels import budget_name
from cloakbench.bench.report.reporters import headlines, reporters
from cloakbench.bench.report.section import Headline, HeadlineRow, Quantity
from cloakbench.bench.report.sweeps.variants import Part, Sweep, value_text
from cloakbench.bench.report.table import Column, Number, Row, Table


@dataclass(frozen=True)
class Entry:
    """A row: a method at a budget, under the settings of its variant and part.

    Attributes:
        run: method (not variant) and budget.
        title: printed name of the method.
        surrogate: the surrogate it used, where rows are told apart by it; else empty.
        settings: settings of the multirun that the row depends on.
        values: quantity to estimate.
    """

    run: Run
    title: str
    surrogate: str
    settings: Mapping[str, Any]
    values: Mapping[Quantity, Estimate]

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
            entries = [_entry(measured, part, row) for row in headline.rows]
            found.setdefault(name, []).append((headline, entries, measured.is_foreign(name)))
    first = next((name for name, parts in found.items() if not parts[0][2]), None)
    return [
        Swept(
            "" if name == first else f"_{name}",
            parts[0][0].about,
            parts[0][0].axis,
            tuple(entry for _, entries, _ in parts for entry in entries),
        )
        for name, parts in found.items()
    ]


def _entry(measured: Measured, part: Part, row: HeadlineRow) -> Entry:
    variant = part.variants[row.run.method]
    run = Run(variant.method, row.run.epsilon_255)
    return Entry(run, measured.title(run.method), row.surrogate, {**part.settings, **variant.settings}, row.values)


def sweep_tables(sweep: Sweep) -> list[Table]:
    """One line per variant and part, and mean and spread over seeds where the multirun has several."""
    tables = []
    seeds = [key for key in sweep.names if is_seed(key)]
    for swept in swept_headlines(sweep):
        tables.append(_rows_table(sweep, swept.entries, f"sweep{swept.suffix}", swept.about))
        if seeds and (spread := _seeds_table(sweep, swept.entries, seeds, f"sweep{swept.suffix}_seeds")):
            tables.append(spread)
    return tables


def _rows_table(sweep: Sweep, entries: Sequence[Entry], name: str, about: str) -> Table:
    quantities = shown_quantities(entries)
    of_parts = {key for part in sweep.parts for key in part.settings}
    beside = [entry for rows in by_all_but(entries, list(of_parts)) for entry in rows]  # parts next to each other
    ordered = sorted(beside, key=lambda entry: not is_control(entry.run))
    rows = []
    for entry in ordered:
        known = next((estimate for estimate in entry.values.values() if estimate.ok), Estimate())
        settings = [value_text(entry.settings[key]) if key in entry.settings else "" for key in sweep.names]
        budget = "" if entry.run.epsilon_255 is None else f"{entry.run.epsilon_255:g}"
        numbers = [
            "" if is_control(entry.run) and quantity.needs_surrogate else quantity.number(entry.values[quantity])
            for quantity in quantities
        ]
        rows.append(Row(entry.label, (*settings, budget, str(known.n) if known.ok else "–", *numbers)))
    return Table(
        name=name,
        title="Sweep",
        caption=f"Everything the multirun set, per cent: {about}; n is that of the first rate.",
        stub="Method",
        columns=(
            *(Column(key, label.capitalize()) for key, label in sweep.names.items()),
            Column("epsilon_255", "ε (grey levels)"),
            Column("n", "n"),
            *(Column(q.column, q.label, interval="always" if q.is_rate else "csv") for q in quantities),
        ),
        rows=tuple(rows),
        footnotes=("In brackets the 95 % interval (bootstrap over people).",),
    )


def _seeds_table(sweep: Sweep, entries: Sequence[Entry], seeds: Sequence[str], name: str) -> Table | None:
    """Mean and standard deviation over seeds of every row that ran under several."""
    quantities = shown_quantities(entries)
    groups = by_all_but(entries, seeds)
    rest = [key for key in sweep.names if key not in seeds]
    rows = []
    for members in groups:
        if len(members) < 2:
            continue
        first = members[0]
        settings = [value_text(first.settings[key]) if key in first.settings else "" for key in rest]
        cells: list[Number | str] = [*settings, "" if first.run.epsilon_255 is None else f"{first.run.epsilon_255:g}"]
        cells.append(str(len(members)))
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
        rows.append(Row(first.label, tuple(cells)))
    if not rows:
        return None
    return Table(
        name=name,
        title="Mean and spread over seeds",
        caption="Per cent; SD is the standard deviation over the seeds, whose number stands in each row.",
        stub="Method",
        columns=(
            *(Column(key, sweep.names[key].capitalize()) for key in rest),
            Column("epsilon_255", "ε (grey levels)"),
            Column("seeds", "Seeds"),
            *(
                column
                for q in quantities
                for column in (Column(f"{q.column}_mean", "mean", q.label), Column(f"{q.column}_sd", "SD", q.label))
            ),
        ),
        rows=tuple(rows),
    )


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


def context_name(sweep: Sweep, entry: Entry, keys: Sequence[str], *, budget: bool) -> str:
    """Budget and settings of a row in words: ``8/255, decay 0.5``."""
    words = [budget_name(entry.run.epsilon_255)] if budget and entry.run.epsilon_255 is not None else []
    told = sweep.describe({key: entry.settings[key] for key in keys if key in entry.settings})
    return ", ".join([*words, *([told] if told else [])])
