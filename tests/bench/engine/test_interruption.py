"""Killed at any moment, run again: the same tables, and nothing done twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"


def command(results: Path, cache: Path, workers: int = 2) -> list[str]:
    return [
        sys.executable,
        "-m",
        "cloakbench.bench.cli.main",
        "experiment=tiny",
        f"paths.results={results}",
        f"paths.cache={cache}",
        f"runtime.workers={workers}",
        "--config-dir",
        str(CONFIG_DIR),
    ]


def tables(results: Path) -> dict[str, bytes]:
    [run] = (results / "runs").iterdir()
    return {path.name: path.read_bytes() for path in sorted((run / "tables").iterdir()) if path.stem != "cost"}


def entries(results: Path) -> int:
    return sum(path.is_file() for path in (results / "store").rglob("[!.]*"))


def kill_and_resume(tmp_path: Path, cache: Path, moments: list[float]) -> None:
    """Kills a run when it has stored a share of what it will store: a time would depend on the machine's other work."""
    unbroken = tmp_path / "unbroken"
    subprocess.run(command(unbroken, cache), check=True, capture_output=True, timeout=300)
    expected, total = tables(unbroken), entries(unbroken)
    for number, share in enumerate(moments):
        broken = tmp_path / f"broken{number}"
        process = subprocess.Popen(
            command(broken, cache), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        while entries(broken) < share * total and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, f"ended before {share:.2f} of its entries were stored"
        subprocess.run(command(broken, cache), check=True, capture_output=True, timeout=300)
        assert tables(broken) == expected, f"killed at {share:.2f} of the run"
        assert not list((broken / "store").rglob(".writing-*"))


def test_killed_twice_resumed_to_the_same_tables(tmp_path: Path, faces_cache: Path) -> None:
    kill_and_resume(tmp_path, faces_cache, [0.5, 0.8])


@pytest.mark.slow
def test_killed_at_ten_random_moments_resumed_to_the_same_tables(tmp_path: Path, faces_cache: Path) -> None:
    moments = random.Random(20).sample(range(1, 96), 10)
    kill_and_resume(tmp_path, faces_cache, [moment / 100 for moment in moments])


def test_workers_of_a_killed_run_do_not_live_on(tmp_path: Path, faces_cache: Path) -> None:
    results = tmp_path / "results"
    process = subprocess.Popen(
        command(results, faces_cache), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list((results / "store").rglob("*.zip")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while _session_members(process.pid) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert _session_members(process.pid) == []


def _session_members(session: int) -> list[str]:
    listed = subprocess.run(["ps", "-o", "pid=,stat=", "-s", str(session)], capture_output=True, text=True, check=False)
    return [line for line in listed.stdout.splitlines() if line.strip() and "Z" not in line]


def test_two_processes_that_start_on_nothing_share_the_work(tmp_path: Path) -> None:
    """Not even the faces are drawn."""
    results = tmp_path / "results"
    processes = [
        subprocess.Popen(
            [*command(results, tmp_path / "cache", workers=1), f"paths.runs={tmp_path}/runs{number}"],
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
