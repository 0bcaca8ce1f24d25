"""Claims: the rule of each checkable line of ``prose_claims.csv``, read from ``claims.yaml`` and checked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloakbench.bench.core.axes import BudgetSize, read_variant
from cloakbench.bench.report.reported.cards import CardMatch, read_match
from cloakbench.bench.report.reported.printed import ReportedSchemaError, load_prose, load_yaml

FILE = "claims.yaml"
_TOP = ("reasons", "counted", "terms", "claims", "orderings", "unchecked")
_CELL = ("protocol", "metric", "method", "epsilon_255", "variant", "surrogate", "judge", "condition")
_TERM = frozenset((*_CELL, "targeted", "unit", "white_box"))
PARTS: Mapping[str, Mapping[str, str]] = {
    "greater": {"left": "term", "right": "term"},
    "lowest": {"of": "term", "among": "terms"},
    "highest": {"of": "term", "among": "terms"},
    "between": {"of": "term", "low": "term", "high": "term"},
    "at_least": {"of": "term", "level": "number"},
    "at_most": {"of": "term", "level": "number"},
    "close": {"left": "term", "right": "term", "within": "number"},
    "undominated": {"of": "terms", "among": "lists"},
    "rises_with": {"of": "term", "axis": "text", "up_to": "optional number"},
    "settles": {"of": "term", "axis": "text", "from": "number", "within": "number"},
    "keeps": {"of": "term", "within": "number"},
    "drops_at_most": {"before": "term", "after": "term", "level": "number"},
    "drops_at_least": {"before": "term", "after": "term", "level": "number"},
    "weakest_on": {"of": "term", "surrogate": "match"},
    "about": {"of": "term", "dataset": "text"},
}
_ORDERS = ("order", "order_or_tie")
"""Rule to its parts. ``order`` takes a list of terms, weakest first, ``order_or_tie`` one in which neighbours may be
equal; ``all`` a list of rules."""
RULES = (*PARTS, *_ORDERS, "all")


@dataclass(frozen=True)
class Term:
    """One measured number.

    Attributes:
        protocol, metric, method, variant, condition: keys, as in the measurements.
        budget: at which it ran; None where none is asked for: 8/255 if there are several, else the only one.
        surrogate: which surrogates count; None for all.
        judge: who judged; None for the mean over all that are not the surrogate.
        targeted: whether the method must aim at another person.
        white_box: without a judge, the mean over those who are the surrogate.
        unit: ``%`` for a rate.
    """

    protocol: str
    metric: str
    method: str
    budget: BudgetSize | None = None
    variant: str = ""
    surrogate: CardMatch | None = None
    judge: CardMatch | None = None
    condition: str = "none"
    targeted: bool = False
    white_box: bool = False
    unit: str = "%"


@dataclass(frozen=True)
class Rule:
    """A rule by its kind; terms, lists of terms, numbers and texts are in ``parts`` under their names.

    Attributes:
        kind: one of `RULES`.
        parts: see `PARTS`; for ``order`` the terms under ``terms``, for ``all`` the rules under ``rules``.
    """

    kind: str
    parts: Mapping[str, Any]


@dataclass(frozen=True)
class Claim:
    """A line of ``prose_claims.csv`` with its rule; ``printed`` is empty for a claim without a number.

    An ordering that tables show has no line and no seed, and its section says where it is from. Where there is no rule,
    ``why_not`` says why nothing can be compared.
    """

    line: int
    seed: str
    section: str
    text: str
    printed: str
    unit: str
    rule: Rule | None
    why_not: str = ""


@dataclass(frozen=True)
class Claims:
    """All lines, and orderings.

    Attributes:
        checked: lines with a rule.
        orderings: what tables show.
        unchecked: number of every other line to the reason why it cannot be checked.
        stated: those of them that claim something; the others are settings and the like, which are only counted.
    """

    checked: tuple[Claim, ...]
    orderings: tuple[Claim, ...]
    unchecked: Mapping[int, str]
    stated: tuple[Claim, ...]


def load_claims() -> Claims:
    """The committed claims, checked against ``prose_claims.csv``.

    Raises:
        ReportedSchemaError: see `read_claims`.
    """
    return read_claims(load_yaml(FILE), load_prose())


def read_claims(content: Mapping[str, Any], prose: Sequence[Mapping[str, str]]) -> Claims:
    """Claims from the values of the YAML file.

    Args:
        content: ``reasons``, ``counted``, ``terms``, ``claims``, ``orderings`` and ``unchecked``.
        prose: the lines of ``prose_claims.csv``.

    Raises:
        ReportedSchemaError: one line naming the claim and the rule it breaks: a line that is in no CSV file, says
            something else, has neither rule nor reason or has two; an unknown rule, term, part or reason; a term that
            no rule uses.
    """
    if wrong := set(content) ^ set(_TOP):
        raise ReportedSchemaError(f"{FILE}: {min(map(str, wrong))!r} is missing or unknown at the top")
    terms = {name: _term(name, given) for name, given in content["terms"].items()}
    used: set[str] = set()
    checked = [_claim(given, prose, terms, used) for given in content["claims"]]
    orderings = tuple(_ordering(given, terms, used, content["reasons"]) for given in content["orderings"])
    unchecked: dict[int, str] = {}
    stated: list[Claim] = []
    seen = [claim.line for claim in checked]
    for given in content["unchecked"]:
        if set(given) != {"seed", "lines", "reason"} or given["reason"] not in content["reasons"]:
            raise ReportedSchemaError(f"{FILE}, unchecked: {given!r} needs seed, lines and one of the reasons")
        for line in _lines(given["lines"]):
            _line_of(prose, line, given["seed"])
            seen.append(line)
            unchecked[line] = why_not = content["reasons"][given["reason"]]
            if given["reason"] not in content["counted"]:
                stated.append(_line_claim(line, prose[line - 1], None, why_not))
    for line in range(1, len(prose) + 1):
        if seen.count(line) != 1:
            state = "two entries" if line in seen else "neither a rule nor a reason"
            raise ReportedSchemaError(f"{FILE}: line {line} ({prose[line - 1]['claim'][:60]}) has {state}")
    if unused := [name for name in terms if name not in used]:
        raise ReportedSchemaError(f"{FILE}, terms: no rule uses {unused[0]!r}")
    return Claims(tuple(sorted(checked, key=lambda claim: claim.line)), orderings, unchecked, tuple(stated))


def terms_of(rule: Rule) -> Iterator[Term]:
    """Every term of a rule, in the order it is written, some perhaps twice."""

    def walk(value: Any) -> Iterator[Term]:
        if isinstance(value, Term):
            yield value
        elif isinstance(value, Rule):
            yield from terms_of(value)
        elif isinstance(value, tuple):
            for one in value:
                yield from walk(one)

    for value in rule.parts.values():
        yield from walk(value)


def _claim(given: Any, prose: Sequence[Mapping[str, str]], terms: Mapping[str, Term], used: set[str]) -> Claim:
    if not isinstance(given, dict) or set(given) != {"line", "claim", "rule"}:
        raise ReportedSchemaError(f"{FILE}, claims: {given!r} needs line, claim and rule, and nothing else")
    row = _line_of(prose, given["line"])
    where = f"{FILE}, line {given['line']}"
    if not row["claim"].startswith(given["claim"]):
        raise ReportedSchemaError(
            f"{where}: prose_claims.csv says {row['claim'][:60]!r} there, not {given['claim'][:60]!r}"
        )
    rule = _rule(where, given["rule"], terms, used)
    return _line_claim(given["line"], row, rule)


def _line_claim(line: int, row: Mapping[str, str], rule: Rule | None, why_not: str = "") -> Claim:
    return Claim(line, row["seed"], row["section"], row["claim"], row["value"], row["unit"], rule, why_not)


def _ordering(given: Any, terms: Mapping[str, Term], used: set[str], reasons: Mapping[str, str]) -> Claim:
    if not isinstance(given, dict) or set(given) not in ({"claim", "source", "rule"}, {"claim", "source", "reason"}):
        raise ReportedSchemaError(f"{FILE}, orderings: {given!r} needs claim, source, and rule or reason, nothing else")
    if "reason" in given:
        if given["reason"] not in reasons:
            raise ReportedSchemaError(
                f"{FILE}, orderings: unknown reason {given['reason']!r}; use {', '.join(reasons)}"
            )
        return Claim(0, "", given["source"], given["claim"], "", "", None, reasons[given["reason"]])
    rule = _rule(f"{FILE}, orderings, {given['claim'][:60]}", given["rule"], terms, used)
    return Claim(0, "", given["source"], given["claim"], "", "", rule)


def _line_of(prose: Sequence[Mapping[str, str]], line: Any, seed: str | None = None) -> Mapping[str, str]:
    if not isinstance(line, int) or not 1 <= line <= len(prose):
        raise ReportedSchemaError(f"{FILE}: line {line!r} is not in prose_claims.csv, which has 1 to {len(prose)}")
    row = prose[line - 1]
    if seed is not None and row["seed"] != seed:
        raise ReportedSchemaError(f"{FILE}, unchecked: line {line} belongs to seed {row['seed']}, not {seed!r}")
    return row


def _lines(given: Any) -> Iterator[int]:
    """``[1-3, 7]`` as 1, 2, 3, 7."""
    for part in given if isinstance(given, list) else [given]:
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", str(part))
        if not match:
            raise ReportedSchemaError(f"{FILE}, unchecked: {part!r} is no line and no range like 3-7")
        yield from range(int(match[1]), int(match[2] or match[1]) + 1)


def _term(name: str, given: Any) -> Term:
    where = f"{FILE}, terms.{name}"
    if not isinstance(given, dict) or not {"protocol", "metric", "method"} <= set(given):
        raise ReportedSchemaError(f"{where}: a term has at least protocol, metric and method")
    if unknown := sorted(set(given) - _TERM):
        raise ReportedSchemaError(f"{where}: unknown part {unknown[0]!r}; use {', '.join(sorted(_TERM))}")
    values = dict(given)
    budget = values.get("epsilon_255")
    if budget is not None and not _is_number(budget):
        raise ReportedSchemaError(f"{where}: epsilon_255 is {budget!r}; write grey levels, or null for no budget")
    values["budget"] = BudgetSize.of(values.pop("epsilon_255")) if "epsilon_255" in given else None
    try:
        values["variant"] = read_variant(values.get("variant", ""))
        for role in {"surrogate", "judge"} & set(values):
            values[role] = read_match(values[role])
    except ValueError as problem:
        raise ReportedSchemaError(f"{where}: {problem}") from problem
    return Term(**values)


def _rule(where: str, given: Any, terms: Mapping[str, Term], used: set[str]) -> Rule:
    if not isinstance(given, dict) or len(given) != 1:
        raise ReportedSchemaError(f"{where}: a rule is one of {', '.join(RULES)} with its parts")
    kind, parts = next(iter(given.items()))
    if kind not in RULES:
        raise ReportedSchemaError(f"{where}: unknown rule {kind!r}; use {', '.join(RULES)}")
    if kind in ("all", *_ORDERS):
        if not isinstance(parts, list) or not parts:
            raise ReportedSchemaError(f"{where}: {kind} takes a list")
        if kind == "all":
            return Rule(kind, {"rules": tuple(_rule(where, one, terms, used) for one in parts)})
        return Rule(kind, {"terms": _value(where, kind, "terms", parts, terms, used)})
    expected = PARTS[kind]
    needed = {name for name, sort in expected.items() if not sort.startswith("optional")}
    if not isinstance(parts, dict) or not needed <= set(parts) <= set(expected):
        raise ReportedSchemaError(f"{where}: {kind} takes {', '.join(expected)}")
    return Rule(kind, {name: _value(where, name, expected[name], value, terms, used) for name, value in parts.items()})


def _value(where: str, name: str, sort: str, given: Any, terms: Mapping[str, Term], used: set[str]) -> Any:
    if sort.endswith("number"):
        if not _is_number(given):
            raise ReportedSchemaError(f"{where}: {name} is {given!r}; write a number")
        return float(given)
    if sort == "text" and isinstance(given, str):
        return given
    if sort == "match":
        try:
            return read_match(given)
        except ValueError as problem:
            raise ReportedSchemaError(f"{where}: {problem}") from problem
    if sort in ("terms", "lists") and isinstance(given, list):
        inner = "term" if sort == "terms" else "terms"
        return tuple(_value(where, name, inner, one, terms, used) for one in given)
    if sort != "term" or given not in terms:
        raise ReportedSchemaError(f"{where}: {name} names no term: {given!r}; terms are listed at the top of {FILE}")
    used.add(given)
    return terms[given]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
