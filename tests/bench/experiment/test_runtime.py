"""What the runtime may change: the precision is another result under other keys; devices and reading ahead change no
byte."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.engine import jobs, loop
from cloakbench.bench.engine.worker import Worker
from cloakbench.bench.experiment import prepare as preparing
from cloakbench.bench.experiment.experiment import Experiment
from cloakbench.bench.experiment.prepare import prepare
from cloakbench.bench.experiment.run import Outcome, run
from cloakbench.bench.experiment.run_status import due_jobs, look_up
from cloakbench.bench.processes.pool import answers

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"
WORDS = ("method=pgd", "~transforms.jpeg", "epsilons_255=[8]")


def compose(overrides: list[str], *more: str) -> DictConfig:
    return compose_config([*overrides, *WORDS, *more], config_dirs=[str(CONFIG_DIR)])


def stored(outcome: Outcome, *kinds: str) -> set[str]:
    """Names of entries of the store."""
    store = outcome.folder.parents[1] / "store"
    return {path.name for kind in kinds for path in (store / kind).glob("*/*")}


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory, faces_cache: Path) -> Outcome:
    results = tmp_path_factory.mktemp("exact")
    overrides = ["experiment=tiny", f"paths.results={results}", f"paths.cache={faces_cache}", "runtime.workers=0"]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(CONFIG_DIR.parent))
        return run(compose(overrides))


def rates(outcome: Outcome) -> Any:
    found = outcome.results.measurements
    return found[found["protocol"].isin(["identification", "verification"])].reset_index(drop=True)


@pytest.mark.slow
def test_a_run_in_bfloat16_has_entries_of_its_own_and_rates_near_the_exact_ones(
    exact: Outcome, tiny_overrides: list[str]
) -> None:
    coarse = run(compose(tiny_overrides, "runtime.precision=bf16"))
    assert not coarse.problems
    assert not stored(coarse, "protected", "embeddings", "thresholds") & stored(
        exact, "protected", "embeddings", "thresholds"
    )
    assert coarse.folder.name != exact.folder.name
    assert "- precision of recognisers: bf16" in (coarse.folder / "report.md").read_text(encoding="utf-8")
    assert "precision of recognisers" not in (exact.folder / "report.md").read_text(encoding="utf-8")
    ours, theirs = rates(coarse), rates(exact)
    apart = (ours["value"] - theirs["value"]).abs().dropna()
    assert apart.max() <= 3 / 18 + 1e-9  # photos of eighteen
    assert apart.mean() < 0.02
    assert np.array_equal(ours["n"], theirs["n"])


def test_only_the_precision_is_in_a_key(tiny_overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def keys(*more: str) -> tuple[set[str], dict[str, str]]:
        experiment = prepare(compose(tiny_overrides, *more))
        return {planned.unit.key for planned in experiment.units}, dict(experiment.spec.fingerprints)

    base, networks = keys()
    coarse, coarse_networks = keys("runtime.precision=bf16")
    assert not base & coarse
    assert not set(networks.values()) & set(coarse_networks.values())
    monkeypatch.setattr(preparing, "devices_of", lambda config: ("cuda:0", "cuda:1"))
    monkeypatch.setattr("cloakbench.bench.experiment.parts.check_devices", lambda config: None)
    assert keys("runtime.device=cuda", "runtime.devices=[0,1]", "runtime.compile=true") == (base, networks)


def two_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two devices that compute alike."""
    monkeypatch.setattr(preparing, "devices_of", lambda config: ("cpu", "cpu:0"))


def test_workers_take_turns_in_choosing_a_device(tiny_overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    two_places(monkeypatch)
    experiment = prepare(compose(tiny_overrides))
    assert [Worker(experiment.spec, number).device for number in range(3)] == [
        torch.device("cpu"),
        torch.device("cpu:0"),
        torch.device("cpu"),
    ]


def measured(outcome: Outcome) -> str:
    return outcome.results.measurements.to_csv()


@pytest.mark.slow
def test_a_run_on_two_devices_has_the_same_results(
    exact: Outcome, tiny_overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    two_places(monkeypatch)
    spread = run(compose(tiny_overrides, "runtime.workers=2"))
    assert measured(spread) == measured(exact)
    assert stored(spread, "protected", "embeddings") == stored(exact, "protected", "embeddings")


@pytest.mark.slow
def test_a_run_that_reads_ahead_has_the_same_results(
    exact: Outcome, tiny_overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Photos of all units but the first are read by another thread, each once."""
    read: dict[str, int] = {}
    at_hand = jobs.read_photos

    def watched(worker: Worker, unit: Any) -> Any:
        assert unit.key not in read
        read[unit.key] = threading.get_ident()
        return at_hand(worker, unit)

    def always_ahead(due: Iterable[Any], makers: Any, workers: int, *, ahead: bool) -> Any:
        assert not ahead  # on a CPU another thread would take time from the one that computes
        return answers(due, makers, workers, ahead=True)

    monkeypatch.setattr(jobs, "read_photos", watched)
    monkeypatch.setattr("cloakbench.bench.engine.protecting.read_photos", watched)
    monkeypatch.setattr(loop, "answers", always_ahead)
    outcome = run(compose(tiny_overrides))
    assert measured(outcome) == measured(exact)
    units = {planned.unit.key for planned in prepare(compose(tiny_overrides)).units}
    assert read.keys() == units
    assert list(read.values()).count(threading.get_ident()) <= 1


@pytest.mark.slow
def test_nothing_is_due_on_another_device(
    tiny_overrides: list[str], monkeypatch: pytest.MonkeyPatch, exact: Outcome
) -> None:
    """What one device made another finds."""
    monkeypatch.setattr(preparing, "devices_of", lambda config: ("cuda:1",))
    results = exact.folder.parents[1]
    experiment: Experiment = prepare(compose(tiny_overrides, f"paths.results={results}"))
    assert due_jobs(look_up(experiment)) == []
