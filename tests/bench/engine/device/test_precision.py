"""Networks at a precision: float32 on a CPU is left alone, bfloat16 stays near it, and no flag of torch outlives us."""

from __future__ import annotations

from typing import Any

import cloakbench_test_plugins as plugins
import pytest
import torch
from torch import Tensor, nn

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.config.networks import build_recogniser
from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.engine.device.precision import PreciseNetwork, at_precision, float_rule
from cloakbench.methods.context import NetworkKind, ProtectContext
from cloakbench.methods.pgd import PGD
from cloakbench.methods.photo_batch import PhotoBatch
from cloakbench.models.base import Recogniser
from cloakbench.models.conformance import smooth_images

CPU = torch.device("cpu")


def embedded() -> Recogniser:
    config = compose_config(["experiment=smoke"]).surrogates.cosface_ir
    return build_recogniser(config, "cosface_ir")


def test_float32_on_a_cpu_leaves_the_network_as_it_is() -> None:
    model = plugins.tiny("one", 1, "a")
    network = model.network
    assert at_precision(model, CPU) is model
    assert model.network is network


def test_bfloat16_embeddings_are_float32_near_the_exact_ones_with_gradients_at_the_pixels() -> None:
    photos = smooth_images().requires_grad_()
    exact = embedded().embed(photos)
    coarse = at_precision(embedded(), CPU, "bf16").embed(photos)
    assert coarse.dtype == torch.float32
    assert not torch.equal(coarse, exact)
    assert (coarse * exact).sum(dim=1).min() > 0.999
    (slope,) = torch.autograd.grad(coarse[:, 0].sum(), photos)
    (exact_slope,) = torch.autograd.grad(exact[:, 0].sum(), photos)
    assert slope.dtype == torch.float32
    assert torch.cosine_similarity(slope.flatten(1), exact_slope.flatten(1)).min() > 0.95


def test_masks_found_in_bfloat16_protect_as_well() -> None:
    """Judged in float32, the photos are as far from their originals within 0.03 of cosine."""
    photos = smooth_images()
    batch = PhotoBatch(
        photos, tuple(f"photo{n}" for n in range(len(photos))), torch.zeros(len(photos), dtype=torch.long), ("a",)
    )
    judge, found = embedded(), {}
    for precision in ("fp32", "bf16"):
        model = at_precision(embedded(), CPU, precision)
        context = ProtectContext({NetworkKind.RECOGNISER: (model,)})
        found[precision] = PGD(8, steps=4, objective="own").protect(batch, context).images
    with torch.no_grad():
        clean = judge.embed(photos)
        moved = {name: (judge.embed(one.float() / 255) * clean).sum(dim=1) for name, one in found.items()}
    assert moved["fp32"].max() < 0.8
    assert (moved["fp32"] - moved["bf16"]).abs().max() < 0.03
    assert (found["fp32"] == found["bf16"]).float().mean() > 0.6


def test_a_compiled_network_with_hooks_is_run_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled code would call no hook, and a method that acts through one would silently do nothing."""

    def compiled(work: Any) -> Any:
        return lambda images: work(images) + 1

    monkeypatch.setattr(torch, "compile", compiled)
    inner = nn.Sequential(nn.Flatten())
    network = PreciseNetwork(inner, "fp32", compiled=True)
    images = torch.zeros(1, 3, 2, 2)
    assert network(images).max() == 1
    handle = inner[0].register_forward_hook(lambda module, given, answer: answer + 5)
    assert network(images).max() == 5
    handle.remove()
    assert network(images).max() == 1


@pytest.mark.parametrize(("precision", "rounded"), [("fp32", False), ("bf16", False), ("tf32", True)])
def test_products_on_cuda_are_rounded_where_that_is_asked_for_and_only_inside(precision: str, rounded: bool) -> None:
    backends: Any = torch.backends

    def flags() -> tuple[bool, bool]:
        return backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32

    before = flags()
    with pytest.raises(ArithmeticError), float_rule(precision, torch.device("cuda")):
        assert flags() == (rounded, rounded)
        raise ArithmeticError
    assert flags() == before
    with float_rule(precision, CPU):
        assert flags() == before


def test_photos_reach_a_network_off_the_cpu_channels_last() -> None:
    seen: list[Tensor] = []

    class Watches(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(images)
            return images.mean(dim=(2, 3))

    photos = torch.rand(2, 3, 8, 8, generator=generator("layout")).to("meta")
    PreciseNetwork(Watches(), "fp32")(photos)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
