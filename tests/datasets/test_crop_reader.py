"""Processes that read photos: what becomes of them when somebody interrupts, kills or crashes something."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

_SCRIPT = """
import os, sys, time
import torch
from cloakbench.datasets import crop_reader
from cloakbench.datasets.detection import Detection
from cloakbench.datasets.photo_set import PhotoSet
from cloakbench.datasets.photos import DatasetError

class Slow:
    def fingerprint(self):
        return "slow"

    def detect(self, images):
        if self.mode == "crash" and os.getpid() != self.starter:
            os._exit(1)
        if os.getpid() != self.starter:
            os.write(1, b"reading\\n")  # one write: two processes may say it at once
            time.sleep(0.5)
        return [Detection(torch.zeros(0, 4), torch.zeros(0, 5, 2), torch.zeros(0)) for _ in images]

if __name__ == "__main__":
    crop_reader._ALONE_SECONDS = crop_reader._SLOW_PHOTO_SECONDS = 0
    detector = Slow()
    detector.starter, detector.mode = os.getpid(), sys.argv[2]
    try:
        PhotoSet(sys.argv[1], detector=detector, workers=2).roles()
    except (DatasetError, KeyboardInterrupt) as error:
        print(type(error).__name__, error, file=sys.stderr)
        sys.exit(3)
"""


@pytest.fixture
def script(tmp_path: Path) -> list[str]:
    folder = tmp_path / "photos" / "ann"
    folder.mkdir(parents=True)
    for number in range(80):
        Image.fromarray(np.full((40, 40, 3), number, np.uint8)).save(folder / f"{number:02}.png")
    file = tmp_path / "script.py"
    file.write_text(_SCRIPT)
    return [sys.executable, str(file), str(tmp_path / "photos")]


def group_is_empty(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ctrl-c", "kill"])
def test_nothing_is_left_running_and_nobody_but_the_parent_complains(script: list[str], how: str) -> None:
    """Ctrl-C reaches the whole group of processes; kill -9 only the parent."""
    process = subprocess.Popen(
        [*script, "wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        assert process.stdout.readline().strip() == "reading"
        if how == "ctrl-c":
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.kill()
        process.wait(60)
        deadline = time.monotonic() + 30
        while not group_is_empty(process.pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert group_is_empty(process.pid)
        complaints = process.stderr.read()
        if how == "ctrl-c":
            assert process.returncode == 3
            assert complaints.strip() == "KeyboardInterrupt"
    finally:
        if not group_is_empty(process.pid):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_process_that_dies_is_one_line(script: list[str]) -> None:
    done = subprocess.run([*script, "crash"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 3
    assert "died, most likely for lack of memory: lower dataset.workers" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


_PEAK = """
import resource, sys
import torch
from cloakbench.datasets.photo_set import PhotoSet

def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

root, cache = sys.argv[1:]
few = {"aligned": True, "references_per_identity": 0}
PhotoSet(root, max_identities=1, max_distractors=1, **few).roles()
before = peak_mib()
data = PhotoSet(root, probes_per_identity=None, cache=cache, **few)
entries = len(data.manifest().entries)
print(entries, peak_mib() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss counts in KiB on Linux only")
def test_memory_does_not_grow_with_the_data_set(tmp_path: Path) -> None:
    """2500 crops are 90 MiB; names, digests and the manifest are what stays."""
    for number in range(2500):
        folder = tmp_path / "crops" / f"p{number // 50:02}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((112, 112, 3), np.uint8)
        pixels[0, 0] = number % 256, number // 256, 7
        Image.fromarray(pixels).save(folder / f"{number}.png", compress_level=1)
    call = [sys.executable, "-c", _PEAK, str(tmp_path / "crops"), str(tmp_path / "cache")]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    entries, mib = done.stdout.split()
    assert int(entries) == 2500
    assert float(mib) < 30
