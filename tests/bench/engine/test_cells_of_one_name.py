"""Cells of one name: variants that stand in two blocks, or take other work, are not taken for each other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from cloakbench.bench.core.axes import BudgetSize
from cloakbench.bench.engine.jobs import ProtectJob
from cloakbench.bench.engine.worker import Worker
from cloakbench.bench.plan.plan import Cell

PGD = {"_target_": "cloakbench.methods.pgd.PGD", "epsilon_255": 8.0}


def _cell(variant: str, **settings: Any) -> Cell:
    cell = Cell("pgd", {**PGD, **settings}, BudgetSize(8.0), "", (), "variants.pgd", variant=variant)
    vars(cell)["protector"] = object()
    return cell


def test_variants_of_one_name_in_two_blocks_are_two_methods_to_a_worker() -> None:
    worker: Any = SimpleNamespace(_protectors={})
    own, other = _cell("steps=2", steps=2, decay=0.0), _cell("steps=2", steps=2, decay=0.5)
    assert Worker.protector(worker, own) is own.protector
    assert Worker.protector(worker, other) is other.protector


def test_a_variant_has_a_pace_of_its_own() -> None:
    kinds = set()
    for cell in (_cell("", steps=2), _cell("steps=1000", steps=1000)):
        planned: Any = SimpleNamespace(unit=SimpleNamespace(cell=cell))
        kinds.add(ProtectJob(planned, ()).kind)
    assert len(kinds) == 2
