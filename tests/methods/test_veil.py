"""Veils against a plain search for one person at a time; recovery, passes, and what V-UAP shares with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.core.ranges import SettingError
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.parts.hulls import convex_weights
from cloakbench.methods.parts.tiny_world import SIDE, select_photos, tiny_context, tiny_photos
from cloakbench.methods.parts.veils.block_variance import Variance
from cloakbench.methods.photo_batch import PhotoBatch
from cloakbench.methods.recovery import recovered_photos
from cloakbench.methods.v_uap import VUAP
from cloakbench.methods.veil import KEY, Veil

SHORT: dict[str, Any] = {"steps": 8, "step_255": 8.0}


def veils_of(method: Veil, batch: PhotoBatch | None = None, context: ProtectContext | None = None) -> Tensor:
    return method.protect(batch or tiny_photos(), context or tiny_context()).private[KEY]


def plain_variance(photo: Tensor, reading: Variance) -> Tensor:
    """Equations 9 to 11 over blocks side by side, in the words of each reading; within blocks at half weight."""
    blocks = photo.unfold(1, 3, 3).unfold(2, 3, 3).flatten(3).flatten(1, 2)
    means, sums = blocks.mean(dim=2), blocks.sum(dim=2)
    if reading == "corrected":
        return (means.var(dim=1, correction=0) + 0.5 * blocks.var(dim=2, correction=0).mean(dim=1)).sum()
    tenth = (means - sums.mean(dim=1, keepdim=True)).square().mean(dim=1).sum()
    return sums.var(dim=1, correction=0).sum() + (tenth if reading == "literal" else 0)


def plain_veil(photos: Tensor, name: str, reading: Variance, steps: int, step: float) -> Tensor:
    """Equation 13 in its own words: every term of every blend by autograd, and the veil ``[3, H, W]`` as the leaf."""
    (model,) = tiny_context().surrogates
    veil = torch.rand(photos.shape[1:], generator=generator(0, "veil", name))
    gathered = torch.zeros_like(veil)
    clean = model.embed(photos).detach()
    for turn in range(steps):
        leaf = veil.clone().requires_grad_()
        hidden = 0.2 * photos + 0.8 * leaf
        loss = torch.zeros(())
        for photo, one, feature in zip(photos, hidden, model.embed(hidden), strict=True):
            nearest = convex_weights(clean[None], feature.detach()[None, None])[0, 0].float() @ clean
            loss = loss + (feature - nearest).square().sum() - 3 * (photo - one).square().mean()
            loss = loss + 0.5 * plain_variance(one, reading)
        (slope,) = torch.autograd.grad(loss / len(photos), leaf)
        gathered = 0.7 * gathered + slope / slope.abs().sum()
        length = step / 4 if turn >= 0.85 * steps else step / 2 if turn >= 0.6 * steps else step
        veil = (veil - length / 255 * gathered.sign()).clamp(0, 1)
    return (255 * veil).round() / 255


@pytest.mark.parametrize("reading", ["corrected", "eq9_only", "literal"])
def test_veils_are_those_of_a_plain_search_for_one_person_at_a_time(reading: Variance) -> None:
    method = Veil(
        visual_weight=3, variance_weight=0.5, variance=reading, within_weight=0.5, block_stride=3, momentum_decay=0.7,
        expect_rounding=False, **SHORT,
    )  # fmt: skip
    batch, found = tiny_photos(), veils_of(method)
    for person, name in enumerate(batch.identities):
        expected = plain_veil(batch.require_references()[person], name, reading, 8, 8.0)
        # A sign where the slope is next to nothing may go either way.
        assert float((found[person] != expected).float().mean()) < 0.02


def test_photos_come_back_from_8_bits_and_with_nobody_elses_veil() -> None:
    batch, method = tiny_photos(), Veil(**SHORT)
    outcome = method.protect(batch, tiny_context())
    back = recovered_photos(method, outcome.images, outcome.private, batch.owner)
    assert float((back.float() - 255 * batch.images).abs().max()) <= 2
    assert torch.equal(255 * outcome.private[KEY], (255 * outcome.private[KEY]).round()), "whole grey levels"
    for foreign in (1, 2):
        wrong = recovered_photos(method, outcome.images, outcome.private, (batch.owner + foreign) % 3)
        errors = [(one.float() / 255 - batch.images).square().mean() for one in (wrong, outcome.images)]
        assert errors[0] >= errors[1]


@pytest.mark.parametrize("alpha", [0, 1])
def test_alpha_at_its_ends_publishes_veil_or_photo_and_gives_none_back(alpha: float) -> None:
    batch, method = tiny_photos(), Veil(alpha, **SHORT)
    outcome = method.protect(batch, tiny_context())
    shown = batch.images if alpha == 1 else outcome.private[KEY][batch.owner]
    assert torch.equal(outcome.images, (255 * shown).round().to(torch.uint8))
    assert not method.recoverable
    with pytest.raises(
        NotImplementedError, match=rf"^veil gives no photo back at alpha {alpha}, only between 0 and 1$"
    ):
        recovered_photos(method, outcome.images, outcome.private, batch.owner)


def test_a_key_of_another_size_or_method_is_refused_in_one_line() -> None:
    photos = torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"^veil: the veil is \(3, 16, 16\), the photos are \(3, 32, 32\)$"):
        recovered_photos(Veil(), photos, {KEY: torch.zeros(1, 3, 16, 16)}, torch.tensor([0]))
    with pytest.raises(ValueError, match=r"^veil: these are keys of another method: they hold no veil$"):
        recovered_photos(Veil(), photos, {"cover": torch.zeros(1, 3, SIDE, SIDE)}, torch.tensor([0]))


def test_a_person_costs_steps_times_references_and_their_clean_features() -> None:
    batch, method = tiny_photos(), Veil(**SHORT)
    people, references = batch.require_references().shape[:2]
    cost = method.protect(batch, tiny_context()).cost
    assert cost.backward_images == 8 * people * references
    assert cost.forward_images == (8 + 1) * people * references


def one_reference() -> PhotoBatch:
    batch = tiny_photos()
    names = tuple(names[:1] for names in batch.reference_id)
    return replace(batch, references=batch.require_references()[:, :1], reference_id=names)


def test_with_one_photo_v_uap_is_the_veil_without_variance_and_with_more_it_is_not() -> None:
    pair = Veil(variance_weight=0, **SHORT), VUAP(**SHORT)
    veil, v_uap = (veils_of(method, one_reference()) for method in pair)
    assert torch.equal(veil, v_uap)
    veil, v_uap = (veils_of(method) for method in pair)
    assert not torch.equal(veil, v_uap)


def test_a_veil_begins_at_its_owners_key_or_at_the_first_photo() -> None:
    batch = tiny_photos()
    still = {"steps": 1, "step_255": 1e-6}
    first = veils_of(Veil(start="first_photo", **still))
    assert torch.equal(first, batch.require_references()[:, 0])
    keyed = veils_of(Veil(**still))
    alone = veils_of(Veil(**still), select_photos(batch, [1, 4], [1]))
    assert torch.equal(keyed[1:2], alone) and not torch.equal(keyed[0], keyed[1])
    assert keyed.mean().item() == pytest.approx(0.5, abs=0.02) and keyed.std().item() == pytest.approx(0.289, abs=0.01)


def test_the_search_comes_near_its_person_and_tells_how_near() -> None:
    similar = []
    for steps in (1, 40):
        method = Veil(steps=steps)
        outcome = method.protect(tiny_photos(), tiny_context())
        similar.append(outcome.facts["similarity"])
    assert similar[0] < 0.8 < similar[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 1.1}, "alpha is 1.1: it must be a number from 0 to 1"),
        ({"steps": 0}, "steps is 0: it must be a whole number of at least 1"),
        ({"hull": "affine"}, "hull is affine: it must be one of convex, span, center"),
        ({"block_stride": 2}, "block_stride is 2: it must be one of 1, 3"),
        ({"variance": "printed"}, "variance is printed: it must be one of corrected, eq9_only, literal"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError) as raised:
        Veil(**settings)
    assert str(raised.value) == message
