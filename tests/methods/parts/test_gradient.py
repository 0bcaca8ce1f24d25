"""Oracles A1 to A5: the gradient attacks and how they reduce to each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.context import NetworkKind
from cloakbench.methods.fgsm import FGSM
from cloakbench.methods.mi_fgsm import MIFGSM
from cloakbench.methods.parts import gradient as gradient_module
from cloakbench.methods.parts.gradient import GradientAttack
from cloakbench.methods.parts.objectives import Anchors
from cloakbench.methods.parts.tiny_world import tiny_context, tiny_photos
from cloakbench.methods.pgd import PGD
from cloakbench.methods.ti_dim import TIDIM
from cloakbench.methods.vmi_fgsm import VMIFGSM

FROM_PHOTO: dict[str, Any] = {"objective": "reference", "random_start": False}
ITERATED = [PGD, MIFGSM, TIDIM, VMIFGSM]


def images(method: GradientAttack) -> Tensor:
    return method.protect(tiny_photos(), tiny_context()).images


def test_fgsm_moves_every_pixel_by_epsilon_or_not_at_all() -> None:
    batch = tiny_photos()
    difference = images(FGSM(8)).float() - batch.images * 255
    sizes = set(difference.abs().round(decimals=3).unique().tolist())
    assert sizes <= {0.0, 8.0} and (difference != 0).float().mean() > 0.99


def test_fgsm_cannot_leave_its_own_embedding() -> None:
    batch = tiny_photos()
    protected = FGSM(8, objective="own").protect(batch, tiny_context())
    assert protected.linf_255.max() == 0
    assert protected.warnings == ("6 of 6 photos came back unchanged",)


@pytest.mark.parametrize("method", ITERATED)
def test_own_without_random_start_is_refused(method: type[PGD]) -> None:
    with pytest.raises(ValueError, match="random_start=true"):
        method(random_start=False)


def test_pgd_of_one_full_step_is_fgsm() -> None:
    assert torch.equal(images(PGD(8, steps=1, step_255=8, **FROM_PHOTO)), images(FGSM(8)))


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_steps_bound_the_distance(steps: int) -> None:
    protected = PGD(8, steps=steps, step_255=2, **FROM_PHOTO).protect(tiny_photos(), tiny_context())
    assert protected.linf_255.max() == min(8, 2 * steps)


def test_random_start_is_valid_before_the_first_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = tiny_photos()
    batch = replace(batch, images=(batch.images > 0.5).float())
    seen: list[Tensor] = []
    original = PGD.gradient
    monkeypatch.setattr(
        PGD, "gradient", lambda self, photos, attack: seen.append(photos.clone()) or original(self, photos, attack)
    )
    PGD().protect(batch, tiny_context())
    assert seen[0].min() >= 0 and seen[0].max() <= 1
    assert not torch.equal(seen[0], batch.images)


def test_mi_fgsm_without_memory_is_bim() -> None:
    assert torch.equal(images(MIFGSM(momentum_decay=0.0, **FROM_PHOTO)), images(PGD(**FROM_PHOTO)))
    assert not torch.equal(images(MIFGSM(**FROM_PHOTO)), images(PGD(**FROM_PHOTO)))


def test_momentum_is_per_photo_and_skips_zero_gradients() -> None:
    attack = gradient_module.Attack(None, None, None, None, 1)  # type: ignore[arg-type]
    gradient = torch.randn(3, 3, 4, 4, generator=generator("momentum")) * torch.tensor([1.0, 1e-6, 0]).view(3, 1, 1, 1)
    first = gradient_module.add_momentum(gradient, attack, 1.0)
    assert torch.allclose(first[:2].abs().mean(dim=(1, 2, 3)), torch.ones(2))
    assert not first[2].any() and first.isfinite().all()
    assert torch.allclose(gradient_module.add_momentum(gradient, attack, 0.5), 1.5 * first)


def test_ti_dim_without_its_parts_is_mi_fgsm() -> None:
    plain = TIDIM(transform_probability=0.0, kernel_size=1, **FROM_PHOTO)
    assert torch.equal(images(plain), images(MIFGSM(**FROM_PHOTO)))


def test_vmi_fgsm_without_neighbourhood_is_mi_fgsm() -> None:
    plain = images(MIFGSM(**FROM_PHOTO))
    assert torch.equal(images(VMIFGSM(neighbours=2, beta=0.0, **FROM_PHOTO)), plain)
    one_step = {"steps": 1, "step_255": 2.0, **FROM_PHOTO}
    assert torch.equal(images(VMIFGSM(neighbours=2, **one_step)), images(MIFGSM(**one_step)))
    assert not torch.equal(images(VMIFGSM(neighbours=2, **FROM_PHOTO)), plain)


def test_passes() -> None:
    batch, context = tiny_photos(), tiny_context()
    cost = PGD().protect(batch, context).cost
    assert (cost.forward_images, cost.backward_images) == (6 * 11, 6 * 10)
    cost = VMIFGSM(steps=4, neighbours=3).protect(batch, context).cost
    assert (cost.forward_images, cost.backward_images) == (6 * (1 + 4 + 9), 6 * (4 + 9))


@pytest.mark.parametrize("method", ITERATED)
def test_gradient_scale_does_not_matter(method: type[PGD], monkeypatch: pytest.MonkeyPatch) -> None:
    plain = images(method(steps=4))
    original = Anchors.loss
    # A power of two changes no rounding.
    monkeypatch.setattr(Anchors, "loss", lambda self, index, embeddings: 1024 * original(self, index, embeddings))
    assert torch.equal(images(method(steps=4)), plain)


@pytest.mark.parametrize("method", ITERATED)
def test_impersonation_goes_towards_the_target(method: type[PGD]) -> None:
    batch, context = tiny_photos(), tiny_context()
    model = context.surrogates[0]
    attack = method(objective="aim", random_start=False)
    assert attack.targeted and attack.needs == {"surrogates", "aim"}
    protected = attack.protect(batch, context).images.float() / 255
    goal = model.embed(batch.require_aim_photos())[batch.owner]
    before, after = ((model.embed(x) * goal).sum(dim=1) for x in (batch.images, protected))
    assert (after > before).all()


def test_an_ensemble_of_equals_is_one_of_them() -> None:
    batch, context = tiny_photos(), tiny_context()
    twice = replace(context, networks={NetworkKind.RECOGNISER: context.surrogates * 2})
    assert torch.equal(PGD().protect(batch, twice).images, PGD().protect(batch, context).images)


def test_gradient_is_the_slope_of_the_loss() -> None:
    batch = tiny_photos()
    model = tiny_context().surrogates[0].double()
    photos = batch.images[:1].double()
    anchor = Anchors((model.embed(batch.images[3:4].double()),), towards=True)
    leaf = photos.clone().requires_grad_()
    (slope,) = torch.autograd.grad(anchor.loss(0, model.embed(leaf)), leaf)
    for place in [(0, 0, 3, 4), (0, 1, 17, 20), (0, 2, 30, 8)]:
        step = torch.zeros_like(photos)
        step[place] = 1e-6
        up, down = (anchor.loss(0, model.embed(photos + sign * step)) for sign in (1, -1))
        assert abs(float((up - down) / 2e-6 - slope[place])) < 1e-6


@pytest.mark.parametrize("wrong", [{"objective": "away"}, {"steps": 0}, {"epsilon_255": -1}, {"step_255": 0}])
def test_wrong_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        PGD(**wrong)
