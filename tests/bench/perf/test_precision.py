"""The rows of perf on precision: float32 is its own measure, and what is printed is what was found."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from cloakbench_test_plugins import tiny

from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.core.screen import Screen
from cloakbench.bench.perf.precision import ceiling_of, kinds_on, precision_rows, precision_table
from cloakbench.methods.pgd import PGD
from cloakbench.methods.photo_batch import PhotoBatch


def test_each_precision_of_a_cpu_has_a_row_beside_float32() -> None:
    photos = torch.rand(3, 3, 32, 32, generator=generator("perf"))
    batch = PhotoBatch(photos, ("a", "b", "c"), torch.zeros(3, dtype=torch.long), ("somebody",))
    build = partial(tiny, "tiny", 1, "family")
    full, coarse = precision_rows("pgd on tiny", PGD(8, steps=2), build, batch, kinds_on(torch.device("cpu")), 2, 1e9)
    assert (full.name, coarse.name) == ("pgd on tiny, fp32", "pgd on tiny, bf16")
    assert (full.ratio, full.equal_pixels, full.similarity) == (1.0, 1.0, 0.0)
    assert 0.5 < coarse.equal_pixels < 1
    assert 0 < coarse.similarity < 0.05
    # Two steps there and back, and the anchors; the network's products are known by hand.
    products = 2 * (16 * 28 * 28 * 3 * 49 + 32 * 14 * 14 * 16 * 9 + 512 * 64)
    assert full.passes_per_second * full.seconds == pytest.approx(3 * 5)
    assert full.share == pytest.approx(3 * 5 * products / full.seconds / 1e9)
    assert ceiling_of(torch.device("cpu")) is None
    Screen().print(precision_table([full, coarse]))
