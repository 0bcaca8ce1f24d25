"""RIC: codes in whole grey levels, covers that follow from key and class, and what rounding does to the decoder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.parts.tiny_world import select_photos, tiny_context, tiny_photos
from cloakbench.methods.parts.veils.noise_codes import ClosedSet, Coder, written_in
from cloakbench.methods.recovery import recovered_photos
from cloakbench.methods.ric import RIC

SHORT: dict[str, Any] = {"cover_steps": 60, "width": 4, "training_people": 4, "training_steps": 150}


@pytest.fixture(scope="module")
def method() -> RIC:
    return RIC(**SHORT)


@pytest.fixture(scope="module")
def context(method: RIC) -> ProtectContext:
    return replace(tiny_context(), trained=method.run_training(tiny_context()).tensors)


def test_rounding_reaches_the_decoder_five_times_as_large() -> None:
    coder = Coder(4)
    photos, covers = torch.rand(2, 2, 3, 16, 16, generator=generator("ric"))
    with torch.no_grad():
        codes = coder.code(photos, covers)
        exact, rounded = (written_in(one, covers) for one in (codes, (255 * codes).round() / 255))
    assert torch.allclose(exact, coder["encoder"](photos, covers), atol=1e-5)
    assert 2 / 255 < float((rounded - exact).abs().max()) <= 2.5 / 255 + 1e-6


def test_a_code_into_which_nothing_is_written_is_four_fifths_of_its_cover(monkeypatch: pytest.MonkeyPatch) -> None:
    coder = Coder(4)
    photos, covers = torch.rand(2, 2, 3, 16, 16, generator=generator("ric"))
    monkeypatch.setattr(coder["encoder"], "forward", lambda pictures, *_: torch.zeros_like(pictures))
    assert torch.allclose(coder.code(photos, covers), 0.8 * covers)


@pytest.mark.slow
def test_covers_follow_from_key_and_class_and_the_classifier_is_right_about_them(
    method: RIC, context: ProtectContext
) -> None:
    batch = tiny_photos()
    covers = method.protect(batch, context).private["cover"]
    again = method.protect(replace(batch, images=batch.images.flip(0)), context).private["cover"]
    assert torch.equal(covers, again), "the photo itself has no part in its cover"
    alone = method.protect(select_photos(batch, [4], [1]), context).private["cover"]
    assert torch.allclose(alone, covers[4:5], atol=1e-4)
    other = method.protect(batch, replace(context, seed=1)).private["cover"]
    assert float((other - covers).abs().mean()) > 0.2
    closed = ClosedSet.of(30.0, context, 8)
    (model,) = context.surrogates
    references = batch.require_references()
    with torch.no_grad():
        own = model.embed(references.flatten(0, 1)).unflatten(0, references.shape[:2]).mean(dim=1)
        own = torch.nn.functional.normalize(own, dim=1)[batch.owner]
        assert bool((closed.lead(covers, own) > 0).all())


def test_codes_are_photos_that_come_back_with_their_own_key(method: RIC, context: ProtectContext) -> None:
    batch = tiny_photos()
    outcome = method.protect(batch, context)
    rows = torch.arange(len(batch.images))

    def error(keys: torch.Tensor) -> torch.Tensor:
        back = recovered_photos(method, outcome.images, outcome.private, keys)
        return (back.float() / 255 - batch.images).square().mean(dim=(1, 2, 3))

    published = (outcome.images.float() / 255 - batch.images).square().mean(dim=(1, 2, 3))
    assert bool((error(rows) < 0.1 * published).all())
    assert bool((error((rows + 1) % 6) > error(rows) + 0.02).all())
    assert outcome.facts["photos_right"] == 1


def test_a_photo_costs_the_passes_of_its_cover(method: RIC, context: ProtectContext) -> None:
    cost = method.protect(tiny_photos(), context).cost
    assert cost.backward_images == 60 * 6
    assert cost.forward_images == (60 + 1) * 6 + 9 + 48  # the codes, the references, and the known people


def test_a_key_of_another_size_is_refused_in_one_line(method: RIC, context: ProtectContext) -> None:
    outcome = method.protect(tiny_photos(), context)
    small = outcome.images[:, :, :16, :16]
    with pytest.raises(ValueError, match=r"^ric: the cover is \(3, 32, 32\), the photos are \(3, 16, 16\)$"):
        recovered_photos(method, small, outcome.private, torch.arange(6))
