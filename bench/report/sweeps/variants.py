"""Variants, set by a multirun beside method and budget: those of methods, and parts that cannot share a table.

A *variant* is a method under some settings of the multirun; in the combined results it is a method of its own, called
``pgd, steps 2``. A *part* holds the runs that can share tables: the same photos and setup, and equal rows of the
controls. Seeds, data sets, statistics and settings of targets therefore make parts, settings of methods make variants.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from cloakbench.bench.report.decisions.decide import with_decisions
from cloakbench.bench.report.labels import CONTROLS, VARIANT
from cloakbench.bench.report.reporters import reporters
from cloakbench.bench.report.results import Example, Records, Results
from cloakbench.bench.report.sweeps.combine import CELL, MixedResultsError, combine, differences

_AXES = re.compile(
    r"method|(.+\.)?epsilons?_255|ensembles(\..+)?|single_surrogates"
    r"|(model@(surrogate|target)|method@method|transform@transform)s?(\..+)?"
)
"""Settings that a table has an axis for."""
_NEUTRAL = re.compile(r"(runtime|logger|paths|report|hydra|name|description)\b.*")
"""Settings that change no number."""


@dataclass(frozen=True)
class SweepJob:
    """A finished run of a multirun.

    Attributes:
        results: of the run.
        settings: what the multirun set for it, setting to value.
        method: key of the method that ``method=`` chose, if it did.
    """

    results: Results
    settings: Mapping[str, Any] = field(default_factory=dict)
    method: str | None = None


@dataclass(frozen=True)
class Variant:
    """A method under some settings."""

    method: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """Runs that share tables.

    Attributes:
        results: the runs as one; its method keys are those of `variants`.
        settings: what sets this part apart from the others.
        variants: method key to what it stands for.
        jobs: places of its runs among all.
    """

    results: Results
    settings: Mapping[str, Any]
    variants: Mapping[str, Variant]
    jobs: tuple[int, ...]


@dataclass(frozen=True)
class Sweep:
    """A whole multirun.

    Attributes:
        parts: what shares tables.
        names: the settings that make variants or parts, in the order they were given, to their printed names.
    """

    parts: tuple[Part, ...]
    names: Mapping[str, str]

    def describe(self, settings: Mapping[str, Any]) -> str:
        """``steps 2, seed 0``; nothing for no settings."""
        return VARIANT.join(f"{self.names[key]} {value_text(value)}" for key, value in settings.items())


def arrange(jobs: Sequence[SweepJob]) -> Sweep:
    """Sort the runs of a multirun into parts. There is a way for any runs: the worst is a part for each.

    Raises:
        MixedResultsError: no runs.
    """
    if not jobs:
        raise MixedResultsError("nothing to combine: the sweep has no finished run")
    names = _short_names(_varying([job.settings for job in jobs]))
    any_target = any(key.startswith("model@target") for job in jobs for key in job.settings)
    groups: list[_Group] = []
    for number, job in enumerate(jobs):
        group = next((group for group in groups if group.takes(job.results, any_target=any_target)), None)
        if group is None:
            groups.append(group := _Group(job.results))
        group.add(number, job.results)
    sorted_jobs: list[list[int]] = []
    for group in groups:
        try:
            _combined(jobs, group.jobs, names)
            sorted_jobs.append(group.jobs)
        except MixedResultsError:  # something that no setting of the multirun explains
            sorted_jobs += [[number] for number in group.jobs]
    parts = []
    for numbers in sorted_jobs:
        results, variants = _combined(jobs, numbers, names)
        results = with_decisions(results, reporters(results)) if results.records else results
        within = _varying([jobs[number].settings for number in numbers])
        first = jobs[numbers[0]].settings
        settings = {key: first[key] for key in names if key in first and key not in within}
        parts.append(Part(results, settings if len(sorted_jobs) > 1 else {}, variants, tuple(numbers)))
    used = {key for part in parts for key in part.settings}
    used |= {key for part in parts for variant in part.variants.values() for key in variant.settings}
    return Sweep(tuple(parts), {key: name for key, name in names.items() if key in used})


def all_measurements(sweep: Sweep) -> pd.DataFrame:
    """The measurements of all parts, with a column ``variant`` and one for each setting that makes variants or parts.

    A setting is empty where it changes nothing, such as a method's in the rows of the controls.
    """
    frames = []
    for part in sweep.parts:
        frame, methods = part.results.measurements, part.results.measurements["method"]
        if sweep.names:
            of = {key: {**part.settings, **variant.settings} for key, variant in part.variants.items()}
            frame = frame.assign(
                method=[part.variants[key].method for key in methods],
                variant=[
                    sweep.describe({name: of[key][name] for name in sweep.names if name in of[key]}) for key in methods
                ],
                **{
                    name: [value_text(of[key][name]) if name in of[key] else "" for key in methods]
                    for name in sweep.names
                },
            )
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def value_text(value: Any) -> str:
    """A setting's value as a command line has it."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


