"""`Section`, `Headline` and `Reporter`: what a protocol hands to the report, which knows no protocol by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import Measured, Place, Run
from cloakbench.bench.report.labels import UNTRANSFORMED
from cloakbench.bench.report.table import Number, Table

if TYPE_CHECKING:
    import pandas as pd

    from cloakbench.bench.report.drawing.plotting import Drawing
    from cloakbench.bench.statistics.photo_trials import EventsAndTrials


@dataclass(frozen=True)
class FigureSpec:
    """A figure of a section: ``name`` is its file stem, ``draw`` makes it or says why there is none."""

    name: str
    draw: Callable[[], Drawing]
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of a report under one heading.

    Attributes:
        title: the heading.
        tables: written to files and printed.
        figures: drawn and shown before the tables.
        linked: tables that are written to files and only named: variants of printed ones, long ones for computing.
        shows: which numbers its tables hold; what no section shows is printed at the end of the report.
        closing: a line of Markdown after the tables.
    """

    title: str
    tables: tuple[Table, ...] = ()
    figures: tuple[FigureSpec, ...] = ()
    linked: tuple[Table, ...] = ()
    shows: frozenset[Place] = frozenset()
    closing: str = ""


@dataclass(frozen=True)
class Quantity:
    """A number that every row of a headline holds.

    Attributes:
        key: name in a CSV file, without its unit.
        label: printed heading.
        is_rate: a share in [0, 1], printed in per cent; otherwise a mean in its own unit.
        decimals: printed.
        needs_surrogate: it says something of methods with a surrogate only: controls have no such number.
        on_screen: whether its interval is printed on a screen, where there is little room.
        curve: whether a sweep draws it over its settings.
    """

    key: str
    label: str
    is_rate: bool = True
    decimals: int = 1
    needs_surrogate: bool = False
    on_screen: bool = True
    curve: bool = True

    def number(self, estimate: Estimate) -> Number:
        """As printed: rates in per cent."""
        return Number.of(estimate, 100 if self.is_rate else 1, self.decimals)

    @property
    def column(self) -> str:
        """Name in a CSV file, with its unit."""
        return self.key + "_percent" * self.is_rate


@dataclass(frozen=True)
class HeadlineRow:
    """A line of a headline: a method at a budget and its numbers.

    Attributes:
        run: method and budget.
        surrogate: the surrogate it used, where rows are told apart by it; else empty, values are means over surrogates.
        values: quantity to estimate, the same quantities in every row.
    """

    run: Run
    surrogate: str
    values: Mapping[Quantity, Estimate]

    def label(self, index: Measured) -> str:
        """As printed: the method, and its surrogate in brackets."""
        return index.title(self.run.method) + (f" ({self.surrogate})" if self.surrogate else "")


@dataclass(frozen=True)
class Headline:
    """What a protocol comes to on one screen; a multirun has one such row for each of its settings.

    Attributes:
        title: what is shown, with its unit.
        caption: how the numbers were averaged.
        about: the same in the words of a sweep's caption.
        rows: controls first.
        axis: label of the axis of rates.
        stands_back: it is left out of a screen where another protocol about the same photos has one.
        metric: name of the metric that its first quantity is a mean of; findings read what was decided of it.
        condition: under which.
        caveats: what a reader must know of its numbers, a sentence each.
        beside: quantities without which its first one says too little: findings never name that one alone.
    """

    title: str
    caption: str
    about: str
    rows: tuple[HeadlineRow, ...]
    axis: str = "Rate, %"
    stands_back: bool = False
    metric: str = ""
    condition: str = UNTRANSFORMED
    caveats: tuple[str, ...] = ()
    beside: tuple[Quantity, ...] = ()

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """What every row holds."""
        return tuple(self.rows[0].values) if self.rows else ()


class Reporter(Protocol):
    """What prints the numbers of one protocol. Every protocol of the engine is one."""

    @property
    def name(self) -> str:
        """In the ``protocol`` column of the measurements."""
        ...

    @property
    def title(self) -> str:
        """Heads its section."""
        ...

    @property
    def rank_by(self) -> tuple[str, ...]:
        """Metrics that methods are ranked by and compared in pairs."""
        ...

    @property
    def worst_of(self) -> tuple[str, ...]:
        """Metrics of whose means over all conditions the least is printed as the worst case."""
        ...

    def trials(self, records: pd.DataFrame) -> Mapping[str, EventsAndTrials]:
        """Events and trials of each record by metric: what joint intervals and comparisons are made from."""
        ...

    def sections(self, index: Measured) -> Iterable[Section]:
        """Its parts of a report, in order; numbers that none of them shows are printed at the end of the report."""
        ...

    def checks(self, index: Measured) -> Iterable[str]:
        """One sentence per suspicion, after AutoAttack's warnings: numbers that hint at something broken."""
        ...

    def headline(self, index: Measured) -> Headline | None:
        """Its few most important numbers; None where it has none of its own."""
        ...

    def evidence(self, index: Measured, method: str) -> Mapping[str, str]:
        """What it found about a method on questions of the survey's tables, by the heading of the column."""
        ...


@runtime_checkable
class Recognising(Protocol):
    """A reporter that can say who still knows the person in a photo."""

    def recognised(self, records: pd.DataFrame) -> pd.DataFrame:
        """A row for each record, in their order, with the columns ``SAID_COLUMNS`` of
        `cloakbench.bench.report.decisions.columns`."""
        ...
