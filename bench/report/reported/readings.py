"""Readings: the measured number that a term of a claim stands for in a run, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cloakbench.bench.report.estimate import Estimate, mean_estimate
from cloakbench.bench.report.labels import budget_name
from cloakbench.bench.report.reported.claims import Term
from cloakbench.bench.report.reported.lookup import Lookup, MeasuredMethod, WantedCell

USUAL_BUDGET_255 = 8.0


class NotComparableError(Exception):
    """A run has no number for a term; the message is the reason to print."""


@dataclass(frozen=True)
class Reading:
    """A measured number with its interval; ``name`` says of what."""

    name: str
    estimate: Estimate
    unit: str

    @property
    def text(self) -> str:
        """``pgd 8/255, psr_p1_top1 41.0 % [38.2, 44.1]``."""
        percent = self.unit == "%"
        factor, digits = (100, 1) if percent else (1, 3)
        ends = (self.estimate.value, self.estimate.low, self.estimate.high)
        value, low, high = (f"{factor * end:.{digits}f}" for end in ends)
        return f"{self.name} {value}{' %' * percent} [{low}, {high}]"


def read_all(lookup: Lookup, terms: Sequence[Term]) -> dict[Term, Reading]:
    """The number of every term. Methods that need a surrogate are read on the surrogates that all of them have.

    Raises:
        NotComparableError: a term has no number in this run.
    """
    found = {term: find_method(lookup, term) for term in terms}
    surrogates = {term: _surrogates(lookup, term, method) for term, method in found.items()}
    shared = [set(names) for names in surrogates.values() if names != ("",)]
    common = set.intersection(*shared) if shared else set()
    return {
        term: read(lookup, term, method, [name for name in surrogates[term] if name in common] or surrogates[term])
        for term, method in found.items()
    }


def find_method(lookup: Lookup, term: Term) -> MeasuredMethod:
    """The measured method of a term.

    Raises:
        NotComparableError: the protocol, the method or its budget is not in the run.
    """
    measured = lookup.measured(term.protocol)
    if not measured:
        raise NotComparableError(f"no {term.protocol} in this run")
    same = [one for one in measured if (one.method, one.variant) == (term.method, term.variant)]
    if not same:
        raise NotComparableError(f"{term.method} is not in this run")
    budgets = [one.epsilon_255 for one in same]
    wanted = term.epsilon_255
    if term.any_budget:
        wanted = USUAL_BUDGET_255 if len(same) > 1 else budgets[0]
    if wanted not in budgets:
        here = ", ".join(map(budget_name, budgets))
        raise NotComparableError(f"{term.method} is measured at {here}, not at {budget_name(wanted)}")
    found = same[budgets.index(wanted)]
    if term.targeted and not lookup.is_targeted(found):
        raise NotComparableError(f"{term.method} is not aimed at another person in this run")
    return found


def read(lookup: Lookup, term: Term, method: MeasuredMethod, surrogates: Sequence[str]) -> Reading:
    """The number of a term for a measured method: the mean over surrogates.

    Raises:
        NotComparableError: a cell is missing, or is white-box.
    """
    cells = []
    for surrogate in surrogates:
        asked = WantedCell(
            term.protocol,
            term.metric,
            method.method,
            method.epsilon_255,
            surrogate,
            condition=term.condition,
            variant=method.variant,
        )
        cells.append(_cell(lookup, term, asked))
    budget = "" if method.epsilon_255 is None else f" {budget_name(method.epsilon_255)}"
    variant = f", {method.variant}" if method.variant else ""
    where = f" on {surrogates[0]}" if len(surrogates) == 1 and surrogates[0] else ""
    condition = "" if term.condition == "none" else f", {term.condition}"
    name = f"{method.method}{variant}{budget}{where}, {term.metric}{condition}"
    return Reading(name, mean_estimate(cells), term.unit)


def under(term: Term, condition: str) -> Term:
    """The same term under another condition."""
    return replace(term, condition=condition)


def _cell(lookup: Lookup, term: Term, asked: WantedCell) -> Estimate:
    if term.judge is None:
        cell = lookup.black_box(asked)
    else:
        cards = [
            card for card in lookup.models.to_dict("records") if "target" in card["roles"] and term.judge.fits(card)
        ]
        cells = [lookup.rate(replace(asked, judge=card["name"])) for card in cards]
        black_box = [cell for cell in cells if not cell.white_box]
        if not black_box:
            raise NotComparableError("the only such judge is the surrogate" if cells else "no such judge in this run")
        cell = black_box[0]
    if not cell.ok:
        raise NotComparableError(f"{term.metric} of {term.method} has no value: {cell.note or 'not measured'}")
    return cell


def _surrogates(lookup: Lookup, term: Term, method: MeasuredMethod) -> tuple[str, ...]:
    if term.surrogate is None or method.surrogates == ("",):
        return method.surrogates
    cards = [card for card in lookup.models.to_dict("records") if card["name"] in method.surrogates]
    fitting = tuple(str(card["name"]) for card in cards if term.surrogate.fits(card))
    if not fitting:
        raise NotComparableError(f"{term.method} is not measured on such a surrogate")
    return fitting
