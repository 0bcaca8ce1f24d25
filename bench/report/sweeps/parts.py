"""`Sweep`: the runs of a multirun sorted into parts, each a `Results` whose column of variants says what was set.

What a multirun sets for a method makes variants of it, as ``variants`` of an experiment do, in the same column and the
same spelling. A *part* holds the runs that can share tables: the same photos and setup, and equal rows of the controls.
Seeds, data sets, statistics and settings of targets therefore make parts, settings of methods make variants.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from cloakbench.bench.core.axes import row_name, split_row_name, variant_settings, variant_text
from cloakbench.bench.report.decisions.decide import with_decisions
from cloakbench.bench.report.estimate import records
from cloakbench.bench.report.labels import CONTROLS
from cloakbench.bench.report.reporters import reporters
from cloakbench.bench.report.results import PhotoRecords, Results
from cloakbench.bench.report.sweeps.combine import CELL, MixedResultsError, combine, differences

_AXES = re.compile(
    r"method|(.+\.)?epsilons?_255|ensembles(\..+)?|single_surrogates|variants(\..+)?"
    r"|(model@(surrogate|target)|method@method|transform@transform)s?(\..+)?"
)
"""Settings that a table has an axis for."""
_CHOSEN = "method"
"""Stands for the method that ``method=`` chose."""
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
class Part:
    """Runs that share tables.

    Attributes:
        results: the runs as one.
        settings: what sets this part apart from the others.
        jobs: places of its runs among all.
    """

    results: Results
    settings: Mapping[str, Any]
    jobs: tuple[int, ...]


@dataclass(frozen=True)
class Sweep:
    """Everything that was run under several settings: a multirun, or a run with variants.

    Attributes:
        parts: what shares tables.
        names: the settings that make variants or parts, those of the multirun first, in the order they were given.
    """

    parts: tuple[Part, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, results: Results) -> Sweep:
        """That of one run; without names where it has no variants."""
        return cls((Part(results, {}, (0,)),), tuple(_varied(results)))


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
        within = _varying([jobs[number].settings for number in numbers])
        first = jobs[numbers[0]].settings
        apart = [key for key in names if key in first and key not in within and not _owner(key)[0]]
        settings = {names[key]: first[key] for key in apart} if len(sorted_jobs) > 1 else {}
        results = _combined(jobs, numbers, names)
        results = with_decisions(results, reporters(results)) if results.records else results
        parts.append(Part(results, settings, tuple(numbers)))
    used = dict.fromkeys(name for part in parts for name in (*part.settings, *_varied(part.results)))
    return Sweep(tuple(parts), tuple(sorted(used, key=lambda name: [*names.values(), name].index(name))))


def all_measurements(sweep: Sweep) -> pd.DataFrame:
    """The measurements of all parts; what sets a part apart stands in the column of variants."""
    frames = []
    for part in sweep.parts:
        frame = part.results.measurements
        told = [variant_text({**part.settings, **variant_settings(variant)}) for variant in frame["variant"]]
        frames.append(frame.assign(variant=told))
    return pd.concat(frames, ignore_index=True)


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


def _varied(results: Results) -> list[str]:
    """Settings that make variants, in the order of the methods."""
    return list(dict.fromkeys(name for varied in results.methods["varied"] for name in variant_settings(varied)))


def _combined(jobs: Sequence[SweepJob], numbers: Sequence[int], names: Mapping[str, str]) -> Results:
    """The runs as one, with what the multirun set for each method among its variants."""
    varying = _varying([jobs[number].settings for number in numbers])
    within = [key for key in names if key in varying or _owner(key)[0]]
    return combine([_with_variants(jobs[number], within, names) for number in numbers])


def _with_variants(job: SweepJob, within: Sequence[str], names: Mapping[str, str]) -> Results:
    results = job.results

    def told(method: str, variant: str) -> str:
        """Controls, which are equal in a part, have no variants."""
        if method in CONTROLS:
            return variant
        concern = [key for key in within if key in job.settings and _concerns(key, method, job.method)]
        return variant_text({**{names[key]: job.settings[key] for key in concern}, **variant_settings(variant)})

    def column(frame: pd.DataFrame, key: str, variant: str = "variant") -> list[str]:
        return [told(line[key], line[variant]) for line in records(frame)]

    def label(old: str) -> str:
        """``pgd 8/255``, as the examples have it."""
        row, blank, budget = old.rpartition(" ") if old.endswith("/255") else (old, "", "")
        method, variant = split_row_name(row)
        return row_name(method, told(method, variant)) + blank + budget

    def varied(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(variant=column(frame, "method"))

    methods = results.methods
    return replace(
        results,
        measurements=varied(results.measurements),
        records=PhotoRecords(results.records, lambda name: varied(results.records[name])),
        methods=methods.assign(variant=column(methods, "key"), varied=column(methods, "key", "varied")),
        costs=varied(results.costs),
        examples=tuple(
            replace(
                one,
                protected={label(old): photo for old, photo in one.protected.items()},
                shown={label(old): pictures for old, pictures in one.shown.items()},
            )
            for one in results.examples
        ),
    )


def _concerns(setting: str, method: str, chosen: str | None) -> bool:
    owner, _ = _owner(setting)
    return owner in ("", method) or (owner == _CHOSEN and chosen in (None, method))


def _owner(setting: str) -> tuple[str, str]:
    """Key of the method that a setting is of, and what the method calls it; the method is empty for all others."""
    inside = re.fullmatch(r"(?:protocols\.[^.]+\.)?(?:methods\.([^.]+)|method)\.(.+)", setting)
    return (inside[1] or _CHOSEN, inside[2]) if inside else ("", "")


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
    """Names in variants: what its method calls a setting, the last word of others; all of it where that is shared."""
    owners = {key: _owner(key) for key in keys}
    short = {key: inside or re.split(r"[.@/]", key)[-1] for key, (_, inside) in owners.items()}

    def is_shared(key: str) -> bool:
        """Settings of two methods never meet in a row."""
        others = [other for other in keys if other != key and short[other] == short[key]]
        apart = {"", _CHOSEN, owners[key][0]}
        return any(owners[key][0] in ("", _CHOSEN) or owners[other][0] in apart for other in others)

    return {key: key if is_shared(key) else name for key, name in short.items()}
