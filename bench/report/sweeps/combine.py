"""Several runs on the same photos as one, so that they share a table and a curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from cloakbench.bench.core.axes import BudgetSize, row_name, variant_settings, variant_text
from cloakbench.bench.report.decisions.columns import DECIDED
from cloakbench.bench.report.estimate import records
from cloakbench.bench.report.results import PhotoRecords, Results

CELL = ["protocol", "metric", "method", "variant", "epsilon_255", "surrogate", "judge", "condition"]
"""The columns of the measurements that say which cell a row is."""
_SIGHTING = ["protocol", "image_id", "method", "variant", "epsilon_255", "surrogate", "judge"]
_CELL_OF_RECORDS = [name for name in CELL if name not in ("protocol", "metric")]


class MixedResultsError(ValueError):
    """The runs cannot share a table; the message says why and what to do."""


def combine(runs: Sequence[Results]) -> Results:
    """One `Results` of runs on the same photos. Cells that several runs share, such as the controls, appear once.

    Raises:
        MixedResultsError: no runs, different manifests, different setups, or one cell with two values.
    """
    if not runs:
        raise MixedResultsError("nothing to combine: the sweep has no finished run")
    if len({run.manifest_sha256 for run in runs}) > 1:
        names = ", ".join(f"{run.name} ({run.manifest_sha256[:8]})" for run in runs)
        raise MixedResultsError(f"runs on different photos cannot share a table: {names}; report each run by itself")
    if different := [key for run in runs for key in differences(run, runs[0])]:
        raise MixedResultsError(
            f"runs with different setups cannot share a table ({different[0].replace('_', ' ')} differs); report each "
            "run by itself, or sweep the setting with -m: a sweep's report keeps such runs apart"
        )
    names = list(dict.fromkeys(run.name for run in runs))
    return replace(
        runs[0],
        name=" + ".join(names),
        measurements=_measurements(runs),
        models=_models(runs),
        methods=_methods(runs),
        costs=_joined(runs, "costs", ["method", "variant", "epsilon_255", "surrogate", "publication", "scope"]),
        thresholds=_joined(runs, "thresholds", ["judge", "far"]),
        examples=_examples(runs),
        setup=_setup(runs),
        protocols=_joined(runs, "protocols", ["label", "name"]),
        conditions=_joined(runs, "conditions", ["protocol", "label"]),
        records=_records(runs),
        **{name: pd.DataFrame(columns=list(columns)) for name, columns in DECIDED.items()},
        metrics=_joined(runs, "metrics", ["protocol", "name"]),
        sightings=_joined(runs, "sightings", _SIGHTING),
    )


def differences(one: Results, other: Results) -> list[str]:
    """Facts of the setups that differ and keep two runs from sharing a table."""
    keys = dict.fromkeys([*one.setup, *other.setup])
    return [key for key in keys if key not in _JOINED and one.setup.get(key) != other.setup.get(key)]


_JOINED = ("description", "fewer_probes")
"""Facts that may differ: what an experiment is about, and which methods ran on fewer photos."""


def _setup(runs: Sequence[Results]) -> dict[str, Any]:
    setup = dict(runs[0].setup)
    for key in _JOINED:
        if told := list(dict.fromkeys(str(run.setup[key]) for run in runs if run.setup.get(key))):
            setup[key] = "; ".join(told)
    return setup


def _measurements(runs: Sequence[Results]) -> pd.DataFrame:
    frame = pd.concat([run.measurements for run in runs], ignore_index=True).drop_duplicates(ignore_index=True)
    twice = frame.duplicated(CELL)
    if twice.any():
        cell = frame.loc[twice].iloc[0]
        row, budget = row_name(cell["method"], cell["variant"]), BudgetSize.of(cell["epsilon_255"])
        raise MixedResultsError(
            f"{row} at {budget.title} has two values of {cell['metric']}: the runs differ in a setting; sweep it with "
            "-m, or give the methods keys of their own (+method@methods.KEY=NAME)"
        )
    return frame


def _records(runs: Sequence[Results]) -> PhotoRecords:
    """Per-photo records of every cell, from the first run that has it; none of a protocol that some run lacks."""

    def read(label: str) -> pd.DataFrame:
        frames: list[pd.DataFrame] = []
        known: set[str] = set()
        for run in runs:
            frame = run.records[label]
            cells = ["\x1f".join(map(str, cell)) for cell in frame[_CELL_OF_RECORDS].to_numpy(dtype=object)]
            frames.append(frame.loc[[cell not in known for cell in cells]])
            known |= set(cells)
        return pd.concat(frames, ignore_index=True)

    return PhotoRecords([label for label in runs[0].records if all(label in run.records for run in runs)], read)


def _methods(runs: Sequence[Results]) -> pd.DataFrame:
    """One row a method and variant, with what is varied of it in any run."""
    varied: dict[tuple[str, str], dict[str, Any]] = {}
    for line in (line for run in runs for line in records(run.methods)):
        varied.setdefault((line["key"], line["variant"]), {}).update(variant_settings(line["varied"]))
    first = _joined(runs, "methods", ["key", "variant"])
    return first.assign(varied=[variant_text(varied[row]) for row in zip(first["key"], first["variant"], strict=True)])


def _models(runs: Sequence[Results]) -> pd.DataFrame:
    """One row a model, with the roles it has in any run."""
    roles: dict[str, set[str]] = {}
    for line in (line for run in runs for line in records(run.models)):
        roles.setdefault(line["name"], set()).update(line["roles"].split(", "))
    first = _joined(runs, "models", ["name"])
    return first.assign(roles=[", ".join(sorted(roles[name])) for name in first["name"]]) if len(first) else first


def _examples(runs: Sequence[Results]) -> tuple:
    """Photos of the same face next to each other."""
    merged = {}
    for example in (example for run in runs for example in run.examples):
        place = example.publication, example.image_id
        known = merged.get(place)
        protected = {**(known.protected if known else {}), **example.protected}
        shown = {**(known.shown if known else {}), **example.shown}
        merged[place] = replace(example, protected=protected, shown=shown)
    return tuple(merged.values())


def _joined(runs: Sequence[Results], name: str, keys: list[str]) -> pd.DataFrame:
    """A frame of all runs; of rows with the same keys the first."""
    frame = pd.concat([getattr(run, name) for run in runs], ignore_index=True)
    return frame.drop_duplicates(keys, ignore_index=True) if len(frame) else frame
