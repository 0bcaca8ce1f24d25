"""Table of the differences from one method: what each other one changes, an ablation for instance, or that it changes
nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from cloakbench.bench.core.status import OK
from cloakbench.bench.report.estimate import Estimate, records
from cloakbench.bench.report.index import Measured, Place, Run
from cloakbench.bench.report.labels import COMPARED_WITH, UNTRANSFORMED
from cloakbench.bench.report.table import Cell, Column, Number, Row, Table, columns

NOTHING = "no number by more than its interval"


class _Key(NamedTuple):
    """A column: what was measured, on which surrogate or over all, and whether by those who were attacked."""

    place: Place
    surrogate: str
    white_box: bool


_Lines = Mapping[_Key, Mapping[str, Any]]


def differences_table(measured: Measured) -> Table | None:
    """A row for each method with every difference and its interval, and which of them are more than that.

    None where the run compares with no method, or has nothing to compare.
    """
    found: dict[Run, dict[_Key, Mapping[str, Any]]] = {}
    for line in records(measured.results.differences):
        place = Place(line["protocol"], line["metric"], line["condition"])
        key = _Key(place, line["surrogate"], bool(line["white_box"]))
        found.setdefault(Run.of(line), {})[key] = line
    if not found:
        return None
    keys = list(dict.fromkeys(key for lines in found.values() for key in lines))
    titles = {key: _title(measured, key, keys) for key in keys}
    base = measured.title(str(measured.results.setup[COMPARED_WITH]))
    return Table(
        name="differences",
        title=f"Differences from {base}",
        caption=f"Minus {base} at the same budget, on the same photos; rates in percentage points. In brackets the "
        "95 % interval of the difference: one bootstrap over people for both methods, not corrected for the number of "
        "columns. A number changes where that interval leaves out 0.",
        stub="Method",
        columns=(
            *(Column(_name(title), title, "", "always") for title in titles.values()),
            *columns(changes="Changes", n_photos="Photos", n_identities="People"),
        ),
        rows=tuple(_row(measured, run, found[run], titles) for run in measured.ordered(found)),
    )


def _name(title: str) -> str:
    """Of a column in the CSV file: ``mosr_dncnn``."""
    return re.sub(r"\W+", "_", title).lower()


def _row(measured: Measured, run: Run, lines: _Lines, titles: Mapping[_Key, str]) -> Row:
    cells: list[Cell] = [_number(measured, key, lines[key]) if key in lines else "" for key in titles]
    changed = [title for key, title in titles.items() if key in lines and _is_apart(lines[key])]
    fewest = [str(min(int(line[name]) for line in lines.values())) for name in ("n_photos", "n_identities")]
    return Row(measured.name(run), (*cells, ", ".join(changed) or NOTHING, *fewest))


def _number(measured: Measured, key: _Key, line: Mapping[str, Any]) -> Number:
    metric = next(one for one in measured.results.declared(key.place.protocol) if one.name == key.place.metric)
    estimate = Estimate(line["difference"], line["low"], line["high"], status=OK)
    return Number.of(estimate, metric.scale, metric.decimals)


def _is_apart(line: Mapping[str, Any]) -> bool:
    """Whether the interval of a difference leaves out 0; one of a single person is none."""
    return bool(line["low"] > 0 or line["high"] < 0)


def _title(measured: Measured, key: _Key, keys: list[_Key]) -> str:
    """The metric, with what sets its column apart from others."""
    place = key.place
    metric = next(one for one in measured.results.declared(place.protocol) if one.name == place.metric)
    title = metric.title
    if place.condition != UNTRANSFORMED:
        frame = measured.results.conditions
        own = frame.loc[(frame["protocol"] == place.protocol) & (frame["label"] == place.condition), "title"]
        title += f" after {own.iloc[0] if len(own) else place.condition}"
    if len({one.white_box for one in keys if one.place == place}) > 1:
        title += " on the attacked network" if key.white_box else " on other networks"
    return title + f" ({key.surrogate})" * (len({one.surrogate for one in keys if one.place == place}) > 1)
