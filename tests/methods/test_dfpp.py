"""DFPP: each photo has an untrained network of its own, all of a chunk learn in one batch, and the loss falls."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cloakbench.methods.context import CountedNetwork, Need
from cloakbench.methods.dfpp import DFPP
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.makeup.photo_networks import PhotoNetworks
from cloakbench.methods.parts.makeup.regions import face_regions
from cloakbench.methods.parts.tiny_world import select_photos, similarity, tiny_context, tiny_photos


def networks(names: tuple[str, ...]) -> PhotoNetworks:
    streams = ItemStreams(names, 0, "dfpp", device=torch.device("cpu"))
    return PhotoNetworks(streams, len(names), 4)


def test_the_loss_falls_and_the_face_is_left() -> None:
    batch, context = tiny_photos(), tiny_context()
    outcome = DFPP(iterations=12, width=4, structure_weight=1).protect(batch, context)
    assert outcome.facts["loss_last"] < outcome.facts["loss_first"] - 0.05
    assert similarity(batch, outcome.images.float() / 255) < similarity(batch, batch.images) - 0.05
    towards = DFPP(objective="aim", iterations=12, width=4, structure_weight=1)
    assert towards.targeted and Need.AIM in towards.needs
    aimed = towards.protect(batch, context).images.float() / 255
    assert similarity(batch, aimed, towards_aim=True) > similarity(batch, batch.images, towards_aim=True) + 0.05


def test_photos_of_a_chunk_share_every_pass_and_nothing_is_trained_before(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    embed = CountedNetwork.embed

    def spied(self: CountedNetwork, images: torch.Tensor) -> torch.Tensor:
        asked.append(len(images))
        return embed(self, images)

    monkeypatch.setattr(CountedNetwork, "embed", spied)
    method = DFPP(iterations=4, width=4)
    assert not method.is_trained
    cost = method.protect(tiny_photos(), tiny_context()).cost
    assert asked == [6] * (1 + 4), "the clean photos once, then all of them at each step"
    assert (cost.forward_images, cost.backward_images) == (6 * 5, 6 * 4)


def test_an_untrained_network_gives_the_photo_back_and_is_the_photos_own() -> None:
    batch = tiny_photos()
    regions = face_regions(batch.require_landmarks(), 32, 32)
    made = networks(batch.image_id)
    out = made(batch.images, regions, batch.images[:1], regions[:1])
    torch.testing.assert_close(out, batch.images, atol=1e-6, rtol=0)
    weights = dict(made.named_parameters())
    alone = dict(networks(batch.image_id[2:3]).named_parameters())
    assert all(torch.equal(weights[name][2], alone[name][0]) for name in weights)
    assert not torch.equal(weights["into"][2], weights["into"][1]) and not weights["last"].any()


def test_each_network_sees_its_own_photo_alone() -> None:
    """Grouped convolutions against one network at a time."""
    batch = tiny_photos()
    regions = face_regions(batch.require_landmarks(), 32, 32)
    made = networks(batch.image_id)
    with torch.no_grad():
        made.get_parameter("last").normal_(generator=torch.Generator().manual_seed(0))
        together = made(batch.images, regions, batch.images[:1], regions[:1])
        for row in range(len(batch.images)):
            alone = networks(batch.image_id[row : row + 1])
            alone.get_parameter("last").copy_(made.get_parameter("last")[row : row + 1])
            out = alone(batch.images[row : row + 1], regions[row : row + 1], batch.images[:1], regions[:1])
            torch.testing.assert_close(out, together[row : row + 1], atol=1e-5, rtol=0)


def test_a_photo_does_not_depend_on_its_neighbours() -> None:
    method, context = DFPP(iterations=4, width=4), tiny_context()
    whole = method.protect(tiny_photos(), context).images
    part = method.protect(select_photos(tiny_photos(), [1, 4], [1]), context).images
    assert (part != whole[[1, 4]]).float().mean() < 0.01


def test_nothing_outside_the_face_changes_and_a_face_without_points_fails() -> None:
    batch = tiny_photos()
    points = batch.require_landmarks().clone()
    points[2] = float("nan")
    outcome = DFPP(iterations=3, width=4).protect(replace(batch, landmarks=points), tiny_context())
    outside = face_regions(points, 32, 32).sum(dim=1) == 0
    changed = (outcome.images != (batch.images * 255).round().to(torch.uint8)).any(dim=1)
    assert outside[0].any() and not changed[outside].any()
    assert [bool(photo.any()) for photo in changed] == [True, True, False, True, True, True]
    assert outcome.status == ("ok", "ok", "method_failed", "ok", "ok", "ok")
