"""The adapter of the frbench package, against a stand-in with its interface (``FR``, ``get_asset``)."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import namedtuple
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.config.networks import build_recogniser
from cloakbench.models.base import Recogniser

Result = namedtuple("Result", "embeddings indices crops")  # FREmbedResult


class StandIn(nn.Module):
    """``frbench.FR`` with a network of one layer; a call that would detect or augment is an error here."""

    def __init__(
        self, backbone_type: str, loss_type: str, dataset_type: str, detector: str = "", *, eager_load: bool = False
    ) -> None:
        super().__init__()
        if loss_type == "unheard-of":
            raise KeyError(f"Model '{backbone_type}_{loss_type}_{dataset_type}' not in manifest.\nAvailable: ...")
        assert eager_load, "weights are fetched when the model is built, not in the middle of a run"
        self.backbone = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(3 * 14 * 14, 32))
        generator = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)

    def forward(
        self,
        imgs: Tensor,
        need_crop: bool = True,
        need_align: bool = True,
        discard_invalid: bool = False,
        tta: tuple[str, ...] = ("flip_horizontal",),
        l2_normalize: bool = False,
    ) -> Result:
        assert (need_crop, tuple(tta), l2_normalize) == (False, (), False)
        if imgs.amax() > 256 or imgs.amin() < -1:
            raise ValueError("Expected values in [0,255]")
        assert imgs.amax() > 2, "looks like [0, 1]"
        return Result(self.backbone((imgs / 255 - 0.5) / 0.5), list(range(len(imgs))), imgs)


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    (tmp_path / "config.yaml").write_text("input: {}")
    (tmp_path / "model.pth").write_bytes(b"weights")
    package: Any = ModuleType("frbench")
    package.__version__ = "1.1.3"
    package.FR = StandIn
    package.update_check = True
    package.set_update_check = lambda on: setattr(package, "update_check", on)
    contents = {"weight": "model.pth", "config": "config.yaml"}
    package.get_asset = lambda name: {"path": str(tmp_path), "contents": contents, "name": name}
    monkeypatch.setitem(sys.modules, "frbench", package)
    return package


def load(*overrides: str) -> Recogniser:
    keys = ("surrogate.backbone=irse-100", "surrogate.loss=arcface", "surrogate.dataset=ms1m")
    surrogate = compose_config(["model@surrogate=frbench", *keys, *overrides]).surrogate
    config: Any = OmegaConf.to_container(surrogate, resolve=True)
    return build_recogniser(config, config["name"])


def test_crops_go_straight_to_the_embedder_and_gradients_come_back(package: ModuleType, tmp_path: Path) -> None:
    model = load()
    card = model.card
    assert (card.name, card.family, card.backbone) == ("frbench_irse-100_arcface_ms1m", "irse", "irse-100")
    assert (card.head, card.training_set, card.embedding_size) == ("arcface", "ms1m", 32)
    files = [(tmp_path / name).read_bytes() for name in ("config.yaml", "model.pth")]
    parts = [b"1.1.3", *(hashlib.sha256(file).digest() for file in files)]
    assert card.weights_sha256 == hashlib.sha256(b"".join(parts)).hexdigest()
    assert package.update_check is False

    images = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(1)).requires_grad_()
    pipeline: Any = model.network.pipeline
    expected = nn.functional.normalize(pipeline.backbone(2 * images - 1), dim=1)
    torch.testing.assert_close(model.embed(images), expected)
    (gradient,) = torch.autograd.grad(model.embed(images)[:, 0].sum(), images)
    assert bool((gradient.flatten(1).abs().amax(1) > 0).all())


def test_family_can_be_named(package: ModuleType) -> None:
    assert load("surrogate.card.family=ir_se").card.family == "ir_se"


def test_missing_package_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "frbench", None)
    with pytest.raises(ValueError, match=r"pip install 'cloakbench\[frbench\]'") as error:
        load()
    assert "\n" not in str(error.value)


def test_unknown_model_is_one_line(package: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"not in manifest.*frbench-download --list-models") as error:
        load("surrogate.loss=unheard-of")
    assert "\n" not in str(error.value)


def test_the_package_itself_runs_with_random_weights_in_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frbench = pytest.importorskip("frbench", reason="needs the frbench extra")
    from frbench.backbones import build_backbone

    monkeypatch.setenv("FRBENCH_CACHE", str(tmp_path))
    key = "mobilefacenet_arcface_ms1m"
    settings = {"name": "mobilefacenet", "kwargs": {"num_features": 512}}
    folder = tmp_path / key
    folder.mkdir()
    (folder / "config.yaml").write_text(json.dumps({"backbone": settings, "input": {"size": [112, 112]}}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(build_backbone(*settings.values(), torch.device("cpu")).state_dict(), folder / "model.pth")
    files = {"weight": "model.pth", "config": "config.yaml"}
    manifest = {name: {"target_name": name, "contents": files} for name in (key, "retinaface_mobilenetv1")}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))

    model = load("surrogate.backbone=mobilefacenet")
    images = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(1))
    pipeline = frbench.FR("mobilefacenet", "arcface", "ms1m")
    expected = pipeline(255 * images, need_crop=False, tta=(), l2_normalize=True).embeddings
    torch.testing.assert_close(model.embed(images), expected, rtol=1e-4, atol=1e-5)
