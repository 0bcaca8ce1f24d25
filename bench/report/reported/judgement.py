"""Judgement: whether a claim held in a run, by its rule on measured numbers and their intervals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cloakbench.bench.core.axes import row_name, split_row_name
from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.reported.claims import Claim, Rule, Term, terms_of
from cloakbench.bench.report.reported.lookup import Lookup, NotAskedError, NotComparableError
from cloakbench.bench.report.reported.printed import comparability, is_comparable
from cloakbench.bench.report.reported.readings import Reading, read, read_all, surrogates_of

HELD = "held"
NOT_HELD = "did not hold"
NOT_COMPARABLE = "not comparable"
CLEAR = "intervals apart"
UNCLEAR = "intervals overlap"


@dataclass(frozen=True)
class Judgement:
    """What became of a claim.

    Attributes:
        verdict: `HELD`, `NOT_HELD` (both by the measured values) or `NOT_COMPARABLE`.
        measured: the numbers it rests on, as text.
        because: whether the intervals say the same, or why nothing can be compared.
        asked: whether the run has the protocol and the methods that it is about; None where no run could judge it.
    """

    verdict: str
    measured: str = ""
    because: str = ""
    asked: bool | None = True


@dataclass(frozen=True)
class Comparison:
    """One step of a rule: whether it held by the values, and whether the intervals leave no other answer."""

    held: bool
    clear: bool


def judge(lookup: Lookup, claim: Claim) -> Judgement:
    """Judge one claim on a run."""
    if claim.rule is None:
        return Judgement(NOT_COMPARABLE, because=claim.why_not, asked=None)
    try:
        readings, steps = _steps(lookup, claim, claim.rule)
    except NotComparableError as reason:
        return Judgement(NOT_COMPARABLE, because=str(reason), asked=not isinstance(reason, NotAskedError))
    held = all(step.held for step in steps)
    decisive = [step.clear for step in steps if step.held == held]
    clear = all(decisive) if held else any(decisive)
    texts = dict.fromkeys(reading.text for reading in readings)
    return Judgement(HELD if held else NOT_HELD, "; ".join(texts), CLEAR if clear else UNCLEAR)


def _steps(lookup: Lookup, claim: Claim, rule: Rule) -> tuple[list[Reading], list[Comparison]]:
    if rule.kind == "all":
        parts = [_steps(lookup, claim, one) for one in rule.parts["rules"]]
        return [one for readings, _ in parts for one in readings], [one for _, steps in parts for one in steps]
    if rule.kind in _READ:
        return _READ[rule.kind](lookup, rule.parts)
    readings = read_all(lookup, list(dict.fromkeys(terms_of(rule))))
    if rule.kind == "about":
        return list(readings.values()), [_about(lookup, claim, rule, next(iter(readings.values())))]
    values = {term: reading.estimate for term, reading in readings.items()}
    return list(readings.values()), list(_COMPARE[rule.kind](rule.parts, values))


Parts = Mapping[str, Any]
Values = Mapping[Term, Estimate]


def _greater(parts: Parts, values: Values) -> Iterator[Comparison]:
    yield _above(values[parts["left"]], values[parts["right"]])


def _highest(parts: Parts, values: Values) -> Iterator[Comparison]:
    for other in parts["among"]:
        yield _above(values[parts["of"]], values[other])


def _lowest(parts: Parts, values: Values) -> Iterator[Comparison]:
    for other in parts["among"]:
        yield _above(values[other], values[parts["of"]])


def _between(parts: Parts, values: Values) -> Iterator[Comparison]:
    yield _above(values[parts["of"]], values[parts["low"]])
    yield _above(values[parts["high"]], values[parts["of"]])


def _order(parts: Parts, values: Values) -> Iterator[Comparison]:
    for weaker, stronger in itertools.pairwise(parts["terms"]):
        yield _above(values[stronger], values[weaker])


def _order_or_tie(parts: Parts, values: Values) -> Iterator[Comparison]:
    for weaker, stronger in itertools.pairwise(parts["terms"]):
        step = _above(values[stronger], values[weaker])
        yield replace(step, held=values[stronger].value >= values[weaker].value)


def _close(parts: Parts, values: Values) -> Iterator[Comparison]:
    yield _near(values[parts["left"]], values[parts["right"]], parts["within"])


def _at_least(parts: Parts, values: Values) -> Iterator[Comparison]:
    yield _above(values[parts["of"]], _exactly(parts["level"]), or_equal=True)


def _at_most(parts: Parts, values: Values) -> Iterator[Comparison]:
    yield _above(_exactly(parts["level"]), values[parts["of"]], or_equal=True)


def _drops_at_most(parts: Parts, values: Values) -> Iterator[Comparison]:
    yield _above(_exactly(parts["level"]), _drop(parts, values), or_equal=True)


def _drops_at_least(parts: Parts, values: Values) -> Iterator[Comparison]:
    yield _above(_drop(parts, values), _exactly(parts["level"]), or_equal=True)


def _drop(parts: Parts, values: Values) -> Estimate:
    """What a number loses, as a share of itself; the interval is of the ends that are farthest apart.

    Raises:
        NotComparableError: there is nothing to lose.
    """
    before, after = values[parts["before"]], values[parts["after"]]
    if before.value <= 0:
        raise NotComparableError("nothing to lose: the number before is 0")
    low = 1 - after.high / before.low if before.low > 0 else -math.inf
    return Estimate(1 - after.value / before.value, low, 1 - after.low / before.high)


def _exactly(level: float) -> Estimate:
    return Estimate(level, level, level)


def _undominated(parts: Parts, values: Values) -> Iterator[Comparison]:
    """Nobody is better in every number: against each other one, some number is higher."""
    for other in parts["among"]:
        steps = [_above(values[mine], values[theirs]) for mine, theirs in zip(parts["of"], other, strict=True)]
        held = any(step.held for step in steps)
        clear = any(step.clear for step in steps if step.held) if held else all(step.clear for step in steps)
        yield Comparison(held, clear)


_COMPARE: Mapping[str, Callable[[Parts, Values], Iterator[Comparison]]] = {
    "greater": _greater,
    "highest": _highest,
    "lowest": _lowest,
    "between": _between,
    "order": _order,
    "order_or_tie": _order_or_tie,
    "at_least": _at_least,
    "at_most": _at_most,
    "drops_at_most": _drops_at_most,
    "drops_at_least": _drops_at_least,
    "close": _close,
    "undominated": _undominated,
}


def _above(left: Estimate, right: Estimate, *, or_equal: bool = False) -> Comparison:
    held = left.value > right.value or (or_equal and left.value == right.value)
    return Comparison(held, left.low > right.high if held else left.high < right.low)


def _near(left: Estimate, right: Estimate, within: float) -> Comparison:
    held = abs(left.value - right.value) <= within
    farthest = max(left.high - right.low, right.high - left.low)
    nearest = max(left.low - right.high, right.low - left.high)
    return Comparison(held, farthest <= within if held else nearest > within)


def _about(lookup: Lookup, claim: Claim, rule: Rule, reading: Reading) -> Comparison:
    """A printed number lies in the measured interval; only where the printed data set was measured."""
    if not is_comparable(lookup.dataset, rule.parts["dataset"]):
        raise NotComparableError(comparability(lookup.dataset, rule.parts["dataset"]).removeprefix("not comparable: "))
    printed = float(claim.printed) / (100 if claim.unit in ("%", "pp") else 1)
    held = reading.estimate.low <= printed <= reading.estimate.high
    return Comparison(held, True)


def _along(lookup: Lookup, parts: Parts, low: float, high: float) -> list[Reading]:
    """A number at each measured value of a setting (``budget`` or a variant's) between two, ascending.

    Raises:
        NotComparableError: there are fewer than two.
    """
    term: Term = parts["of"]
    axis = parts["axis"]
    values = []
    for method in lookup.methods(term.protocol):
        run = method.run
        at = run.budget.epsilon_255 if axis == "budget" else method.settings.get(axis)
        other = axis != "budget" and term.budget not in (None, run.budget)
        name, variant = split_row_name(run.method)
        same = name == term.method and (axis != "budget" or variant == term.variant)
        if same and at is not None and not other and low <= at <= high:
            values.append((at, method))
    if not any(split_row_name(method.run.method)[0] == term.method for method in lookup.methods(term.protocol)):
        raise NotAskedError(f"{term.method} is not in this run")
    if len({at for at, _ in values}) < 2:
        raise NotComparableError(f"{term.method} is not measured at two values of {axis}")
    readings = []
    for _, method in sorted(values, key=lambda pair: pair[0]):
        one = replace(term, budget=method.run.budget, variant=split_row_name(method.run.method)[1])
        readings += read_all(lookup, [one]).values()
    return readings


def _rises(lookup: Lookup, parts: Parts) -> tuple[list[Reading], list[Comparison]]:
    """A number rises from each measured value of a setting to the next."""
    readings = _along(lookup, parts, -math.inf, parts.get("up_to", math.inf))
    return readings, [_above(later.estimate, earlier.estimate) for earlier, later in itertools.pairwise(readings)]


def _settles(lookup: Lookup, parts: Parts) -> tuple[list[Reading], list[Comparison]]:
    """From a value of a setting on, a number stays within a distance of what it is there."""
    readings = _along(lookup, parts, parts["from"], math.inf)
    first, *later = readings
    return readings, [_near(first.estimate, one.estimate, parts["within"]) for one in later]


def _keeps(lookup: Lookup, parts: Parts) -> tuple[list[Reading], list[Comparison]]:
    """A number stays within a distance of itself under every condition that was measured."""
    term: Term = parts["of"]
    base = next(iter(read_all(lookup, [term]).values()))
    others = [condition for condition in lookup.conditions(term.protocol) if condition != term.condition]
    if not others:
        raise NotComparableError("no other condition in this run")
    readings = [next(iter(read_all(lookup, [replace(term, condition=condition)]).values())) for condition in others]
    return [base, *readings], [_near(base.estimate, one.estimate, parts["within"]) for one in readings]


def _weakest_on(lookup: Lookup, parts: Parts) -> tuple[list[Reading], list[Comparison]]:
    """A number is lower on one surrogate than on every other one."""
    term: Term = parts["of"]
    row = row_name(term.method, term.variant)
    method = lookup.find(term.protocol, row, term.budget, targeted=term.targeted, subject=f"{term.method} is ")
    [weakest, *_] = surrogates_of(lookup, replace(term, surrogate=parts["surrogate"]), method)
    others = [name for name in method.surrogates if name != weakest]
    if not others:
        raise NotComparableError("measured on one surrogate only")
    own, *rest = (read(lookup, term, method, [name]) for name in (weakest, *others))
    return [own, *rest], [_above(one.estimate, own.estimate) for one in rest]


_READ: Mapping[str, Callable[[Lookup, Parts], tuple[list[Reading], list[Comparison]]]] = {
    "rises_with": _rises,
    "settles": _settles,
    "keeps": _keeps,
    "weakest_on": _weakest_on,
}
"""Rules about more numbers than their terms name."""
