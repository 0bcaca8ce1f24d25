"""`Table`: numbers, texts and columns as data, whatever medium they are written in."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.interval_text import GAP, interval_text, number_text

WHITE_BOX = "†"
SAME_FAMILY = "‡"
SOME_FAILED = "§"
SMALL = "¶"
OTHER_BALL = "◊"
MARK_MEANINGS = {
    WHITE_BOX: "white-box: the target is the surrogate; left out of the black-box mean",
    SAME_FAMILY: "another network of the surrogate's architecture family; kept in the black-box mean",
    SOME_FAILED: "some planned photos failed and are not in n; see Failures and gaps",
    OTHER_BALL: "another norm ball than that of the table, or none: its rates are not of equal change",
    SMALL: "on too few photos or people to be ranked or compared with the other rows",
}


@dataclass(frozen=True)
class Number:
    """A printed number. NaN prints as a gap; ``marks`` follow the number and are explained under the table."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    digits: int = 1
    marks: str = ""

    @classmethod
    def of(cls, estimate: Estimate, scale: float = 100.0, digits: int = 1, marks: str = "") -> Number:
        """An estimate with its interval, a rate in per cent unless ``scale`` says otherwise; a gap where it is none."""
        if not estimate.ok:
            return cls(digits=digits, marks=marks)
        return cls(scale * estimate.value, scale * estimate.low, scale * estimate.high, digits, marks)

    @property
    def text(self) -> str:
        """The rounded number without marks and interval."""
        return GAP if math.isnan(self.value) else number_text(self.value, self.digits)

    @property
    def interval(self) -> str:
        """The two ends of the interval in brackets, or nothing."""
        return "" if math.isnan(self.value) else interval_text(self.low, self.high, self.digits)

    def words(self, unit: str = "") -> str:
        """``63.3 % [56.7, 70.0]``; a dash when there is no value, the value alone when there is no interval."""
        return " ".join(filter(None, (self.text, unit, self.interval)))


Cell = Number | str


@dataclass(frozen=True)
class Column:
    """A column. Neighbours with the same ``group`` share a header, and a cell in Markdown: ``63.2 / 41.0``.

    Attributes:
        key: name in the CSV file, with its unit.
        label: printed header.
        group: printed header above it, or empty.
        interval: ``none``; ``csv`` for the CSV file only, so that wide printed tables stay readable; ``always``.
    """

    key: str
    label: str
    group: str = ""
    interval: Literal["none", "csv", "always"] = "none"


BUDGET = Column("epsilon_255", "ε (grey levels)")


def columns(**labels: str) -> tuple[Column, ...]:
    """Columns without a group and an interval: key to label."""
    return tuple(Column(key, label) for key, label in labels.items())


@dataclass(frozen=True)
class Row:
    """One line. Rows with the same ``section`` stand together under its name."""

    label: str
    cells: tuple[Cell, ...]
    section: str = ""


@dataclass(frozen=True)
class Table:
    """A table: ``name`` is its file stem, ``stub`` heads the row labels, ``section_key`` names the sections in CSV."""

    name: str
    title: str
    caption: str
    stub: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    footnotes: tuple[str, ...] = ()
    section_key: str = "section"

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.cells) != len(self.columns):
                raise ValueError(
                    f"table {self.name}, row {row.label}: {len(row.cells)} cells for {len(self.columns)} columns"
                )

    @property
    def notes(self) -> tuple[str, ...]:
        """Footnotes, after the meaning of the marks and gaps that occur."""
        numbers = [cell for row in self.rows for cell in row.cells if isinstance(cell, Number)]
        used = {mark for number in numbers for mark in number.marks}
        marks = [f"{mark} {meaning}." for mark, meaning in MARK_MEANINGS.items() if mark in used]
        gaps = (
            [f"{GAP} no value; Failures and gaps says why."]
            if any(math.isnan(number.value) for number in numbers)
            else []
        )
        return (*marks, *gaps, *self.footnotes)


def cell_marks(cell: Estimate) -> str:
    """What is to be said of a single cell: who judged, and whether photos are missing."""
    marks = WHITE_BOX if cell.white_box else SAME_FAMILY * cell.same_family
    return marks + SOME_FAILED * (cell.n_failed > 0)


def trials_text(estimates: Iterable[Estimate]) -> str:
    """Trials per cell: one number, or the range when cells differ."""
    counts = sorted({estimate.n for estimate in estimates if estimate.ok})
    return "–".join(str(n) for n in dict.fromkeys((counts[0], counts[-1]))) if counts else GAP


def column_groups(columns: Sequence[Column]) -> list[list[Column]]:
    """Neighbouring columns with the same group; columns without one stand alone."""
    keyed = itertools.groupby(enumerate(columns), key=lambda pair: pair[1].group or pair[0])
    return [[column for _, column in members] for _, members in keyed]
