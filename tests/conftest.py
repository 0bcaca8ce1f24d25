"""Fixtures shared by all tests: one thread, a folder of its own, the tiny experiment, the pack of real faces."""

from __future__ import annotations

import fcntl
import gc
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from composed_once import composed_once
from loopback_only import loopback_only
from omegaconf import OmegaConf

from cloakbench.bench.cli.main import main
from cloakbench.bench.config import compose
from cloakbench.bench.report import writer
from cloakbench.bench.report.drawing.plotting import figure_bytes

SUPPORT = Path(__file__).parent / "support"
CONFIG_DIR = SUPPORT / "conf"

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch.set_num_threads(1)
# Compositions make a million short-lived objects beside a million that stay: the search for cycles took a tenth.
gc.collect()
gc.freeze()
gc.set_threshold(200_000, 20, 100)
# A shell starts background jobs with Ctrl-C ignored, which processes that tests start would inherit, and never die of.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the test plug-ins importable in processes that tests start; here pytest's ``pythonpath`` does it."""
    known = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(part for part in (str(SUPPORT), known) if part))


@pytest.fixture(scope="session")
def common_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the processes of a distributed test run share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session", autouse=True)
def _no_other_machine() -> Iterator[None]:
    with loopback_only():
        yield


@pytest.fixture(scope="session", autouse=True)
def _side_cache(common_folder: Path) -> None:
    """Side caches of this test run alone, for the processes that tests start, too."""
    os.environ["CLOAKBENCH_CACHE"] = str(common_folder / "side")


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """What tests write need not outlive a power failure: waiting for the disk is a tenth of a run's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _yaml_is_parsed_once() -> Iterator[None]:
    """Each text of a config is parsed once: Hydra reads some thirty for every composition, and parsing is in Python."""
    load, known = OmegaConf.load, {}

    def once(file: str | os.PathLike[str] | io.TextIOBase) -> Any:
        text = Path(file).read_text(encoding="utf-8") if isinstance(file, str | os.PathLike) else file.read()
        if text in known:
            return OmegaConf.create(known[text])
        if not isinstance(file, str | os.PathLike):
            file.seek(0)
        config = load(file)  # type: ignore[arg-type]
        known[text] = OmegaConf.to_container(config)
        return config

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OmegaConf, "load", staticmethod(once))
        yield


@pytest.fixture(scope="session", autouse=True)
def _choices_are_composed_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compose, "compose", composed_once(compose.compose, CONFIG_DIR))
        yield


@pytest.fixture(scope="session")
def faces_cache(common_folder: Path) -> Path:
    """Rendered faces, shared by all tests."""
    folder = common_folder / "faces"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def tiny_overrides(tmp_path: Path, faces_cache: Path) -> list[str]:
    """Overrides of the tiny experiment with results in a folder of the test."""
    return [
        "experiment=tiny",
        f"paths.results={tmp_path}/results",
        f"paths.cache={faces_cache}",
        "runtime.workers=0",
    ]


@pytest.fixture(scope="module")
def pdf_left_out() -> Iterator[None]:
    """Figures are drawn once, as PNG, and their PDF is an empty file: its fonts are half of a small report's time.

    For modules that look at no PDF; those of tests/bench/report are written whole.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            writer, "figure_bytes", lambda figure, suffix: b"" if suffix == ".pdf" else figure_bytes(figure, suffix)
        )
        yield


@pytest.fixture
def figures_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without their figures, for tests of commands that draw them whatever the run was set to."""
    monkeypatch.setattr(writer, "_write_figures", lambda sections, folder, style: ([], {}, {}))


@pytest.fixture
def report_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports of nothing but their measurements, for tests that look at results: the rest is a third of a small run."""

    def write(results: writer.Results, folder: Path, **_: Any) -> writer.ReportFiles:
        report, measurements = folder / "report.md", folder / "tables" / "measurements.csv"
        writer.write_text(report, "")
        writer.write_text(measurements, writer.measurements_csv(results.measurements))
        return writer.ReportFiles(report, (measurements,), (), ())

    monkeypatch.setattr(writer, "write_report", write)


def run_once(name: str, folder: Path, faces: Path) -> Path:
    """Results folder in which an experiment of the tests was run from the command line, by the process that came first.

    Tests only read it; one that changes the store takes a copy: the place is in no key.
    """
    results, done = folder / name, folder / f"{name}.done"
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            words = [f"experiment={name}", f"paths.results={results}", f"paths.cache={faces}", "runtime.workers=0"]
            assert main([*words, "--config-dir", str(CONFIG_DIR)]) == 0
            done.touch()
    return results


@pytest.fixture(scope="session")
def tiny_results(common_folder: Path, faces_cache: Path) -> Path:
    """Where the tiny experiment was run."""
    return run_once("tiny", common_folder, faces_cache)


@pytest.fixture(scope="session")
def tiny_poisoning_results(common_folder: Path, faces_cache: Path) -> Path:
    """Where the tiny poisoning experiment was run."""
    return run_once("tiny_poisoning", common_folder, faces_cache)


@pytest.fixture
def small_overrides(tiny_overrides: list[str]) -> list[str]:
    """Those of the tiny experiment cut to one method at one budget, for tests to which no number matters."""
    return ["experiment=tiny_small", *tiny_overrides[1:]]


Cloakbench = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cloakbench() -> Cloakbench:
    """Run the command line in a process of its own, with the test plug-ins."""

    def call(*words: str, plugins: bool = True, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        extra: Sequence[str] = ("--config-dir", str(CONFIG_DIR)) if plugins else ()
        command = [sys.executable, "-m", "cloakbench.bench.cli.main", *words, *extra]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)

    return call
