"""Killed at any moment, run again: the same tables, and nothing done twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.experiment.run import run
from cloakbench.bench.report.archive import is_finished
from cloakbench.bench.store.claims import BY_FILE

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"
FEW = ("dataset.identities=2", "dataset.distractors=4", "dataset.impostor_identities=0")


def overrides(results: Path, cache: Path, workers: int, experiment: str = "tiny_small") -> list[str]:
    places = [f"paths.results={results}", f"paths.cache={cache}", f"runtime.workers={workers}"]
    return [f"experiment={experiment}", *places, *(FEW if experiment == "tiny_small" else ())]


def command(results: Path, cache: Path, experiment: str = "tiny_small", workers: int = 2) -> list[str]:
    words = [*overrides(results, cache, workers, experiment), "--config-dir", str(CONFIG_DIR)]
    return [sys.executable, "-m", "cloakbench.bench.cli.main", *words]


def run_to_the_end(results: Path, cache: Path, experiment: str = "tiny_small") -> dict[str, bytes]:
    """Run or resume in this process; returns the tables."""
    outcome = run(compose_config(overrides(results, cache, 0, experiment), config_dirs=[str(CONFIG_DIR)]))
    assert outcome.problems == []
    assert not list((results / "store").rglob(".writing-*"))
    tables = sorted((outcome.folder / "tables").iterdir())
    return {path.name: path.read_bytes() for path in tables if path.stem != "cost"}


def entries(results: Path) -> int:
    return sum(path.is_file() for path in (results / "store").rglob("[!.]*"))


def kill(results: Path, cache: Path, stored: float, experiment: str = "tiny_small", workers: int = 2) -> None:
    """Kill a run when it has stored so many entries: a time would depend on the machine's other work. Its workers do
    not live on."""
    process = subprocess.Popen(
        command(results, cache, experiment, workers),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while entries(results) < stored and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, f"ended before {stored:.0f} entries were stored"
    deadline = time.monotonic() + 20
    while _session_members(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _session_members(process.pid) == []


def test_killed_in_the_middle_resumed_to_the_same_tables(tmp_path: Path, faces_cache: Path) -> None:
    expected = run_to_the_end(tmp_path / "unbroken", faces_cache)
    broken = tmp_path / "broken"
    kill(broken, faces_cache, 0.6 * entries(tmp_path / "unbroken"), workers=0)  # with two: the slow test
    assert run_to_the_end(broken, faces_cache) == expected


@pytest.mark.slow
def test_killed_at_ten_random_moments_resumed_to_the_same_tables(tmp_path: Path, faces_cache: Path) -> None:
    expected = run_to_the_end(tmp_path / "unbroken", faces_cache, "tiny")
    total = entries(tmp_path / "unbroken")
    for percent in random.Random(20).sample(range(1, 96), 10):
        broken = tmp_path / f"broken{percent}"
        kill(broken, faces_cache, percent / 100 * total, "tiny")
        assert run_to_the_end(broken, faces_cache, "tiny") == expected, f"killed at {percent} % of the run"


def _session_members(session: int) -> list[str]:
    listed = subprocess.run(["ps", "-o", "pid=,stat=", "-s", str(session)], capture_output=True, text=True, check=False)
    return [line for line in listed.stdout.splitlines() if line.strip() and "Z" not in line]


@pytest.mark.slow
def test_two_processes_that_start_on_nothing_share_the_work(tmp_path: Path) -> None:
    """Not even the faces are drawn."""
    results = tmp_path / "results"
    processes = [
        subprocess.Popen(
            [*command(results, tmp_path / "cache", workers=0), f"paths.runs={tmp_path}/runs{number}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert not any("is damaged" in text for text in errors)
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / f"runs{i}").glob("*/tables/*")} for i in range(2))
    # Even the times agree: each unit was protected once, by one of the two.
    assert one == two


@pytest.mark.slow
def test_two_processes_of_one_run_folder_ask_each_question_once_where_nothing_can_be_locked(tmp_path: Path) -> None:
    results, marks = tmp_path / "results", tmp_path / "marks"
    (results / "store" / "locks").mkdir(parents=True)
    (results / "store" / "locks" / BY_FILE).touch()
    words = command(results, tmp_path / "cache", "tiny_counting", workers=1)
    words += ["~method@methods.every_third_fails", f"protocols.counting.marks={marks}"]
    processes = [
        subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    answers = list((results / "store" / "counts").rglob("*.safetensors"))
    assert len(marks.read_text().splitlines()) == len(answers) > 0
    assert [path.name for path in (results / "store" / "locks").iterdir()] == [BY_FILE]
    [folder] = (results / "runs").iterdir()
    assert is_finished(folder)
