"""Random views and the adversary: range, shape, gradients, and draws that belong to their stream."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.models.training.adversary import Ascent
from cloakbench.models.training.regimes import Regime
from cloakbench.models.training.views import Flip, FlipCrop, StrongViews

VIEWS = [Flip(), FlipCrop(2), StrongViews(2, 0.3, 6)]


def faces(count: int = 12) -> Tensor:
    return torch.rand(count, 3, 16, 16, generator=generator("faces"))


@pytest.mark.parametrize("views", VIEWS, ids=lambda views: type(views).__name__)
def test_views_keep_shape_and_range_and_follow_their_stream(views: Any) -> None:
    images = faces()
    seen = views(images, generator("one"))
    assert seen.shape == images.shape
    assert float(seen.min()) >= 0 and float(seen.max()) <= 1
    assert torch.equal(seen, views(images, generator("one")))
    assert not torch.equal(seen, views(images, generator("two")))
    assert not torch.equal(seen, images)


@pytest.mark.parametrize("views", VIEWS, ids=lambda views: type(views).__name__)
def test_views_let_gradients_through(views: Any) -> None:
    leaf = faces().requires_grad_()
    (slope,) = torch.autograd.grad(views(leaf, generator("one")).sum(), leaf)
    assert slope.abs().sum() > 0


def test_flip_mirrors_some_photos_and_only_that() -> None:
    images = faces()
    seen = Flip()(images, generator("flip"))
    same = (seen == images).flatten(1).all(dim=1)
    mirrored = (seen == images.flip(-1)).flatten(1).all(dim=1)
    assert bool((same ^ mirrored).all())
    assert 0 < int(mirrored.sum()) < len(images)


def test_crop_shifts_by_at_most_the_padding() -> None:
    images = torch.zeros(40, 3, 16, 16)
    images[:, :, 8, 8] = 1
    seen = FlipCrop(2)(images, generator("crop"))
    places = seen[:, 0].flatten(1).argmax(dim=1)
    rows, columns = places // 16, places % 16
    assert set(rows.tolist()) <= set(range(6, 11))
    assert set(columns.tolist()) <= set(range(5, 11))  # mirrored photos have it at column 7
    assert len(set(rows.tolist())) > 2
    assert torch.equal(FlipCrop(0)(images, generator("crop")), Flip()(images, generator("crop")))


def test_cutout_hides_a_square() -> None:
    seen = StrongViews(0, 0.0, 6)(torch.zeros(8, 3, 16, 16), generator("cut"))
    hidden = (seen == 0.5).all(dim=1).flatten(1).sum(dim=1)
    assert bool((hidden > 0).all())
    assert int(hidden.max()) <= 36
    assert bool((StrongViews(0, 0.0, 0)(torch.zeros(8, 3, 16, 16), generator("cut")) == 0).all())


class Brightness(torch.nn.Module):
    """Two classes: dark and bright."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.mean(dim=(1, 2, 3))
        return torch.stack([-mean, mean], dim=1)


def test_ascent_stays_in_the_ball_and_goes_up() -> None:
    images, labels = faces(4), torch.tensor([0, 1, 0, 1])
    moved = Ascent(4, 2, 3)(Brightness(), images, labels, generator("ascent"))
    assert float((moved - images).abs().max()) <= 4 / 255 + 1e-7
    assert float(moved.min()) >= 0 and float(moved.max()) <= 1
    rises = (moved - images).mean(dim=(1, 2, 3))
    assert (rises > 0).tolist() == [True, False, True, False]
    assert not moved.requires_grad
    assert torch.equal(Ascent(4, 2, 0)(Brightness(), images, labels, generator("ascent")), images)


def test_a_regime_shows_views_then_attacks_in_eval_mode_and_restores_the_mode() -> None:
    modes = []

    class Watched(Brightness):
        def forward(self, images: Tensor) -> Tensor:
            modes.append(self.training)
            return super().forward(images)

    network = Watched().train()
    images, labels = faces(4), torch.tensor([0, 1, 0, 1])
    seen = Regime(Flip(), Ascent(4, 2, 2))(network, images, labels, generator("regime"))
    assert modes == [False, False]
    assert network.training
    assert float((seen - Flip()(images, generator("regime"))).abs().max()) <= 4 / 255 + 1e-7
    plain = Regime(Flip(), None)(network, images, labels, generator("regime"))
    assert torch.equal(plain, Flip()(images, generator("regime")))


@pytest.mark.parametrize("wrong", [lambda: FlipCrop(-1), lambda: StrongViews(0, 2, 0), lambda: Ascent(-1, 1, 1)])
def test_values_out_of_range_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"(padding_px|colour|radius_255) is .*: it must be"):
        wrong()
