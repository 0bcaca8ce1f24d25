"""Standings: the rows of a board as a table of each division, best first, and as plain values for its page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from cloakbench.bench.core.axes import NO_BUDGET, split_row_name
from cloakbench.bench.report.decisions.ranking import Ranking
from cloakbench.bench.report.html.explorer import HARDEST, Explored, explored
from cloakbench.bench.report.opening.leads import Lead, ranked_row
from cloakbench.bench.report.section import HeadlineRow
from cloakbench.bench.report.table import SMALL, Cell, Column, Number, Row, Table
from cloakbench.bench.sharing.divisions import RankedTogether

_COLUMNS = (
    Column("run", "Run"),
    Column("place", "Place"),
    Column("ties", "Ties"),
    Column("n", "n"),
)


def standing(entry: RankedTogether, lead: Lead, numbers: Explored) -> Table:
    """The rows of a protocol in an entry, a block for each budget: value, the worst target, place, ties, quality, cost.

    Args:
        entry: runs that are ranked together.
        lead: the protocol.
        numbers: `explored` of the entry.
    """
    budgets = sorted({row.run.budget for row in lead.headline.rows if row.run.budget}, reverse=True)
    beside = numbers.beside["columns"]
    rows = []
    for budget in [NO_BUDGET] if lead.is_foreign or not budgets else budgets:
        ranking = lead.ranking(entry.measured, budget)
        for row in lead.rows(budget):
            cells = _cells(entry, lead, ranking, row, numbers)
            title = (row.run.budget if lead.is_foreign else budget).title
            rows.append(Row(row.label(entry.measured), cells, title * bool(budgets)))
    return Table(
        name=f"{lead.reporter.name}_{entry.division(lead.reporter.name)}",
        title=f"{lead.reporter.title}, division {entry.division(lead.reporter.name)}",
        caption=f"{lead.headline.title}; {lead.headline.about}. In brackets the 95 % interval over people. Place: the "
        "best and the worst that paired comparisons on the same photos leave, after Holm. Worst: the black-box target "
        "that protects least.",
        stub="Method",
        columns=(
            Column(lead.quantity.column, lead.quantity.label, interval="always"),
            Column("worst_target", "Worst", interval="csv"),
            *_COLUMNS,
            *(Column(_key(column["title"]), column["title"]) for column in beside),
        ),
        rows=tuple(rows),
        section_key="budget",
    )


def _cells(
    entry: RankedTogether, lead: Lead, ranking: Ranking | None, row: HeadlineRow, numbers: Explored
) -> tuple[Cell, ...]:
    estimate, ranked = lead.estimate(row), ranked_row(ranking, row)
    marks = SMALL * lead.is_small(entry.measured, ranking, row)
    value = Number.of(estimate, 100 if lead.quantity.is_rate else 1, lead.quantity.decimals, marks)
    compared = ranking is not None and bool(ranking.comparisons) and ranked is not None and not ranked.small
    ends = ranking.places(ranked) if compared and ranking and ranked else ()
    place = "–".join(dict.fromkeys(map(str, ends)))
    run = entry.source.get(split_row_name(row.run.method)[0], entry.runs[0])
    order = {(one["method"], one["variant"], one["budget"]): number for number, one in enumerate(numbers.runs)}
    method, variant = split_row_name(row.run.method)
    number = order[method, variant, row.run.budget.text if row.run.budget else ""]
    publication = entry.measured.publication(lead.reporter.name)
    known = numbers.beside["values"].get(publication, {})
    values = known.get(f"{number}|{row.surrogate}") or known.get(f"{number}|", [])
    beside = [
        Number(values[place], digits=column["decimals"]) if place < len(values) and values[place] is not None else ""
        for place, column in enumerate(numbers.beside["columns"])
    ]
    worst = _worst(lead, number, numbers)
    return (value, worst, run, place, ranked.group if ranked else "", str(estimate.n), *beside)


def _worst(lead: Lead, number: int, numbers: Explored) -> Number | str:
    metric = next(
        (i for i, one in enumerate(numbers.metrics) if one["leads"] and one["protocol"] == lead.reporter.name), -1
    )
    for found in numbers.series.get(f"{metric}|{lead.headline.condition}|{HARDEST}", []):
        if found[0] == number and found[1] == "all":
            ends = [float("nan") if end is None else end for end in found[2:5]]
            return Number(*ends, digits=numbers.metrics[metric]["decimals"])
    return ""


def board_data(entries: Sequence[RankedTogether], numbers: Sequence[Explored]) -> dict[str, Any]:
    """All entries as plain values for one page; metrics of divisions never share a column."""
    data: dict[str, Any] = asdict(Explored()) | {"name": "board", "faces": []}
    titles = list(dict.fromkeys(column["title"] for one in numbers for column in one.beside["columns"]))
    decimals = {column["title"]: column["decimals"] for one in numbers for column in one.beside["columns"]}
    data["beside"] = {"columns": [{"title": t, "decimals": decimals[t]} for t in titles], "values": {}}
    for place, (entry, one) in enumerate(zip(entries, numbers, strict=True)):
        metrics, runs = len(data["metrics"]), len(data["runs"])
        data["metrics"] += [_metric(entry, place, metric) for metric in one.metrics]
        data["runs"] += [run | {"source": entry.source.get(run["method"], entry.runs[0])} for run in one.runs]
        for kind in ("series", "ties"):
            for key, rows in getattr(one, kind).items():
                metric, rest = key.split("|", 1)
                data[kind][f"{int(metric) + metrics}|{rest}"] = [[row[0] + runs, *row[1:]] for row in rows]
        data["conditions"] |= one.conditions
        data["beside"]["values"] |= dict(_moved(place, runs, titles, one))
    return data


def _metric(entry: RankedTogether, place: int, metric: dict[str, Any]) -> dict[str, Any]:
    division = f"{entry.measured.results.dataset.split(' ')[0]}, {' + '.join(entry.runs)}"
    return metric | {
        "group": f"{metric['group']}: {division}",
        "division": entry.division(metric["protocol"]),
        "publication": f"{place}:{metric['publication']}" * bool(metric["publication"]),
        "beside": f"{place}:{metric['publication']}",
    }


def _moved(place: int, runs: int, titles: list[str], one: Explored) -> Iterator[tuple[str, Any]]:
    own = [titles.index(column["title"]) for column in one.beside["columns"]]
    for publication, values in one.beside["values"].items():
        found = {}
        for key, row in values.items():
            number, surrogate = key.split("|", 1)
            wide: list[float | None] = [None] * len(titles)
            for at, value in zip(own, row, strict=False):
                wide[at] = value
            found[f"{int(number) + runs}|{surrogate}"] = wide
        yield f"{place}:{publication}", found


def numbers_of(entry: RankedTogether) -> Explored:
    """`explored` of an entry."""
    return explored(entry.measured, entry.leads)


def _key(title: str) -> str:
    return "".join(sign if sign.isalnum() else "_" for sign in title.lower()).strip("_")
