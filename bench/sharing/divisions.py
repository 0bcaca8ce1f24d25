"""Divisions: which numbers of which runs may stand in one column.

Two runs share a division of a protocol where photos (the manifest), the protocol's settings, the bench's version and
every fact of the setup are the same. Runs that can be joined are: their methods are then compared on the same photos.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cloakbench.bench.core.hashing import canonical_json
from cloakbench.bench.report.decisions.decide import with_decisions
from cloakbench.bench.report.estimate import records, text
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.opening.leads import Lead, leads
from cloakbench.bench.report.reporters import reporters
from cloakbench.bench.report.results import Results
from cloakbench.bench.report.sweeps.combine import MixedResultsError, combine


@dataclass(frozen=True)
class KeptRun:
    """A run of a board.

    Attributes:
        name: what the board calls it, unique there.
        results: what was measured.
        environment: what ``environment.json`` says.
        note: of the submitter.
        digests: file of the run's data to its SHA-256.
    """

    name: str
    results: Results
    environment: Mapping[str, Any]
    note: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """Of the bench that measured it."""
        return text((self.environment.get("packages") or {}).get("cloakbench")) or "unknown"


@dataclass(frozen=True)
class RankedTogether:
    """Runs that are ranked together: one, or several that were joined.

    Attributes:
        runs: names of the runs.
        measured: their numbers.
        leads: what their protocols lead with.
        version: of the bench.
        source: name of a row's method to the run that brought it; empty where there is one run.
    """

    runs: tuple[str, ...]
    measured: Measured
    leads: tuple[Lead, ...]
    version: str
    source: Mapping[str, str]

    def division(self, protocol: str) -> str:
        """Eight digits that name what decides a number of a protocol beside the method: equal ones may be compared."""
        results = self.measured.results
        own = [[line["name"], line["config"]] for line in records(results.protocols) if line["label"] == protocol]
        seed = {key: results.setup.get(key) for key in ("seed", "resamples")}
        told = canonical_json([results.dataset, results.manifest_sha256, own, self.version, seed])
        return hashlib.sha256(told.encode()).hexdigest()[:8]


def entries(runs: Sequence[KeptRun]) -> list[RankedTogether]:
    """Runs as they are ranked, those on the same photos and of one version joined where they fit together."""
    groups: list[list[KeptRun]] = []
    for run in runs:
        for group in groups:
            if _fit([*group, run]):
                group.append(run)
                break
        else:
            groups.append([run])
    return [_entry(group) for group in groups]


def _fit(runs: Sequence[KeptRun]) -> bool:
    """Whether runs can be joined: all with records, of one version, and equal wherever they overlap."""
    configs = {(line["label"], line["name"]): line["config"] for line in records(runs[0].results.protocols)}
    for run in runs[1:]:
        for line in records(run.results.protocols):
            if configs.setdefault((line["label"], line["name"]), line["config"]) != line["config"]:
                return False
    if len({run.version for run in runs}) > 1 or not all(run.results.records for run in runs):
        return False
    try:
        combine([run.results for run in runs])
    except MixedResultsError:
        return False
    return True


def _entry(runs: Sequence[KeptRun]) -> RankedTogether:
    results, source = runs[0].results, {}
    if len(runs) > 1:
        joined = combine([run.results for run in runs])
        results = with_decisions(joined, reporters(joined))
        for run in reversed(runs):
            source |= dict.fromkeys(run.results.measurements["method"].unique(), run.name)
    results = replace(results, name=" + ".join(run.name for run in runs))
    measured = Measured(results)
    leading = leads(measured, reporters(results))
    return RankedTogether(tuple(run.name for run in runs), measured, tuple(leading), runs[0].version, source)
