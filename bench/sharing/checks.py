"""`checked`: whether a run can stand on a board: whole, with controls, clean, and made of its records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloakbench import __version__
from cloakbench.bench.core.status import OK
from cloakbench.bench.report.estimate import records, text
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.labels import CONTROLS
from cloakbench.bench.report.reporters import reporters, self_checks
from cloakbench.bench.report.results import Results
from cloakbench.bench.sharing.recomputed import recomputed


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        title: what.
        problems: what is wrong, a line each.
        remarks: what a reader should know.
        explainable: a note of the submitter may stand for what is wrong; it is shown on the board.
    """

    title: str
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    explainable: bool = False


def checked(results: Results, environment: Mapping[str, Any]) -> list[Check]:
    """Everything that is looked at beside the digests, which `load_results` has held against the files.

    Args:
        results: the run, with its records.
        environment: what ``environment.json`` says.
    """
    measured, asked = Measured(results), reporters(results)
    again = recomputed(results, asked)
    told = (f"{again.checked} numbers made again from the records",) if again.checked else ()
    none = () if again.checked else ("there are no records of single photos: run the experiment again",)
    return [
        _versions(environment),
        Check("Complete", tuple(_missing(measured)), explainable=True),
        Check("Controls", tuple(_controls(measured))),
        Check("Nothing failed", tuple(_failed(measured)), explainable=True),
        Check("Self-checks", tuple(self_checks(measured, asked)), explainable=True),
        Check("Numbers", (*none, *again.problems), (*told, *(f"not checked: {one}" for one in again.unchecked))),
    ]


def _versions(environment: Mapping[str, Any]) -> Check:
    """Which code measured; another version may measure otherwise."""
    version = text((environment.get("packages") or {}).get("cloakbench"))
    commit = text(environment.get("commit"))
    problems = []
    if version != __version__:
        problems.append(f"measured by version {version or 'unknown'}, this is {__version__}: run it again")
    if commit.endswith("+changes"):
        problems.append(f"measured from a source tree with changes to {commit.removesuffix('+changes')}")
    return Check("Version", tuple(problems), (f"version {version}, commit {commit or 'unknown'}",), explainable=True)


def _missing(measured: Measured) -> list[str]:
    """Cells that were planned and that the measurements do not even mention."""
    return [
        f"{measured.name(run)} by {judge}{f' on {surrogate}' if surrogate else ''}: no {', '.join(metrics[:3])}"
        for (run, surrogate, judge), metrics in measured.absent().items()
    ]


def _controls(measured: Measured) -> list[str]:
    """Protocols without the clean row or the random-sign row."""
    found = {(cell.place.protocol, cell.run.method) for cell in measured.cells}
    protocols = dict.fromkeys(cell.place.protocol for cell in measured.cells)
    return [
        f"{protocol} has no row of {control}: add method@methods.{control}={control}"
        for protocol in protocols
        for control in CONTROLS
        if (protocol, control) not in found
    ]


def _failed(measured: Measured) -> list[str]:
    costs = [line for line in records(measured.results.costs) if line["status"] != OK]
    told = [f"{line['method']} {text(line['surrogate'])}: {line['status']} {text(line.get('note'))}" for line in costs]
    cells = measured.results.measurements
    lost = cells.loc[(cells["n_failed"] > 0) & (cells["status"] == OK)]
    if len(lost):
        told.append(f"{len(lost)} numbers lack photos that failed, of {', '.join(sorted(set(lost['method'])))}")
    return told
