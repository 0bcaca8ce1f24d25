"""Exports of torch networks over the opsets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from onnx_graphs import (
    INPUTS,
    SIZE,
    judged,
    photos,
)

from cloakbench.models.onnx_reader.load import Wanted, load_onnx

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
pytest.importorskip("onnxruntime", reason="needs the peers extra")

# Exports of torch networks.


class _Transformer(torch.nn.Module):
    """Patches, a class token, attention, and a mean: what a vision transformer is exported as."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = torch.nn.Conv2d(3, 16, 8, 8)
        self.token = torch.nn.Parameter(torch.randn(1, 1, 16))
        self.places = torch.nn.Parameter(torch.randn(1, 17, 16))
        self.attention = torch.nn.MultiheadAttention(16, 2, batch_first=True)
        self.norm, self.head = torch.nn.LayerNorm(16), torch.nn.Linear(16, 8)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        x = x + self.attention(x, x, x, need_weights=False)[0]
        windows = x[:, 1:].reshape(x.shape[0], 2, 2, 2, 2, 16).permute(0, 1, 3, 2, 4, 5).roll(1, 2)
        x = torch.nn.functional.gelu(self.norm(windows)).mean((1, 2, 3, 4))
        return torch.nn.functional.normalize(self.head(x))


def _residual() -> torch.nn.Module:
    from cloakbench.models.backbones.iresnet import IResNet

    return IResNet((1, 1, 1, 1), channels=(4, 4, 6, 6), embedding_size=16, input_size=(SIZE, SIZE))


def _mobile() -> torch.nn.Module:
    import timm

    return timm.create_model("mobilenetv3_small_050", num_classes=16)


def _edge() -> torch.nn.Module:
    import timm

    return timm.create_model("edgenext_xx_small", num_classes=16)


EXPORTS = [
    *((build, opset, free) for build in (_residual, _Transformer) for opset in (14, 17, 20) for free in (True, False)),
    (_residual, 9, False),
    (_mobile, 11, True),
    (_mobile, 18, False),
    (_edge, 14, False),
]


@pytest.mark.parametrize(("build", "opset", "free"), EXPORTS)
def test_exports_of_torch(build: Callable[[], torch.nn.Module], opset: int, free: bool, tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        source = build().eval()
    path = tmp_path / "net.onnx"
    with pytest.warns(DeprecationWarning):
        torch.onnx.export(
            source,
            (torch.zeros(1, 3, SIZE, SIZE),),
            str(path),
            input_names=["input"],
            output_names=["embedding"],
            dynamic_axes={"input": {0: "n"}} if free else None,
            opset_version=opset,
            dynamo=False,
        )
    network, images = load_onnx(path, INPUTS, Wanted("output", 1)), photos().requires_grad_()
    torch.testing.assert_close(network(images), source(images), rtol=1e-3, atol=1e-5)
    expected = judged(onnx.load(path), images)
    assert torch.cosine_similarity(network(images).detach(), expected).min() > 0.9999
    ours, theirs = (torch.autograd.grad(each(images).sin().sum(), images)[0] for each in (network, source))
    assert torch.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0) > 0.999
