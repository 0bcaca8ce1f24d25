"""Lookup: the few questions that pairings and claims ask of the measurements, and an answer from a results record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import pandas as pd

from cloakbench.bench.report.estimate import Estimate, estimate_of, mean_estimate, records, text
from cloakbench.bench.report.index import JointMeans, Place, Run
from cloakbench.bench.report.labels import UNTRANSFORMED, VARIANT
from cloakbench.bench.report.results import Results


@dataclass(frozen=True)
class WantedCell:
    """Which cell of the measurements is meant.

    Attributes:
        protocol, metric, method: keys.
        epsilon_255: budget in grey levels; None for methods without one.
        surrogate: surrogate key; empty for methods that use none.
        judge: who judged; empty for metrics without a judge.
        condition: what happened to the photos after publication.
        variant: settings that set the method apart from its other rows, as the measurements spell them.
    """

    protocol: str
    metric: str
    method: str
    epsilon_255: float | None = None
    surrogate: str = ""
    judge: str = ""
    condition: str = UNTRANSFORMED
    variant: str = ""


@dataclass(frozen=True)
class MeasuredMethod:
    """A method as one protocol measured it.

    Attributes:
        method, variant, epsilon_255: as in `WantedCell`.
        surrogates: the surrogates it was measured on; ``("",)`` when it uses none.
        settings: the variant as setting to number, for claims about a rise with a setting.
    """

    method: str
    variant: str
    epsilon_255: float | None
    surrogates: tuple[str, ...]
    settings: Mapping[str, float] = field(default_factory=dict)


class Lookup(Protocol):
    """What tables of reported numbers need of a run."""

    @property
    def dataset(self) -> str:
        """Name and version of the data set."""
        ...

    @property
    def models(self) -> pd.DataFrame:
        """Model cards: name, roles, family, backbone, head, stands_for, robust."""
        ...

    def measured(self, protocol: str) -> tuple[MeasuredMethod, ...]:
        """Every method that the protocol measured; empty when it did not run."""
        ...

    def conditions(self, protocol: str) -> tuple[str, ...]:
        """The conditions that the protocol measured under."""
        ...

    def rate(self, asked: WantedCell) -> Estimate:
        """One cell; missing when there is none."""
        ...

    def black_box(self, asked: WantedCell) -> Estimate:
        """Mean over the judges of the metric that are not the surrogate, whatever ``asked.judge`` says."""
        ...

    def is_targeted(self, method: MeasuredMethod) -> bool:
        """Whether the method, with its settings, aims at another person."""
        ...


class ResultLookup:
    """A `Lookup` over ``Results``.

    Raises:
        KeyError: the measurements lack a column.
    """

    def __init__(self, results: Results) -> None:
        self.dataset: str = results.dataset
        self.models: pd.DataFrame = results.models
        self._targeted = {_variant(str(line["key"])) for line in records(results.methods) if line["targeted"]}
        self._cells: dict[WantedCell, Estimate] = {}
        self._joint = JointMeans(results.means)
        self._judges: dict[tuple[str, str], dict[str, None]] = {}
        self._white_box: set[tuple[str, str]] = set()
        measured: dict[tuple[str, str, str, float | None], dict[str, None]] = {}
        for row in records(results.measurements):
            asked = _asked(row)
            cell = estimate_of(row)
            self._cells[asked] = cell
            self._judges.setdefault((asked.protocol, asked.metric), {})[asked.judge] = None
            key = (asked.protocol, asked.method, asked.variant, asked.epsilon_255)
            measured.setdefault(key, {})[asked.surrogate] = None
            if cell.white_box:
                self._white_box.add((asked.surrogate, asked.judge))
        order = [str(name) for name in self.models["name"]] if len(self.models) else []
        self._measured = {
            key: MeasuredMethod(*key[1:], _in_order(surrogates, order), _settings(key[2]))
            for key, surrogates in sorted(measured.items(), key=lambda entry: (*entry[0][:3], entry[0][3] or 0.0))
        }

    def measured(self, protocol: str) -> tuple[MeasuredMethod, ...]:
        return tuple(found for key, found in self._measured.items() if key[0] == protocol)

    def conditions(self, protocol: str) -> tuple[str, ...]:
        return tuple(sorted({asked.condition for asked in self._cells if asked.protocol == protocol}))

    def rate(self, asked: WantedCell) -> Estimate:
        return self._cells.get(asked, Estimate())

    def black_box(self, asked: WantedCell) -> Estimate:
        judges = self._judges.get((asked.protocol, asked.metric), {})
        others = [judge for judge in judges if (asked.surrogate, judge) not in self._white_box]
        mean = mean_estimate([self.rate(replace(asked, judge=judge)) for judge in others])
        place = Place(asked.protocol, asked.metric, asked.condition)
        method = VARIANT.join(part for part in (asked.method, asked.variant) if part)
        return self._joint.of(mean, place, Run(method, asked.epsilon_255), asked.surrogate)

    def is_targeted(self, method: MeasuredMethod) -> bool:
        return (method.method, method.variant) in self._targeted


def _asked(row: dict[str, Any]) -> WantedCell:
    method, variant = _variant(str(row["method"]))
    budget = None if pd.isna(row["epsilon_255"]) else float(row["epsilon_255"])
    surrogate, judge = text(row["surrogate"]), text(row["judge"])
    return WantedCell(row["protocol"], row["metric"], method, budget, surrogate, judge, row["condition"], variant)


def _variant(key: str) -> tuple[str, str]:
    """``pgd, steps 2`` as method and variant."""
    method, _, variant = key.partition(VARIANT)
    return method, variant


def _settings(variant: str) -> dict[str, float]:
    """``steps 2, decay 0.5`` as numbers by name; settings that are no numbers are left out."""
    settings = {}
    for part in variant.split(VARIANT):
        name, _, value = part.rpartition(" ")
        try:
            settings[name] = float(value)
        except ValueError:
            continue
    return settings


def _in_order(keys: Mapping[str, None], order: list[str]) -> tuple[str, ...]:
    """Keys in the order of the model cards, unknown ones (ensembles) last and by name."""
    return tuple(sorted(keys, key=lambda key: (order.index(key) if key in order else len(order), key)))
