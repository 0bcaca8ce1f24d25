"""Fixtures shared by all tests: one thread, a folder of its own, the tiny experiment, the pack of real faces."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from loopback_only import loopback_only

SUPPORT = Path(__file__).parent / "support"
CONFIG_DIR = SUPPORT / "conf"

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch.set_num_threads(1)
# A shell starts background jobs with Ctrl-C ignored, which processes that tests start would inherit, and never die of.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the test plug-ins importable in processes that tests start; here pytest's ``pythonpath`` does it."""
    known = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(part for part in (str(SUPPORT), known) if part))


@pytest.fixture(scope="session", autouse=True)
def _no_other_machine() -> Iterator[None]:
    with loopback_only():
        yield


@pytest.fixture(scope="session", autouse=True)
def _side_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Side caches of this session alone, for the processes that tests start, too."""
    os.environ["CLOAKBENCH_CACHE"] = str(tmp_path_factory.mktemp("side"))


@pytest.fixture(scope="session")
def faces_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered faces, shared by the tests of a session."""
    return tmp_path_factory.mktemp("faces")


@pytest.fixture
def tiny_overrides(tmp_path: Path, faces_cache: Path) -> list[str]:
    """Overrides of the tiny experiment with results in a folder of the test."""
    return [
        "experiment=tiny",
        f"paths.results={tmp_path}/results",
        f"paths.cache={faces_cache}",
        "runtime.workers=0",
    ]


Cloakbench = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cloakbench() -> Cloakbench:
    """Run the command line in a process of its own, with the test plug-ins."""

    def call(*words: str, plugins: bool = True, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        extra: Sequence[str] = ("--config-dir", str(CONFIG_DIR)) if plugins else ()
        command = [sys.executable, "-m", "cloakbench.bench.cli.main", *words, *extra]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)

    return call
