"""The tiny poisoning experiment: how tests compose it, and look at what is planned and what came out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from omegaconf import DictConfig

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.engine.jobs import Question
from cloakbench.bench.experiment.experiment import Experiment
from cloakbench.bench.experiment.run import Outcome
from cloakbench.bench.experiment.run_status import look_up
from cloakbench.bench.plan.publication import CellPhotos, Publication
from cloakbench.bench.protocols.poisoning.protocol import Poisoning

ATTACKS = Poisoning.kind
CONFIG_DIR = Path(__file__).parent / "conf"
CELLS = 6
"""Clean, random sign at two budgets, EM at two budgets, OPOM."""
SCENARIOS = 4
"""Two attackers in the standard scenario, one of them under adversarial training and with unprotected photos."""


def overrides(results: Path, cache: Path, *more: str) -> list[str]:
    return [
        "experiment=tiny_poisoning",
        f"paths.results={results}",
        f"paths.cache={cache}",
        "runtime.workers=0",
        *more,
    ]


def compose(results: Path, cache: Path, *more: str) -> DictConfig:
    return compose_config(overrides(results, cache, *more), config_dirs=[str(CONFIG_DIR)])


def publication_of(experiment: Experiment) -> Publication:
    return experiment.publications["poisoning"]


def questions(experiment: Experiment, *, judge: str = "", regime: str = "") -> list[Question]:
    found = experiment.questions(publication_of(experiment), whole_cells=True)
    return [
        one for one in found if judge in ("", one.judge.name) and regime in ("", one.condition.settings["regime_key"])
    ]


def protocol_of(experiment: Experiment) -> Poisoning:
    protocol = experiment.protocol("poisoning")
    assert isinstance(protocol, Poisoning)
    return protocol


def answer_keys(experiment: Experiment, cells: Sequence[CellPhotos]) -> list[str]:
    protocol = protocol_of(experiment)
    return [one.key(protocol, photos, experiment.spec) for one in questions(experiment) for photos in cells]


def report_bytes(folder: Path) -> dict[str, bytes]:
    paths = sorted((folder / "tables").iterdir())
    return {path.name: path.read_bytes() for path in paths if path.stem != "cost"}


def psr(outcome: Outcome) -> pd.DataFrame:
    found = outcome.results.measurements
    return found[found["metric"] == "psr_poisoning"]


def answers(experiment: Experiment) -> dict[str, list[int]]:
    """Every stored answer by the key of its training."""
    found = {}
    for key in answer_keys(experiment, look_up(experiment).cells("poisoning")):
        stored = experiment.store.read_tensors(ATTACKS, key)
        assert stored is not None
        found[key] = stored[0]["predicted"].tolist()
    return found
