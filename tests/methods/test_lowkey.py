"""Oracles B15 to B18: LowKey's bound, blur, objective and batches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.context import NetworkKind, ProtectContext
from cloakbench.methods.lowkey import LowKey
from cloakbench.methods.parts.tiny_world import tiny_context, tiny_photos


class MeanSquare:
    """A stand-in for a perceptual distance: fast, smooth, zero at the photo."""

    name: ClassVar[str] = "mean square"
    is_lpips: ClassVar[bool] = False

    def fingerprint(self) -> str:
        return "none"

    def load(self, device: torch.device) -> MeanSquare:
        return self

    def to(self, clean: Tensor) -> Any:
        return lambda photos: 100 * (photos - clean).square().mean(dim=(1, 2, 3))


def lowkey(**settings: Any) -> LowKey:
    return LowKey(MeanSquare(), **settings)


def several(copies: int) -> ProtectContext:
    return replace(tiny_context(), networks={NetworkKind.RECOGNISER: tiny_context().surrogates * copies})


def test_the_settings_bound_the_change() -> None:  # B15
    method = lowkey(perceptual_weight=0)
    assert method.max_change_255 == pytest.approx(0.13 * 255) and method.budget is None
    protected = method.protect(tiny_photos(), tiny_context())
    assert 20 < protected.linf_255.max() <= 33
    protected = lowkey(epsilon_255=8).protect(tiny_photos(), tiny_context())
    assert protected.linf_255.max() == 8


def test_without_a_weight_every_step_counts_and_the_bound_is_reached() -> None:
    method = lowkey(steps=5, step_255=2, start_255=1e-3, perceptual_weight=0)
    assert method.protect(tiny_photos(), tiny_context()).linf_255.max() == 10


def test_blur() -> None:  # B16
    blur = lowkey().blur
    grey = torch.full((1, 3, 20, 20), 0.37)
    torch.testing.assert_close(blur(grey), grey)
    point = torch.zeros(1, 3, 21, 21)
    point[..., 10, 10] = 1
    seen = blur(point)
    assert seen.sum().item() == pytest.approx(3, abs=1e-5)
    assert (seen > 0).sum() == 3 * 49, "7 x 7"
    places = torch.arange(-3.0, 4)
    bell = (-(places**2) / 18).exp()
    torch.testing.assert_close(seen[0, 0, 7:14, 7:14], torch.outer(bell, bell) / bell.sum() ** 2)
    edge = torch.rand(1, 3, 12, 12, generator=generator("edge"))
    mirrored = torch.nn.functional.pad(edge, (3, 3, 3, 3), mode="reflect")
    torch.testing.assert_close(blur(edge), blur(mirrored)[..., 3:-3, 3:-3])


def test_at_the_photo_only_the_blurred_term_is_left() -> None:  # B17
    batch, context = tiny_photos(), tiny_context()
    method = lowkey()
    plain, blurred, perceptual = method.terms(batch.images, method.clean(batch.images, context), context)
    assert plain.abs().max() < 1e-9 and not perceptual.any()
    assert (blurred > 1e-6).all()
    objective = sum(method.terms(batch.images, method.clean(batch.images, context), context))
    torch.testing.assert_close(objective, blurred)


def test_objective_is_the_papers() -> None:
    batch, context = tiny_photos(), several(2)
    model, method = context.surrogates[0], lowkey()
    photos = (batch.images + 0.02 * torch.randn(batch.images.shape, generator=generator("photos"))).clamp(0, 1)

    def features(images: Tensor) -> Tensor:
        both = model.embed(images) + model.embed(images.flip(3))
        return both / both.norm(dim=1, keepdim=True)

    clean = features(batch.images)
    gained = [(clean - features(seen)).square().sum(dim=1) / 512 for seen in (photos, method.blur(photos))]
    expected = sum(gained) / 2 - 0.05 * 100 * (photos - batch.images).square().mean(dim=(1, 2, 3))
    found = sum(method.terms(photos, method.clean(batch.images, context), context))
    torch.testing.assert_close(found, expected)


def test_two_photos_together_are_two_photos_alone() -> None:  # B18
    batch = tiny_photos()

    def protect(rows: list[int]) -> Tensor:
        part = replace(
            batch,
            images=batch.images[rows],
            image_id=tuple(batch.image_id[i] for i in rows),
            owner=batch.owner[rows],
        )
        return lowkey().protect(part, tiny_context()).images

    assert torch.equal(protect([0, 1]), torch.cat([protect([0]), protect([1])]))


def test_photos_and_their_smoothed_copies_leave_their_person() -> None:
    batch, model, method = tiny_photos(), tiny_context().surrogates[0], lowkey(epsilon_255=8)
    protected = method.protect(batch, tiny_context()).images.float() / 255
    own = model.embed(batch.images)
    before = (model.embed(method.blur(batch.images)) * own).sum(dim=1)
    assert ((model.embed(protected) * own).sum(dim=1) < 0.9).all()
    assert ((model.embed(method.blur(protected)) * own).sum(dim=1) < before).all()


def test_the_perceptual_term_holds_the_photo_back() -> None:
    def change(weight: float) -> float:
        return float(lowkey(perceptual_weight=weight).protect(tiny_photos(), tiny_context()).l2_255.mean())

    assert change(5.0) < 0.8 * change(0.0)


@pytest.mark.parametrize("mirror", [True, False])
def test_passes(mirror: bool) -> None:
    twice = several(2)
    cost = lowkey(steps=3, mirror=mirror).protect(tiny_photos(), twice).cost
    views = 2 if mirror else 1
    # Per model and step: plain and blurred, each with its mirror image; the clean photo and its mirror image once.
    assert (cost.forward_images, cost.backward_images) == (2 * 6 * views * (3 * 2 + 1), 2 * 6 * views * 3 * 2)


def test_what_stands_in_for_lpips_is_said() -> None:
    outcome = lowkey(steps=1).protect(tiny_photos(), tiny_context())
    assert outcome.warnings == ("the perceptual term is mean square, not LPIPS",)
    assert lowkey().files_read(["x"]) == {"mean square": "none"}


def test_a_random_start_is_mandatory() -> None:
    with pytest.raises(ValueError, match="start_255 is 0: it must be"):
        lowkey(start_255=0)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"step_255": 0}, {"epsilon_255": -1}, {"blur_size": 4}])
def test_wrong_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is .*: it must be"):
        lowkey(**wrong)
