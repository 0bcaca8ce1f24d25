"""DISTS against piq on the same drawn weights; what is not its files is refused in one line."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import piq
import piq.perceptual
import pytest
import torch
import torch.nn.functional as F
from perceptual_files import MAPS, dists_files, vgg16_features
from torch import Tensor

from cloakbench.models.dists import DistsDistance, load_dists
from cloakbench.models.weight_file import WeightError, WeightFile

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, WeightFile]:
    return dists_files(tmp_path_factory.mktemp("dists"))


@pytest.fixture(scope="module")
def distance(files: dict[str, WeightFile]) -> DistsDistance:
    return load_dists(**files, device=CPU)


def precise(distance: DistsDistance) -> DistsDistance:
    return replace(distance, trunk=copy.deepcopy(distance.trunk).double())


def pairs(height: int = 48, width: int = 48, change: float = 0.1) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    shape = F.interpolate(torch.rand(3, 3, 5, 5, generator=draw), size=[height, width], mode="bicubic").clamp(0, 1)
    left = (shape + 0.05 * torch.randn(shape.shape, generator=draw)).clamp(0, 1)
    right = (left + change * torch.randn(left.shape, generator=draw)).clamp(0, 1)
    return left, right


@pytest.fixture
def reference(files: dict[str, WeightFile], monkeypatch: pytest.MonkeyPatch) -> Callable[[], piq.DISTS]:
    """Makes piq's, which keeps to the precision of its first call, and takes heads that are scaled already."""
    heads = {name: one.double() for name, one in torch.load(files["heads"].place, weights_only=True).items()}
    total = heads["alpha"].sum() + heads["beta"].sum()
    monkeypatch.setattr(piq.perceptual, "vgg16", lambda **_: SimpleNamespace(features=vgg16_features()))
    monkeypatch.setattr(
        torch.hub, "load_state_dict_from_url", lambda *_, **__: {name: one / total for name, one in heads.items()}
    )
    return partial(piq.DISTS, reduction="none")


@pytest.mark.parametrize("size", [(48, 48), (33, 50)])
def test_dists_agrees_with_piq(
    distance: DistsDistance, reference: Callable[[], piq.DISTS], size: tuple[int, int]
) -> None:
    left, right = pairs(*size)
    found = distance(left, right)
    assert 0.01 < found.min() < found.max() < 1
    torch.testing.assert_close(found, reference()(left, right), rtol=1e-4, atol=1e-6)
    exact = reference()(left.double(), right.double())
    torch.testing.assert_close(precise(distance)(left.double(), right.double()), exact, rtol=1e-6, atol=1e-9)


def test_equal_photos_are_0_apart_and_a_grey_level_is_resolved(distance: DistsDistance) -> None:
    left, _ = pairs()
    assert (distance(left, left) == 0).all()
    right = (left + torch.tensor([1, -1]).repeat(left.numel() // 2).view(left.shape) / 255).clamp(0, 1)
    exact = precise(distance)(left.double(), right.double())
    torch.testing.assert_close(distance(left, right).double(), exact, rtol=1e-3, atol=0)


def test_a_pair_alone_is_as_far_apart_as_in_company(distance: DistsDistance) -> None:
    left, right = pairs()
    alone = torch.cat([distance(left[[row]], right[[row]]) for row in range(len(left))])
    torch.testing.assert_close(distance(left, right), alone, rtol=1e-5, atol=1e-8)


@pytest.mark.slow
def test_large_photos_are_reduced_to_256_pixels_first(distance: DistsDistance) -> None:
    left, right = (images[:1] for images in pairs(288, 320))
    smaller = [F.interpolate(one, size=[256, 284], mode="bilinear", antialias=True) for one in (left, right)]
    assert distance(left, right) == distance(*smaller)


def test_files_that_are_not_those_of_dists_are_one_line(files: dict[str, WeightFile], tmp_path: Path) -> None:
    def refused(message: str, **given: WeightFile) -> None:
        with pytest.raises(WeightError, match=message) as caught:
            load_dists(**{**files, **given}, device=CPU)
        assert "\n" not in str(caught.value)

    refused("no weight file at", trunk=WeightFile(str(tmp_path / "absent.pth")))
    refused("expected 0{64}", trunk=replace(files["trunk"], sha256="0" * 64))
    whole = files["trunk"].place.read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    refused(r"cut.pth is cut off", trunk=WeightFile(str(tmp_path / "cut.pth"), strip_prefix="features."))
    vgg = torch.load(files["trunk"].place, weights_only=True)
    torch.save({name: value for name, value in vgg.items() if ".28." not in name}, tmp_path / "short.pth")
    refused("missing: 28.weight, 28.bias", trunk=WeightFile(str(tmp_path / "short.pth"), strip_prefix="features."))
    torch.save({"fc.weight": torch.ones(2, 2)}, tmp_path / "other.pth")
    refused(
        "no parameter in .* starts with 'features.'", trunk=replace(files["trunk"], path=str(tmp_path / "other.pth"))
    )
    refused("no DISTS heads", heads=WeightFile(str(tmp_path / "other.pth")))
    torch.save({name: torch.zeros(1, MAPS, 1, 1) for name in ("alpha", "beta")}, tmp_path / "zero.pt")
    refused("heads that sum to 0", heads=WeightFile(str(tmp_path / "zero.pt")))
