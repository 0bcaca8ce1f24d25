"""The tables that only a multirun has: one row for each variant and part, and the spread over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloakbench.bench.protocols.poisoning.rates import PSR
from cloakbench.bench.protocols.poisoning.report import Poisoned
from cloakbench.bench.report.index import Estimate, Measured, Run, is_control
from cloakbench.bench.report.labels import budget_name, method_name
from cloakbench.bench.report.table import Column, Number, Row, Table
from cloakbench.bench.report.variants import Part, Sweep, value_text

_SSIM = "ssim"


@dataclass(frozen=True)
class Quantity:
    """A number that a row of a sweep's tables holds: a rate, or a picture quality."""

    key: str
    label: str
    is_rate: bool = True

    def number(self, estimate: Estimate) -> Number:
        """As printed: rates in per cent."""
        scale, digits = (100, 1) if self.is_rate else (1, 3)
        if not estimate.ok:
            return Number()
        return Number(scale * estimate.value, scale * estimate.low, scale * estimate.high, digits)

    @property
    def is_white_box(self) -> bool:
        """Whether it says something of methods with a surrogate only."""
        return self.key.startswith("white_box")

    @property
    def column(self) -> str:
        """Name in a CSV file, with its unit."""
        return self.key + "_percent" * self.is_rate


@dataclass(frozen=True)
class Entry:
    """A row: a method at a budget, under the settings of its variant and part.

    Attributes:
        run: method (not variant) and budget.
        surrogate: in a poisoning, the surrogate that a method used; else empty, values are means over surrogates.
        settings: settings of the multirun that the row depends on.
        values: quantity to estimate.
    """

    run: Run
    surrogate: str
    settings: Mapping[str, Any]
    values: Mapping[Quantity, Estimate]

    @property
    def label(self) -> str:
        return method_name(self.run.method) + (f" ({self.surrogate})" if self.surrogate else "")


def is_seed(setting: str) -> bool:
    """Whether a setting seeds random draws, so that its values are repetitions."""
    return setting.rpartition(".")[2] == "seed"


def recognition_entries(sweep: Sweep) -> list[Entry]:
    """Rows of everything that recognisers judge, means over surrogates and targets."""
    return [entry for part in sweep.parts for entry in _recognition(part)]


def poisoning_entries(sweep: Sweep) -> list[Entry]:
    """Rows of the poisoning tracks, means over attackers."""
    return [entry for part in sweep.parts for entry in _poisoning(part)]


def sweep_tables(sweep: Sweep) -> list[Table]:
    """One line per variant and part, and mean and spread over seeds where the multirun has several."""
    tables = []
    for suffix, about, entries in (
        ("", "means over surrogates and targets, white-box left out of black-box", recognition_entries(sweep)),
        ("_poisoning", "classifiers trained on the protected photos, mean over attackers", poisoning_entries(sweep)),
    ):
        if entries:
            tables.append(_rows_table(sweep, entries, f"sweep{suffix}", about))
        if seeds := [key for key in sweep.names if is_seed(key)]:
            spread = _seeds_table(sweep, entries, seeds, f"sweep{suffix}_seeds")
            tables += [spread] if spread else []
    return tables


def _recognition(part: Part) -> Iterator[Entry]:
    measured = Measured(part.results)
    rule = f"psr_{measured.rule}_top"
    rates = {"1": f"{rule}1", "5": f"{rule}5"}
    quantities: list[tuple[Quantity, Any]] = []
    if f"{rule}1" in measured.metrics:
        for k, metric in rates.items():
            name = Quantity(f"black_box_top{k}", f"Black-box Top-{k}")
            quantities.append((name, lambda run, metric=metric: measured.black_box_overall(metric, run)))
        name = Quantity("white_box_top1", "White-box Top-1")
        quantities.append((name, lambda run: measured.white_box_overall(f"{rule}1", run)))
    elif "dodging_far_1e-3" in measured.metrics:
        name = Quantity("dodging_far_1e-3", "Dodging, FAR 1e-3")
        quantities.append((name, lambda run: measured.black_box_overall("dodging_far_1e-3", run)))
        name = Quantity("white_box_dodging_far_1e-3", "White-box dodging")
        quantities.append((name, lambda run: measured.white_box_overall("dodging_far_1e-3", run)))
    quantities.append((Quantity(_SSIM, "SSIM", is_rate=False), lambda run: measured.quality(_SSIM, run)))
    for run in measured.runs:
        variant = part.variants[run.method]
        values = {quantity: value(run) for quantity, value in quantities}
        yield Entry(Run(variant.method, run.epsilon_255), "", {**part.settings, **variant.settings}, values)


def _poisoning(part: Part) -> Iterator[Entry]:
    poisoned = Poisoned(part.results)
    psr, ssim = Quantity("poisoning_psr", "PSR"), Quantity(_SSIM, "SSIM", is_rate=False)
    for row in poisoned.rows:
        variant = part.variants[row.run.method]
        values = {psr: poisoned.headline(PSR, row), ssim: poisoned.quality(_SSIM, row)}
        settings = {**part.settings, **variant.settings}
        yield Entry(Run(variant.method, row.run.epsilon_255), row.surrogate, settings, values)


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
            "" if is_control(entry.run) and quantity.is_white_box else quantity.number(entry.values[quantity])
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
        footnotes=("± is half the width of the 95 % interval (bootstrap over identities).",),
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
            blank = is_control(first.run) and quantity.is_white_box
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
