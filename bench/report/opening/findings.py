"""`findings`: what a run comes to, in sentences made from its numbers and from what protocols say of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cloakbench.bench.core.escape import markdown
from cloakbench.bench.report.decisions.ranking import Ranking, identical_notes
from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.interval_text import counted, number_text
from cloakbench.bench.report.norms import Norms
from cloakbench.bench.report.opening.leads import Lead, budget_of_interest, is_method, ranked_row
from cloakbench.bench.report.section import HeadlineRow, Quantity

_NAMED = 6
"""Names in a sentence; the table has the others."""


@dataclass(frozen=True)
class Finding:
    """What one protocol comes to: ``title`` says whose, ``sentences`` are plain text, the most important first."""

    title: str
    sentences: tuple[str, ...]


def findings(measured: Measured, leads: Iterable[Lead], failures: int, warnings: int) -> list[Finding]:
    """One for each protocol, and what went wrong.

    Args:
        measured: the run.
        leads: what its protocols lead with.
        failures: entries of the table of failures.
        warnings: lines under Warnings.
    """
    found = [Finding(lead.reporter.title, tuple(_sentences(measured, lead))) for lead in leads]
    broken = f"{failures} entries under Failures and gaps" if failures else "No planned cell failed"
    told = f"the self-checks raise {counted(warnings, 'warning')}" if warnings else "the self-checks found nothing"
    return [*found, Finding("What to distrust", (f"{broken}; {told}.",))]


def findings_markdown(found: Iterable[Finding]) -> list[str]:
    """Lines of Markdown: a list for each."""
    lines = []
    for one in found:
        first, *others = map(markdown, one.sentences)
        lines += [f"- **{markdown(one.title)}.** {first}", *(f"  - {sentence}" for sentence in others)]
    return lines


def _sentences(measured: Measured, lead: Lead) -> list[str]:
    budget = budget_of_interest(lead)
    ranking, rows = lead.ranking(measured, budget), lead.rows(budget)
    methods = [row for row in rows if is_method(row)]
    small = [row for row in methods if lead.is_small(measured, ranking, row)]
    ranked = [row for row in methods if row not in small]
    controls = [row for row in rows if not is_method(row)]
    found = []
    if ranked:
        best = ranked[0]
        verb = "protects most" if lead.metric and lead.metric.higher_protects is not None else "comes first"
        value = _with_n(lead, best)
        where = f" at {budget.title}" * bool(budget and not lead.is_foreign)
        found.append(f"{_name(measured, lead, best)} {verb}{where}: {lead.quantity.label} {value}.")
        found += _compared(measured, lead, ranking, ranked)
        further = [quantity for quantity in lead.headline.quantities if quantity != lead.quantity]
        found += [sentence for quantity in further for sentence in _quality(quantity, ranked)]
    else:
        found.append("No method has a value on enough photos to be ranked.")
    if controls:
        told = [
            f"{_name(measured, lead, row)} {_text(lead.quantity, lead.estimate(row))}{_beside(lead, row)}"
            for row in controls
        ]
        found.append(f"Without protection, or with noise alone: {_listed(told)}.")
    if small:
        told = [f"{_name(measured, lead, row)} {_with_n(lead, row)}" for row in small]
        found.append(f"On too few photos to be ranked: {_listed(told)}.")
    return [*found, *identical_notes(measured, lead.reporter.name)]


def _compared(measured: Measured, lead: Lead, ranking: Ranking | None, ranked: Sequence[HeadlineRow]) -> list[str]:
    """Which differences to the best method are real, and how many between neighbours are."""
    best, *others = ranked
    place = ranked_row(ranking, best)
    if ranking is None or place is None or not ranking.comparisons:
        return ["Methods were not compared in pairs." if others else "There is nothing to compare it with."]
    places = {id(row): ranked_row(ranking, row) for row in others}
    tied = [row for row in others if (one := places[id(row)]) and set(one.group) & set(place.group)]
    names = [_name(measured, lead, row) for row in tied]
    found = [
        f"Not told apart from it on the same photos: {_listed(names)}." if tied else "No other method is tied with it."
    ]
    for comparison in ranking.comparisons:
        behind = next((row for row in others if places[id(row)] == comparison.second), None)
        if comparison.first == place and comparison.decided and behind is not None:
            difference = _text(lead.quantity, comparison.estimate, "points" if lead.quantity.is_rate else "")
            found.append(
                f"The next that it is ahead of for certain is {_name(measured, lead, behind)}, by {difference}."
            )
            break
    decided = sum(comparison.decided for comparison in ranking.neighbours)
    found.append(f"Of {counted(len(ranking.neighbours), 'pair')} of neighbours, {decided} are told apart.")
    return found


def _quality(quantity: Quantity, ranked: Sequence[HeadlineRow]) -> list[str]:
    """What protection costs the picture: a mean in a unit of its own, of the best row and over all."""
    best = ranked[0].values[quantity]
    if quantity.is_rate or not best.ok:
        return []
    values = [row.values[quantity].value for row in ranked if row.values[quantity].ok]
    ends = " to ".join(number_text(end, quantity.decimals) for end in (min(values), max(values)))
    return [f"Its {quantity.label} is {_text(quantity, best)}; over all ranked methods {ends}."]


def _name(measured: Measured, lead: Lead, row: HeadlineRow) -> str:
    """With its budget where methods at several compete, and with its ball where it is not that of the others."""
    if lead.is_foreign:
        return row.label(measured) + f" at {row.run.budget.title}" * bool(row.run.budget)
    return row.label(measured) + Norms(measured).aside(row.run, budget_of_interest(lead))


def _with_n(lead: Lead, row: HeadlineRow) -> str:
    """The quantity that rows are ordered by with its n, and what must be read beside it."""
    estimate = lead.estimate(row)
    return f"{_text(lead.quantity, estimate)} (n {estimate.n}){_beside(lead, row)}"


def _beside(lead: Lead, row: HeadlineRow) -> str:
    """``, with White-box MSR 100.0 % [95.4, 100.0]``; nothing where a row has no such value."""
    known = [(one, row.values[one]) for one in lead.headline.beside if row.values[one].ok]
    return f", with {_listed([f'{one.label} {_text(one, value)}' for one, value in known])}" if known else ""


def _text(quantity: Quantity, estimate: Estimate, unit: str = "%") -> str:
    """``63.3 % [56.7, 70.0]``, or a mean without a unit."""
    return quantity.number(estimate).words(unit * quantity.is_rate)


def _listed(words: Sequence[str]) -> str:
    """``a, b and c``; the last of many are counted only."""
    if len(words) > _NAMED:
        words = [*words[:_NAMED], f"{len(words) - _NAMED} more"]
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
