"""What the poisoning track consists of: scenarios, trainings, and what a worker must know of them.

A *scenario* is an attacker's architecture, a training regime and the share of the published photos that went out
unprotected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloakbench.bench.config.node_keys import node_settings
from cloakbench.bench.core.code_digests import code_digest
from cloakbench.bench.core.hashing import content_key
from cloakbench.bench.engine.plan import Cell, Unit
from cloakbench.bench.engine.worker import Brief
from cloakbench.datasets.base import FaceSet


@dataclass(frozen=True)
class Scenario:
    """Who trains how on what: keys of an attacker and a regime, and the share of unprotected photos."""

    attacker: str
    regime: str
    clean_share: float

    @property
    def label(self) -> str:
        """Regime and share, as the ``transform`` column of the measurements has it."""
        return self.regime + (f"_unprotected_{self.clean_share:g}" if self.clean_share else "")


@dataclass(frozen=True)
class AttackJob:
    """One training: the number of a cell, a scenario and a seed."""

    cell: int
    scenario: Scenario
    seed: int


@dataclass(frozen=True)
class CellUnits:
    """The work on one cell: its units with the inputs of their keys, and digests of the originals of each."""

    units: tuple[tuple[Unit, dict[str, Any]], ...]
    originals: tuple[str, ...]


@dataclass(frozen=True)
class PoisoningBrief:
    """Everything a worker must know, in picklable form.

    Attributes:
        work: brief of the protecting workshop. Its ``probe`` and ``reference`` faces are both the published photos: a
            mask is made from the photos that it goes onto.
        test: key of the stored test faces.
        cells: the units of every cell.
        attackers, regimes: key to resolved config.
        code: key of an attacker or regime to the digest of its code.
        others: key of the stored photos of other people, who protect nothing; empty for none.
        labels, test_labels, other_labels: the person of each published, each test and each other photo.
        test_pixels, other_pixels: digests of the test photos and of the others'; empty for none.
    """

    work: Brief
    test: str
    cells: tuple[CellUnits, ...]
    attackers: Mapping[str, Mapping[str, Any]]
    regimes: Mapping[str, Mapping[str, Any]]
    code: Mapping[str, str]
    labels: tuple[int, ...]
    test_labels: tuple[int, ...]
    test_pixels: str
    others: str = ""
    other_labels: tuple[int, ...] = ()
    other_pixels: str = ""


@dataclass(frozen=True)
class Poisoning:
    """The track, planned.

    Attributes:
        brief: what workers must know.
        cells: methods at budgets, controls first.
        scenarios, seeds: what every cell is put through.
        train, test: published and clean photos of the same people.
        other_people: how many others the attacker learns to name, too.
    """

    brief: PoisoningBrief
    cells: tuple[Cell, ...]
    scenarios: tuple[Scenario, ...]
    seeds: tuple[int, ...]
    train: FaceSet
    test: FaceSet
    other_people: int = 0

    def keys(self) -> list[str]:
        """What decides the numbers beside the config: units, photos that test, and the attackers' code."""
        units = [unit.key for cell in self.brief.cells for unit, _ in cell.units]
        code = [self.brief.code[key] for key in sorted(self.brief.code)]
        return [*units, self.brief.test_pixels, self.brief.other_pixels, *code]

    def jobs(self) -> Iterator[AttackJob]:
        """Every training, seed by seed so that a part of the run says something about all cells."""
        for seed in self.seeds:
            for scenario in self.scenarios:
                for number in range(len(self.cells)):
                    yield AttackJob(number, scenario, seed)


def attack_key(brief: PoisoningBrief, job: AttackJob, pixels: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Key and inputs of a training on published photos with these digests, chunk by chunk.

    Where the published photos are the originals, a share of unprotected ones changes nothing.
    """
    cell, scenario = brief.cells[job.cell], job.scenario
    mixed = scenario.clean_share and tuple(pixels) != cell.originals
    inputs: dict[str, Any] = {
        "attacker": node_settings(brief.attackers[scenario.attacker]),
        "regime": node_settings(brief.regimes[scenario.regime]),
        "code": [
            brief.code[scenario.attacker],
            brief.code[scenario.regime],
            code_digest("cloakbench.bench.protocols.poisoning.training"),
        ],
        "published": [[digest, list(unit.chunk.probes)] for digest, (unit, _) in zip(pixels, cell.units, strict=True)],
        "unprotected": [scenario.clean_share, list(cell.originals)] if mixed else [],
        "labels": list(brief.labels),
        "test": [brief.test_pixels, list(brief.test_labels)],
        "seed": [brief.work.seed, job.seed],
    }
    if brief.others:
        inputs["others"] = [brief.other_pixels, list(brief.other_labels)]
    return content_key("attack", inputs), inputs
