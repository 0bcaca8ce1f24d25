"""What only a GPU can show (``pytest -m gpu``): it agrees with the CPU within rounding, at each precision, compiled, in
passes of any size, on all devices at once. Not to the byte: a card chooses its own order of sums, call by call."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from cloakbench_test_plugins import tiny

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.config.networks import build_recogniser
from cloakbench.bench.engine.device.embedding import Card, EmbeddingPasses
from cloakbench.bench.engine.device.precision import at_precision
from cloakbench.bench.engine.protecting import read_photos
from cloakbench.bench.engine.worker import Worker, to_float
from cloakbench.bench.experiment.prepare import prepare
from cloakbench.bench.experiment.run import Outcome, run
from cloakbench.models.base import Recogniser, embed_in_batches
from cloakbench.models.conformance import smooth_images

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"
CPU, GPU = torch.device("cpu"), torch.device("cuda")
PHOTOS = 3 / 18 + 1e-9
"""How far a rate may be off: three photos of eighteen."""


def embedded(precision: str = "fp32", device: torch.device = CPU, *, compiled: bool = False) -> Recogniser:
    config = compose_config(["experiment=smoke"]).surrogates.cosface_ir
    return at_precision(build_recogniser(config, "cosface_ir"), device, precision, compiled=compiled)


@pytest.mark.parametrize(
    ("precision", "compiled", "apart"),
    [("fp32", False, 1e-5), ("fp32", True, 1e-5), ("tf32", False, 1e-2), ("bf16", False, 5e-2), ("bf16", True, 5e-2)],
)
def test_embeddings_and_gradients_agree_with_the_cpu(precision: str, compiled: bool, apart: float) -> None:
    """Float32 to the fifth digit, which it would not where torch rounds convolutions to TF32 on its own."""
    photos = smooth_images()
    here, there = photos.clone().requires_grad_(), photos.to(GPU).requires_grad_()
    exact, found = embedded().embed(here), embedded(precision, GPU, compiled=compiled).embed(there)
    assert (found.cpu() - exact).abs().max() < apart
    (slope,), (other,) = torch.autograd.grad(exact[:, 0].sum(), here), torch.autograd.grad(found[:, 0].sum(), there)
    assert torch.cosine_similarity(slope.flatten(1), other.cpu().flatten(1)).min() > 0.95


def test_passes_sized_to_memory_give_the_same_embeddings() -> None:
    images = (smooth_images().repeat(40, 1, 1, 1) * 255).to(torch.uint8)
    passes = EmbeddingPasses(10, GPU, Card.of(GPU), lambda batch: to_float(batch, GPU))
    found, note = passes.embed("one", tiny("one", 1, "a").to(GPU), images)
    assert note["photos_per_pass"] > 10
    exact = embed_in_batches(tiny("one", 1, "a"), images, 10, CPU)
    assert (found - exact).abs().max() < 1e-4


def test_photos_that_are_read_ahead_can_be_fetched_by_the_device(tiny_overrides: list[str]) -> None:
    experiment = prepare(compose_config([*tiny_overrides, "runtime=gpu"], config_dirs=[str(CONFIG_DIR)]))
    read = read_photos(Worker(experiment.spec), next(iter(experiment.units)).unit)
    assert read.images.is_pinned()
    assert read.references is not None
    assert read.references.is_pinned()


def measured(outcome: Outcome) -> np.ndarray:
    found = outcome.results.measurements
    return found[found["protocol"].isin(["identification", "verification"])]["value"].to_numpy(dtype=float)


def pictures(outcome: Outcome) -> dict[str, bytes]:
    """Every protected photo by unit and name."""
    found = {}
    for path in (outcome.folder.parents[1] / "store" / "protected").glob("*/*.zip"):
        with zipfile.ZipFile(path) as unit:
            found |= {f"{path.stem}/{name}": unit.read(name) for name in unit.namelist() if name.endswith(".png")}
    return found


@pytest.mark.parametrize(
    "words",
    [("runtime=gpu",), ("runtime=gpu", "runtime.devices=auto"), ("runtime=gpu", "runtime.precision=bf16")],
    ids=lambda words: words[-1],
)
def test_a_run_has_the_rates_of_the_cpu(words: tuple[str, ...], tiny_overrides: list[str], tmp_path: Path) -> None:
    given = [*tiny_overrides[:-1], "runtime.workers=auto"]
    here = run(compose_config([*given, f"paths.results={tmp_path}/cpu"], config_dirs=[str(CONFIG_DIR)]))
    there = run(compose_config([*given, *words, f"paths.results={tmp_path}/gpu"], config_dirs=[str(CONFIG_DIR)]))
    assert not there.problems
    apart = np.abs(measured(here) - measured(there))
    assert np.nanmax(apart) <= PHOTOS
    assert np.nanmean(apart) < 0.02
    same_keys = pictures(here).keys() == pictures(there).keys()
    assert same_keys == ("runtime.precision=bf16" not in words)
