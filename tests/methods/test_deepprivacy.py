"""DeepPrivacy: nothing of the face reaches what is published, and everything around it stays."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cloakbench.bench.core.random_streams import generator
from cloakbench.datasets.base import FaceSet
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.deepprivacy import DeepPrivacy
from cloakbench.methods.parts.obfuscation.inpainting import face_region
from cloakbench.methods.parts.tiny_world import SIDE, tiny_context, tiny_photos, trained_context

SHORT = {"width": 8, "discriminator_width": 8, "training_steps": 60}


@pytest.fixture(scope="module")
def trained() -> tuple[DeepPrivacy, ProtectContext]:
    method = DeepPrivacy(**SHORT)
    return method, trained_context(method)


def test_the_face_is_never_seen_and_its_surroundings_are_kept(trained: tuple[DeepPrivacy, ProtectContext]) -> None:
    method, context = trained
    batch, region = tiny_photos(), face_region(SIDE, SIDE, 0.85).bool()
    others = replace(batch, images=torch.where(region, batch.images.roll(1, dims=0), batch.images))
    one, other = (method.protect(photos, context).images for photos in (batch, others))
    assert torch.equal(one, other)
    kept = ~region.expand_as(one)
    assert torch.equal(one[kept], (255 * batch.images).round().to(torch.uint8)[kept])


@pytest.mark.slow
def test_what_is_made_follows_from_the_surroundings() -> None:
    """Photos of one colour each: who has learnt from others to go on where the surroundings end, finds it."""
    colours = torch.empty(40, 3, 1, 1).uniform_(0.1, 0.9, generator=generator("colours"))
    photos = ((255 * colours).round() / 255).expand(-1, -1, SIDE, SIDE).contiguous()
    names = tuple(f"colour{number}" for number in range(34))
    faces = FaceSet((255 * photos[6:]).round().to(torch.uint8), names, names)
    method = DeepPrivacy(**{**SHORT, "training_steps": 100, "batch": 16})
    trained = method.run_training(replace(tiny_context(), auxiliary=faces)).tensors
    batch = replace(tiny_photos(), images=photos[:6])
    made = method.protect(batch, replace(tiny_context(), trained=trained)).images / 255
    inside = face_region(SIDE, SIDE, 0.85).bool().expand_as(made)
    assert (made - photos[:6])[inside].abs().mean() < 0.5 * (photos[:6] - photos[6:].mean()).abs().mean()


def test_the_region_is_an_ellipse_about_the_middle() -> None:
    region = face_region(40, 20, 0.5)[0, 0]
    assert torch.equal(region, region.flip(0)) and torch.equal(region, region.flip(1))
    assert region[20].sum() == 8 and region[:, 10].sum() == 20
    assert not face_region(40, 20, 0).any()


def test_one_auxiliary_face_and_a_rate_too_high_are_one_line() -> None:
    context = tiny_context()
    with pytest.raises(ValueError, match=r"^training deepprivacy needs at least two auxiliary faces: set dataset\.aux"):
        DeepPrivacy(**SHORT).run_training(ProtectContext({}, context.require_auxiliary().select([0])))
    with pytest.raises(ValueError, match=r"^training of an inpainter diverged at step \d+ of 60: lower method\.learn"):
        DeepPrivacy(**{**SHORT, "learning_rate": 1e30}).run_training(context)
