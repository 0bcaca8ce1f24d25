"""Readings: the measured number that a term of a claim stands for in a run, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cloakbench.bench.core.axes import row_name
from cloakbench.bench.report.estimate import Estimate, mean_estimate
from cloakbench.bench.report.index import CellPlace, Place
from cloakbench.bench.report.labels import UNTRANSFORMED
from cloakbench.bench.report.reported.cards import CardMatch
from cloakbench.bench.report.reported.claims import Term
from cloakbench.bench.report.reported.lookup import Lookup, MeasuredMethod, NotComparableError
from cloakbench.bench.report.table import Number


@dataclass(frozen=True)
class Reading:
    """A measured number with its interval; ``name`` says of what."""

    name: str
    estimate: Estimate
    unit: str

    @property
    def text(self) -> str:
        """``pgd 8/255, psr_p1_top1 41.0 % [38.2, 44.1]``."""
        scale, digits, unit = (100, 1, "%") if self.unit == "%" else (1, 3, "")
        return f"{self.name} {Number.of(self.estimate, scale, digits).words(unit)}"


def read_all(lookup: Lookup, terms: Sequence[Term]) -> dict[Term, Reading]:
    """The number of every term. Methods that need a surrogate are read on the surrogates that all of them have.

    Raises:
        NotComparableError: a term has no number in this run.
    """
    found = {
        term: lookup.find(
            term.protocol,
            row_name(term.method, term.variant),
            term.budget,
            targeted=term.targeted,
            subject=f"{term.method} is ",
        )
        for term in terms
    }
    surrogates = {term: surrogates_of(lookup, term, method) for term, method in found.items()}
    shared = [set(names) for names in surrogates.values() if names != ("",)]
    common = set.intersection(*shared) if shared else set()
    return {
        term: read(lookup, term, method, [name for name in surrogates[term] if name in common] or surrogates[term])
        for term, method in found.items()
    }


def read(lookup: Lookup, term: Term, method: MeasuredMethod, surrogates: Sequence[str]) -> Reading:
    """The number of a term for a measured method: the mean over surrogates.

    Raises:
        NotComparableError: a cell is missing, or is white-box.
    """
    place, run = Place(term.protocol, term.metric, term.condition), method.run
    asked = [CellPlace(place, run, surrogate) for surrogate in surrogates]
    if term.judge is not None:
        # An ensemble that leaves a target out is the one that it judges; the others say nothing of it.
        judged = [one for one in asked if not _only_white_box(lookup, term.judge, one)]
        asked = judged if judged and term.surrogate is None else asked
    cells = [_cell(lookup, term, one) for one in asked]
    row = run.method + f" {run.budget.title}" * bool(run.budget)
    where = f" on {surrogates[0]}" if len(surrogates) == 1 and surrogates[0] else ""
    if term.judge is not None:
        where += f" against {', '.join(dict.fromkeys(_judge(lookup, term.judge, one) for one in asked))}"
    where += ", white-box" * term.white_box
    condition = "" if term.condition == UNTRANSFORMED else f", {term.condition}"
    name = f"{row}{where}, {term.metric}{condition}"
    return Reading(name, mean_estimate(cells), term.unit)


def _cell(lookup: Lookup, term: Term, asked: CellPlace) -> Estimate:
    if term.judge is None:
        cell = lookup.white_box(asked) if term.white_box else lookup.black_box(asked)
    else:
        cell = lookup.rate(asked._replace(judge=_judge(lookup, term.judge, asked)))
    if not cell.ok:
        raise NotComparableError(f"{term.metric} of {term.method} has no value: {cell.note or 'not measured'}")
    return cell


def _judge(lookup: Lookup, match: CardMatch, asked: CellPlace) -> str:
    """The first judge that fits and is not the surrogate."""
    names = _judges(lookup, match)
    others = [name for name in names if not lookup.is_white_box(asked.surrogate, name)]
    if not others:
        raise NotComparableError("the only such judge is the surrogate" if names else "no such judge in this run")
    return others[0]


def _judges(lookup: Lookup, match: CardMatch) -> list[str]:
    cards = lookup.models.to_dict("records")
    return [str(card["name"]) for card in cards if "target" in card["roles"] and match.fits(card)]


def _only_white_box(lookup: Lookup, match: CardMatch, asked: CellPlace) -> bool:
    judges = _judges(lookup, match)
    return bool(judges) and all(lookup.is_white_box(asked.surrogate, judge) for judge in judges)


def surrogates_of(lookup: Lookup, term: Term, method: MeasuredMethod) -> tuple[str, ...]:
    """The surrogates of a measured method that a term asks for.

    Raises:
        NotComparableError: there is none.
    """
    if term.surrogate is None or method.surrogates == ("",):
        return method.surrogates
    cards = [card for card in lookup.models.to_dict("records") if card["name"] in method.surrogates]
    fitting = tuple(str(card["name"]) for card in cards if term.surrogate.fits(card))
    if not fitting:
        raise NotComparableError(f"{term.method} is not measured on such a surrogate")
    return fitting
