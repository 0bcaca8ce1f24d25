"""Perceptual distances: LPIPS against its package, the embedded stand-in against its definition."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.models.base import InputSpec, ModelCard, Recogniser
from cloakbench.models.perceptual import EmbeddedFeatures, LpipsAlex
from cloakbench.models.weight_file import WeightError

CPU = torch.device("cpu")
CLEAN = torch.rand(2, 3, 64, 64, generator=generator("perceptual"))
MOVED = (CLEAN + 0.1 * torch.randn(CLEAN.shape, generator=generator("perceptual", "noise"))).clamp(0, 1)


def two_layers(weights_sha256: str = "a") -> Recogniser:
    with torch.random.fork_rng(devices=[]):
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3, 2), nn.Flatten())
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(0, 0.3, generator=generator("weights"))
    card = ModelCard("two", "conv", "two layers", "none", "none", 5 * 30 * 30, weights_sha256)
    return Recogniser(network, InputSpec(size=(64, 64)), card)


def test_embedded_features_follow_the_recipe() -> None:
    network = two_layers().network.double()
    scaled = [2 * images.double() - 1 for images in (MOVED, CLEAN)]
    expected = torch.zeros(2, dtype=torch.float64)
    for depth in (1, 3):  # up to the first convolution, and up to the second
        ours, theirs = (network[:depth](images) for images in scaled)  # type: ignore[index]
        ours, theirs = (x / x.norm(dim=1, keepdim=True) for x in (ours, theirs))
        expected += (ours - theirs).square().sum(dim=1).mean(dim=(1, 2))
    found = EmbeddedFeatures(two_layers, ["0", "2"]).load(CPU).to(CLEAN)(MOVED)
    torch.testing.assert_close(found, expected.float())
    assert (found > 0.01).all()


def test_nothing_is_between_a_photo_and_itself_and_the_gradient_is_finite() -> None:
    distance = EmbeddedFeatures(two_layers, ["0", "1", "2"]).load(CPU).to(torch.zeros(1, 3, 64, 64))
    # A flat photo after ReLU has positions without any response, where a square root would have no gradient.
    photos = torch.zeros(1, 3, 64, 64).requires_grad_()
    value = distance(photos)
    assert value.detach().item() == 0
    assert torch.autograd.grad(value.sum(), photos)[0].isfinite().all()


def test_hooks_are_gone_after_a_call() -> None:
    model = two_layers()
    EmbeddedFeatures(lambda: model, ["0"]).load(CPU).to(CLEAN)(MOVED)
    assert not any(module._forward_hooks for module in model.modules())


def test_a_layer_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="two has no layer 'stem'"):
        EmbeddedFeatures(two_layers, ["0", "stem"]).load(CPU)


def test_fingerprint_names_weights_and_layers() -> None:
    one = EmbeddedFeatures(two_layers, ["0"]).fingerprint()
    assert one == EmbeddedFeatures(two_layers, ["0"]).fingerprint()
    others = [EmbeddedFeatures(two_layers, ["1"]), EmbeddedFeatures(partial(two_layers, "b"), ["0"])]
    assert len({one, *(other.fingerprint() for other in others)}) == 3


@pytest.fixture
def alexnet_file(tmp_path: Path) -> Path:
    """A drawn AlexNet trunk in the layout of torchvision's file."""
    from torchvision.models import alexnet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        weights = alexnet(weights=None).state_dict()
    torch.save({k: v for k, v in weights.items() if k.startswith("features.")}, tmp_path / "alexnet.pth")
    return tmp_path / "alexnet.pth"


def test_lpips_is_the_packages(alexnet_file: Path) -> None:
    import lpips as package

    with torch.random.fork_rng(devices=[]):
        reference: Any = package.LPIPS(net="alex", pnet_rand=True, verbose=False)
    state: dict[str, Tensor] = torch.load(alexnet_file, weights_only=True)
    names = {name: "features." + name.split(".", 1)[1] for name in reference.net.state_dict()}
    reference.net.load_state_dict({name: state[key] for name, key in names.items()})
    before = torch.get_rng_state()
    lpips = LpipsAlex(alexnet_file, sha256_prefix="")
    found = lpips.load(CPU).to(CLEAN)(MOVED)
    assert torch.equal(before, torch.get_rng_state())
    torch.testing.assert_close(found, reference(CLEAN, MOVED, normalize=True).flatten().detach(), rtol=1e-4, atol=1e-7)
    assert len(lpips.fingerprint()) == 64 and lpips.is_lpips


def test_another_file_is_refused(alexnet_file: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightError, match=r"expected 7be5be79"):
        LpipsAlex(alexnet_file).load(CPU)
    with pytest.raises(WeightError, match="no weight file"):
        LpipsAlex(tmp_path / "absent.pth").fingerprint()
    torch.save({"features.0.weight": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightError, match="is no torchvision AlexNet: it lacks features"):
        LpipsAlex(tmp_path / "other.pth", "").load(CPU)