class _Group:
    """Runs on the same photos, with the same setup and targets and no control row of two values."""

    def __init__(self, first: Results) -> None:
        self.first = first
        self.controls: dict[tuple[str, ...], tuple[str, ...]] = {}
        self.jobs: list[int] = []

    def takes(self, results: Results, *, any_target: bool) -> bool:
        """``any_target``: the multirun sets the targets, which the tables then have columns for."""
        if results.manifest_sha256 != self.first.manifest_sha256 or differences(results, self.first):
            return False
        if not any_target and _targets(results) != _targets(self.first):
            return False
        return all(self.controls.get(cell, value) == value for cell, value in _control_rows(results).items())

    def add(self, number: int, results: Results) -> None:
        self.controls |= _control_rows(results)
        self.jobs.append(number)


def _targets(results: Results) -> set[str]:
    return set(results.measurements["judge"])


def _control_rows(results: Results) -> dict[tuple[str, ...], tuple[str, ...]]:
    frame = results.measurements.loc[results.measurements["method"].isin(CONTROLS)].astype(str)
    values = frame[["value", "low", "high", "n", "status"]]
    return dict(zip(map(tuple, frame[CELL].to_numpy()), map(tuple, values.to_numpy()), strict=True))


def _combined(
    jobs: Sequence[SweepJob], numbers: Sequence[int], names: Mapping[str, str]
) -> tuple[Results, dict[str, Variant]]:
    """The runs as one, each method renamed to its variant."""
    within = [key for key in _varying([jobs[number].settings for number in numbers]) if key in names]
    variants: dict[str, Variant] = {}
    renamed = []
    for number in numbers:
        job = jobs[number]
        of = {key: Variant(key, _settings_of(key, job, within)) for key in _method_keys(job.results)}
        keys = {
            key: VARIANT.join(
                [key, *(f"{names[name]} {value_text(value)}" for name, value in variant.settings.items())]
            )
            for key, variant in of.items()
        }
        variants |= {keys[key]: variant for key, variant in of.items()}
        renamed.append(_renamed(job.results, keys))
    return combine(renamed), variants


def _settings_of(method: str, job: SweepJob, within: Sequence[str]) -> dict[str, Any]:
    """The settings that a method's rows depend on; the controls, which are equal in a part, on none."""
    if method in CONTROLS:
        return {}
    return {key: job.settings.get(key) for key in within if key in job.settings and _concerns(key, method, job.method)}


def _concerns(setting: str, method: str, chosen: str | None) -> bool:
    if setting.startswith("method."):
        return method == chosen or chosen is None
    owner = re.match(r"(?:protocols\.[^.]+\.)?methods\.([^.]+)\.", setting)
    return owner is None or owner[1] == method


def _method_keys(results: Results) -> list[str]:
    frames = (results.measurements["method"], results.methods["key"], results.costs["method"])
    return list(dict.fromkeys(key for frame in frames for key in frame))


def _renamed(results: Results, keys: Mapping[str, str]) -> Results:
    def label(old: str) -> str:
        """``pgd 8/255``, as the examples have it."""
        method, blank, budget = old.partition(" ")
        return keys.get(method, method) + blank + budget

    def named(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(method=[keys[key] for key in frame["method"]])

    examples = tuple(
        Example(one.image_id, one.original, {label(old): photo for old, photo in one.protected.items()})
        for one in results.examples
    )
    return replace(
        results,
        measurements=named(results.measurements),
        methods=results.methods.assign(key=[keys[key] for key in results.methods["key"]]),
        costs=named(results.costs),
        examples=examples,
        records=Records(results.records, lambda name: named(results.records[name])),
    )


def _varying(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Settings that have more than one value, tables' axes and what changes no number left out."""
    keys = dict.fromkeys(key for one in settings for key in one)
    return [
        key
        for key in keys
        if len({json.dumps(one.get(key), default=str, sort_keys=True) for one in settings}) > 1
        and not _AXES.fullmatch(key)
        and not _NEUTRAL.fullmatch(key)
    ]


def _short_names(keys: Sequence[str]) -> dict[str, str]:
    """Printed names: the last word of a setting, or all of it where two settings share that."""
    last = {key: re.split(r"[.@/]", key)[-1].replace("_", " ") for key in keys}
    shared = [name for name in last.values() if list(last.values()).count(name) > 1]
    return {key: key if name in shared else name for key, name in last.items()}
