"""Peak memory: work needs what it needs, whether it comes before or after bigger work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cloakbench.bench.processes import peak_memory
from cloakbench.bench.processes.peak_memory import added_peak_mib, mark_memory

_ORDER = """
import numpy as np
from cloakbench.bench.processes.peak_memory import added_peak_mib, mark_memory
from cloakbench.bench.processes.malloc import keep_freed_memory

keep_freed_memory()
kept = np.ones(60 << 17)                            # 60 MiB that belong to nobody's work
for size in (40, 300, 40, 5):
    mark = mark_memory()
    work = [np.ones(1 << 17) for _ in range(size)]  # size MiB in pieces that the allocator keeps when freed
    del work
    print(added_peak_mib(mark))
"""


def test_peak_does_not_depend_on_what_ran_before() -> None:
    if mark_memory() is None:
        pytest.skip("no high-water mark that can be set back here")
    ran = subprocess.run([sys.executable, "-c", _ORDER], capture_output=True, text=True, check=True)
    peaks = [float(line) for line in ran.stdout.split()]
    assert peaks == pytest.approx([40, 300, 40, 5], abs=8)


def test_without_a_mark_the_peak_is_a_gap() -> None:
    assert added_peak_mib(None) is None


def test_a_mark_that_may_not_be_set_is_a_gap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(peak_memory, "_CLEAR", tmp_path)  # a folder cannot be written to
    assert mark_memory() is None


def test_a_status_without_the_fields_is_a_gap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "status").write_text("Name:\tpython\nVmRSS:\t  12 kB\n", encoding="ascii")
    monkeypatch.setattr(peak_memory, "_STATUS", tmp_path / "status")
    assert mark_memory() is None


def test_elsewhere_than_on_linux_there_is_no_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert mark_memory() is None
