"""Small experiments with an emulated service, and what their tests look at."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.experiment.run import Outcome, run
from emulators.facepp import FaceppEmulator

CONFIG_DIR = Path(__file__).parents[1] / "conf"


ANSWERED = ("services", "spent", "remote", "records", "measurements")
"""Kinds of the store that hold what a service said, what that took, and what was made of it."""
Words = Callable[..., list[str]]


@contextmanager
def _emulated(patch: pytest.MonkeyPatch) -> Iterator[FaceppEmulator]:
    """An emulator whose keys are in the environment."""
    emulator = FaceppEmulator()
    patch.setenv("CLOAKBENCH_FACEPP_KEY", emulator.key)
    patch.setenv("CLOAKBENCH_FACEPP_SECRET", emulator.secret)
    with emulator.running():
        yield emulator


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaceppEmulator]:
    with _emulated(monkeypatch) as emulator:
        yield emulator


def words_of(folder: Path, cache: Path, emulator: FaceppEmulator, *more: str) -> list[str]:
    """Words of the tiny remote experiment, with results in a folder."""
    return [
        "experiment=tiny_remote",
        f"paths.results={folder}",
        f"paths.cache={cache}",
        "runtime.workers=0",
        f"services.facepp.line.base_url={emulator.url}",
        *more,
    ]


@pytest.fixture
def words(tmp_path: Path, faces_cache: Path, emulator: FaceppEmulator) -> Words:
    """Words of the tiny remote experiment, with results in a folder of the test."""

    def call(*more: str, results: str = "results") -> list[str]:
        return words_of(tmp_path / results, faces_cache, emulator, *more)

    return call


@dataclass(frozen=True)
class Unbroken:
    """A whole run of the tiny remote experiment, which several tests hold theirs against.

    Attributes:
        folder: its results; tests read it, and take a copy to go on from.
        outcome: of the run.
        calls: requests by action.
        sets: galleries that the service was left with.
    """

    folder: Path
    outcome: Outcome
    calls: Counter[str]
    sets: list[str]

    def copied(self, place: Path, *without: str) -> None:
        """Copy the results, but for some kinds of the store."""
        store = self.folder / "store"
        gone = {store / kind for kind in without}
        shutil.copytree(
            self.folder, place, ignore=lambda at, names: [name for name in names if Path(at) / name in gone]
        )


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory, faces_cache: Path) -> Unbroken:
    folder = tmp_path_factory.mktemp("unbroken") / "results"
    with pytest.MonkeyPatch.context() as patch, _emulated(patch) as emulator:
        outcome = ran(words_of(folder, faces_cache, emulator))
        return Unbroken(folder, outcome, emulator.calls.copy(), list(emulator.sets))


@pytest.fixture
def protected(unbroken: Unbroken, tmp_path: Path) -> None:
    """Results in which everything is protected and nobody was asked, for tests of asking alone."""
    unbroken.copied(tmp_path / "results", *ANSWERED)


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
