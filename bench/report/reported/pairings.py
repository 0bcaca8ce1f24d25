"""Pairings: which measured number stands beside which printed one, read from ``pairings.yaml`` and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cloakbench.bench.core.axes import NO_BUDGET, BudgetSize, read_variant, row_name
from cloakbench.bench.report.index import Run
from cloakbench.bench.report.reported.cards import Networks, read_match
from cloakbench.bench.report.reported.printed import ReportedSchemaError, load_lines, load_yaml

FILE = "pairings.yaml"
ANY = "any"
LEAVE_ONE_OUT = "leave_one_out"
AVERAGE = "average"
NOT_APPLICABLE = "not_applicable"
GAIN_ENDINGS = ("_gain_printed", "_change_printed")
"""Metrics of differences that are printed beside a value; no rows of their own."""

Box = Literal["black", "white", "none"]
_NAMED = ("dataset", "surrogate", "method", "target", "metric")
_TOP = {"names", "reasons", "networks", "side_by_side", "caveats", "tables"}
_TABLE = {
    "label": str,
    "title": str,
    "protocol": str,
    "box": str,
    "epsilon_255": (int, float, type(None)),
    "targeted": bool,
    "surrogates": str,
    "targets": str,
    "services": dict,
    "condition": str,
    "conditions": dict,
    "metrics": dict,
    "unpaired_metrics": dict,
    "methods": dict,
    "reported_only": (dict, str),
    "own": str,
    "base": str,
    "also": dict,
    "notes": list,
}


@dataclass(frozen=True)
class Pairing:
    """One printed table and what stands beside it.

    Attributes:
        name: ``PAPER_NUMBER``, as in the file names of the tables.
        label: how the paper numbers it.
        title: of the printed table here.
        protocol: who measured what stands beside it; empty when nothing does.
        box: whether the printed judges are the surrogate (``white``), others (``black``), or there is no judge.
        budget: of the table, where its rows have none of their own.
        targeted: only methods that aim at another person stand beside it.
        condition: what happened to the photos.
        conditions: printed target to what happened to the photos that it judged; then targets may share a network.
        surrogates: printed surrogate to model cards; None when every surrogate of the run may stand beside it.
        leave_one_out: each column stands beside the ensemble of the run that its target is not in.
        targets: printed target to model cards; to none where services are printed.
        services: printed service to the one that is asked.
        metrics: printed metric to measured metric, ``PROTOCOL.METRIC`` where another protocol measured it.
        methods: printed method to measured method.
        why_not: printed method or metric to the reason why nothing stands beside it.
        own: printed method of the paper itself, whose distance from the best other one is shown; empty for none.
        base: printed method that others are printed as changes from, beside their values; empty for none.
        also: label of further rows to their metrics, as ``metrics``, where a run measured them.
        notes: what to know of the printed table, a sentence each.
    """

    name: str
    label: str
    title: str
    protocol: str = ""
    box: Box = "black"
    budget: BudgetSize = NO_BUDGET
    targeted: bool = False
    condition: str = "none"
    conditions: Mapping[str, str] = field(default_factory=dict)
    surrogates: Networks | None = None
    targets: Networks = field(default_factory=dict)
    services: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)
    methods: Mapping[str, Run] = field(default_factory=dict)
    why_not: Mapping[str, str] = field(default_factory=dict)
    leave_one_out: bool = False
    own: str = ""
    base: str = ""
    also: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pairings:
    """All printed tables.

    Attributes:
        tables: by name, in order.
        side_by_side: tables that share their measured rows.
        caveats: what to read under those.
        names: printed key of a data set, network, method or metric to its printed name.
    """

    tables: Mapping[str, Pairing]
    side_by_side: tuple[str, ...]
    caveats: tuple[str, ...]
    names: Mapping[str, str]

    def printed_name(self, key: str) -> str:
        """How the paper calls a data set, network, method or metric; the key where it is the name."""
        return self.names.get(key, key)


def load_pairings(printed: Mapping[str, list[dict[str, Any]]] | None = None) -> Pairings:
    """The committed pairings, checked against the printed tables.

    Raises:
        ReportedSchemaError: see `read_pairings`.
    """
    return read_pairings(load_yaml(FILE), load_lines() if printed is None else printed)


def read_pairings(content: Mapping[str, Any], printed: Mapping[str, list[dict[str, Any]]]) -> Pairings:
    """Pairings from the values of the YAML file.

    Args:
        content: ``names``, ``reasons``, ``networks``, ``side_by_side``, ``caveats`` and ``tables``.
        printed: the lines of each table, from `load_lines`.

    Raises:
        ReportedSchemaError: one line naming the table and the rule: a table that is in no CSV file or has no pairing, a
            method, metric or target that the table does not print, that is left out or named twice, an unknown reason,
            network set, column or value.
    """
    if wrong := set(content) ^ _TOP:
        raise ReportedSchemaError(f"{FILE}: {min(map(str, wrong))!r} is missing or unknown at the top")
    networks = {name: _networks(name, given) for name, given in content["networks"].items()}
    tables = {}
    for name, given in content["tables"].items():
        if name not in printed:
            raise ReportedSchemaError(f"{FILE}, {name}: no CSV file holds such a table; there is {', '.join(printed)}")
        tables[name] = _pairing(name, given, printed[name], content["reasons"], networks)
    if left := [name for name in printed if name not in tables]:
        raise ReportedSchemaError(
            f"{FILE}: {left[0]} has no entry under tables; a reason why nothing is paired will do"
        )
    beside = tuple(content["side_by_side"])
    if unknown := [name for name in beside if not (name in tables and tables[name].methods)]:
        raise ReportedSchemaError(f"{FILE}, side_by_side: {unknown[0]!r} is no table with a measurement beside it")
    known = {line[column] for lines in printed.values() for line in lines for column in _NAMED}
    if unknown := [name for name in content["names"] if name not in known]:
        raise ReportedSchemaError(f"{FILE}, names: no table prints {unknown[0]!r}")
    return Pairings(tables, beside, tuple(content["caveats"]), content["names"])


def _networks(name: str, given: Any) -> Networks:
    try:
        return {key: tuple(read_match(match) for match in matches) for key, matches in given.items()}
    except (ValueError, AttributeError, TypeError) as problem:
        raise ReportedSchemaError(f"{FILE}, networks.{name}: {problem}") from problem


def _pairing(
    name: str,
    given: Mapping[str, Any],
    rows: list[dict[str, Any]],
    reasons: Mapping[str, str],
    networks: Mapping[str, Networks],
) -> Pairing:
    where = f"{FILE}, {name}"
    _check_types(where, given)
    methods, metrics = given.get("methods", {}), given.get("metrics", {})
    excused = given["reported_only"]
    printed_methods = list(dict.fromkeys(line["method"] for line in rows))
    if isinstance(excused, str):
        excused = dict.fromkeys(printed_methods, excused)
    else:
        printed_metrics = [
            one for one in dict.fromkeys(line["metric"] for line in rows) if not one.endswith(GAIN_ENDINGS)
        ]
        _covers(where, "metric", printed_metrics, metrics, given.get("unpaired_metrics", {}))
    _covers(where, "method", printed_methods, methods, excused)
    for key, reason in (excused := excused | given.get("unpaired_metrics", {})).items():
        if reason not in reasons:
            raise ReportedSchemaError(f"{where}: unknown reason {reason!r} for {key}; use {', '.join(reasons)}")
    box = _box(where, given)
    if methods and not (given.get("protocol") and "surrogates" in given and "epsilon_255" in given):
        raise ReportedSchemaError(f"{where}: methods are paired without a protocol, surrogates and epsilon_255")
    surrogates, targets = given.get("surrogates", ANY), given.get("targets")
    free = surrogates in (ANY, LEAVE_ONE_OUT)
    for asked in (surrogates, targets):
        if asked not in (None, ANY, LEAVE_ONE_OUT, *networks):
            raise ReportedSchemaError(f"{where}: no networks are called {asked!r}; there is {', '.join(networks)}")
    judged = networks[targets] if targets else dict.fromkeys(given.get("services", {}), ())
    own = None if free else networks[surrogates]
    _check_networks(where, rows, methods, judged, own)
    _check_names(where, given, judged, printed_methods)
    return Pairing(
        name=name,
        label=given["label"],
        title=given["title"],
        protocol=given.get("protocol", ""),
        box=box,
        budget=BudgetSize.of(given.get("epsilon_255")),
        targeted=given.get("targeted", False),
        condition=given.get("condition", "none"),
        conditions=given.get("conditions", {}),
        surrogates=own,
        leave_one_out=surrogates == LEAVE_ONE_OUT,
        targets=judged,
        services=given.get("services", {}),
        metrics=metrics,
        methods={key: _paired(where, key, method, given["epsilon_255"]) for key, method in methods.items()},
        why_not={key: reasons[reason] for key, reason in excused.items()},
        own=given.get("own", ""),
        base=given.get("base", ""),
        also=given.get("also", {}),
        notes=tuple(given.get("notes", ())),
    )


def _check_names(where: str, given: Mapping[str, Any], judged: Networks, printed_methods: list[str]) -> None:
    """Conditions are of the targets, further rows have all metrics, and what changes are from is printed."""
    if set(conditions := given.get("conditions", judged)) != set(judged):
        raise ReportedSchemaError(f"{where}: conditions are of {', '.join(conditions)}, targets {', '.join(judged)}")
    metrics = given.get("metrics", {})
    if odd := [label for label, others in given.get("also", {}).items() if set(others) != set(metrics)]:
        raise ReportedSchemaError(f"{where}: also, {odd[0]}: name a metric for each of {', '.join(metrics)}")
    for key in {"own", "base"} & set(given):
        if given[key] not in printed_methods:
            raise ReportedSchemaError(f"{where}: {key} is {given[key]!r}, which the table does not print")


def _box(where: str, given: Mapping[str, Any]) -> Box:
    box = given.get("box", "black")
    if box not in ("black", "white", "none"):
        raise ReportedSchemaError(f"{where}: box is {box!r}; use black, white or none")
    return box


def _paired(where: str, key: str, given: Any, epsilon_255: float | None) -> Run:
    """A measured method, by its key or as ``{method, epsilon_255, variant}``."""
    given = {"method": given} if isinstance(given, str) else given
    if not isinstance(given, dict) or "method" not in given or set(given) - {"method", "epsilon_255", "variant"}:
        raise ReportedSchemaError(
            f"{where}: {key} names no measured method; write a key or {{method, epsilon_255, variant}}"
        )
    budget = BudgetSize.of(given.get("epsilon_255", epsilon_255))
    try:
        return Run(row_name(given["method"], read_variant(given.get("variant", ""))), budget)
    except ValueError as problem:
        raise ReportedSchemaError(f"{where}: {key}: {problem}") from problem


def _check_types(where: str, given: Any) -> None:
    if not isinstance(given, dict) or not {"label", "title", "reported_only"} <= set(given):
        raise ReportedSchemaError(f"{where}: an entry has at least label, title and reported_only")
    for key, value in given.items():
        if key not in _TABLE:
            raise ReportedSchemaError(f"{where}: unknown key {key!r}; use {', '.join(_TABLE)}")
        if not isinstance(value, _TABLE[key]):
            raise ReportedSchemaError(f"{where}: {key} cannot be {value!r}")


def _covers(where: str, kind: str, printed: list[str], paired: Mapping[str, Any], excused: Mapping[str, str]) -> None:
    """Every printed key is paired or excused, once, and nothing else is."""
    for key in (*paired, *excused):
        if key not in printed:
            raise ReportedSchemaError(f"{where}: the table prints no {kind} {key!r}; it prints {', '.join(printed)}")
    for key in printed:
        if (key in paired) == (key in excused):
            state = "both paired and reported only" if key in paired else "neither paired nor given a reason"
            raise ReportedSchemaError(f"{where}: {kind} {key!r} is {state}")


def _check_networks(
    where: str, rows: list[dict[str, Any]], methods: Mapping[str, Any], targets: Networks, surrogates: Networks | None
) -> None:
    """Every printed network of a paired table has a match, and every match a printed network."""
    if not methods:
        return
    for column, networks in (("target", targets), ("surrogate", surrogates)):
        if networks is None:
            continue
        printed = {line[column] for line in rows} - {AVERAGE, NOT_APPLICABLE}
        if wrong := printed ^ set(networks):
            raise ReportedSchemaError(
                f"{where}: {column} {min(wrong)!r} is printed without a match or matched without print"
            )
