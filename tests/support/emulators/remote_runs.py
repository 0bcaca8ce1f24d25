"""Small experiments with an emulated service, and what their tests look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.experiment.run import Outcome, run
from emulators.facepp import FaceppEmulator

CONFIG_DIR = Path(__file__).parents[1] / "conf"


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaceppEmulator]:
    emulator = FaceppEmulator()
    monkeypatch.setenv("CLOAKBENCH_FACEPP_KEY", emulator.key)
    monkeypatch.setenv("CLOAKBENCH_FACEPP_SECRET", emulator.secret)
    with emulator.running():
        yield emulator


Words = Callable[..., list[str]]


@pytest.fixture
def words(tmp_path: Path, faces_cache: Path, emulator: FaceppEmulator) -> Words:
    """Words of the tiny remote experiment, with results in a folder of the test."""

    def call(*more: str, results: str = "results") -> list[str]:
        return [
            "experiment=tiny_remote",
            f"paths.results={tmp_path / results}",
            f"paths.cache={faces_cache}",
            "runtime.workers=0",
            f"services.facepp.line.base_url={emulator.url}",
            *more,
        ]

    return call


def ran(words: Sequence[str]) -> Outcome:
    return run(compose_config(words, config_dirs=[str(CONFIG_DIR)]))


def rates(outcome: Outcome, metric: str) -> dict[str, Any]:
    """Method to a rate of the service."""
    found: pd.DataFrame = outcome.results.measurements
    found = found.loc[(found["protocol"] == "remote") & (found["metric"] == metric)]
    return dict(zip(found["method"], found["value"], strict=True))


def tables(outcome: Outcome) -> dict[str, bytes]:
    """Printed tables, but for what a run took."""
    paths = sorted((outcome.folder / "tables").iterdir())
    return {path.name: path.read_bytes() for path in paths if path.stem not in ("cost", "remote_calls")}
