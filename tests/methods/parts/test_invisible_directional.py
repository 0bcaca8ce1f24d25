"""The directional perturbation of Invisible-Face, oracles C5 to C7 and C9."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.context import NetworkKind, ProtectContext
from cloakbench.methods.parts.attributes.own_answers import OwnAnswers, attribute_losses
from cloakbench.methods.parts.invisible.directional import (
    DirectionRules,
    direction,
    find_directions,
    intra_direction,
    pack_signs,
    unpack_signs,
)
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.tiny_world import SIDE, TinyAttributes, tiny_context, tiny_photos

K = 3


def answers(context: ProtectContext) -> OwnAnswers:
    return OwnAnswers.of(tiny_photos().images, context)


def own_gradient(photos: Tensor, name: str) -> Tensor:
    """Gradient of one attribute's loss, by a pass of its own."""
    known = answers(tiny_context())
    leaf = photos.clone().requires_grad_()
    scores = known.surrogates[0].logits(leaf)
    terms = attribute_losses(known.surrogates[0], scores, known.classes[0])
    return torch.autograd.grad(terms[list(scores).index(name)].sum(), leaf)[0]


def test_gradients_of_attributes_are_those_of_passes_of_their_own() -> None:
    photos = tiny_photos().images
    found = answers(tiny_context()).attribute_gradients(photos)
    assert found.shape == (K, *photos.shape)
    for place, name in enumerate(("two", "three", "years")):
        torch.testing.assert_close(found[place], own_gradient(photos, name), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("normalize_inter", [True, False])
def test_the_direction_is_equations_8_to_11_written_out(normalize_inter: bool) -> None:  # C5
    """With v_k = g_k - mean gradient of neighbours, where the code knows that g_k - v_k is that mean."""
    batch, rules = tiny_photos(), DirectionRules(neighbours=3, normalize_inter=normalize_inter)
    streams = ItemStreams(batch.image_id, 0, "invisible_face", "neighbours", device=torch.device("cpu"))
    around = [streams.uniform(3, SIDE, SIDE, low=-8 / 255, high=8 / 255) for _ in range(3)]
    intra = inter = torch.zeros(())
    for name in ("two", "three", "years"):
        g = own_gradient(batch.images, name)
        mean = torch.stack([own_gradient(batch.images + noise, name) for noise in around]).mean(dim=0)
        v = g - mean
        torch.testing.assert_close(g - v, mean, atol=1e-6, rtol=1e-4)
        intra = intra + (g - v) / (g - v).abs().sum(dim=(1, 2, 3), keepdim=True)
        inter = inter + (g / g.abs().sum(dim=(1, 2, 3), keepdim=True) if normalize_inter else g)
    expected = (intra + inter / K).sign()
    found = find_directions(batch.images, batch.image_id, answers(tiny_context()), 0, rules)
    assert (found != expected).float().mean() < 1e-3


def test_where_gradients_are_constant_neighbours_tell_nothing_new() -> None:  # C6
    gradient = torch.randn(K, 2, 3, 4, 4, generator=generator("constant"))
    unit = gradient / gradient.abs().sum(dim=(2, 3, 4), keepdim=True)
    assert torch.equal(direction(gradient, gradient, True), (unit.sum(dim=0) + unit.mean(dim=0)).sign().to(torch.int8))
    raw = (unit.sum(dim=0) + gradient.mean(dim=0)).sign().to(torch.int8)
    assert torch.equal(direction(gradient, gradient, False), raw)


def test_the_norm_of_the_part_within_attributes_is_at_most_their_number() -> None:  # C7
    gradient = torch.randn(K, 5, 3, 8, 8, generator=generator("norm"))
    assert (intra_direction(gradient).abs().sum(dim=(1, 2, 3)) <= K + 1e-4).all()
    same = gradient[:1].repeat(K, 1, 1, 1, 1)
    torch.testing.assert_close(intra_direction(same).abs().sum(dim=(1, 2, 3)), torch.full((5,), float(K)))
    assert not intra_direction(torch.zeros(K, 1, 3, 4, 4)).any()


def test_packed_signs_come_back_and_take_two_bits_each() -> None:
    signs = torch.randint(-1, 2, (5, 3, 7, 9), generator=generator("signs")).to(torch.int8)
    packed = pack_signs(signs)
    assert torch.equal(unpack_signs(packed, (3, 7, 9)), signs)
    assert packed.dtype == torch.uint8 and packed[0].numel() == 2 * -(-3 * 7 * 9 // 8)


def test_a_direction_kept_is_the_direction_found_again_whatever_the_company() -> None:  # C9
    batch, rules = tiny_photos(), DirectionRules(neighbours=2)
    kept = unpack_signs(
        pack_signs(find_directions(batch.images, batch.image_id, answers(tiny_context()), 0, rules)), (3, SIDE, SIDE)
    )
    again = find_directions(batch.images, batch.image_id, answers(tiny_context()), 0, rules)
    assert torch.equal(kept, again)
    context = tiny_context()
    alone = find_directions(batch.images[2:3], batch.image_id[2:3], OwnAnswers.of(batch.images[2:3], context), 0, rules)
    assert (alone != kept[2:3]).float().mean() < 1e-3
    other = find_directions(batch.images, batch.image_id, answers(tiny_context()), 1, rules)
    assert (other != kept).float().mean() > 0.01


def test_a_step_along_the_direction_changes_answers_more_than_one_against_it() -> None:
    batch, known = tiny_photos(), answers(tiny_context())
    found = find_directions(batch.images, batch.image_id, known, 0, DirectionRules())
    along, against = (known.distance(batch.images + sign * 4 / 255 * found) for sign in (1, -1))
    assert (along > against).all()


def test_passes_are_one_forward_and_one_backward_for_each_attribute_and_place() -> None:
    class OneNetwork(TinyAttributes):
        answered_together = (("two", "three", "years"),)

    context = replace(tiny_context(), networks={NetworkKind.ATTRIBUTE_SURROGATE: (OneNetwork(),)})
    batch, known = tiny_photos(), answers(context)
    before = context.spent.forward_images
    find_directions(batch.images, batch.image_id, known, 0, DirectionRules(neighbours=4))
    assert context.spent.forward_images - before == 6 * 5
    assert context.spent.backward_images == 6 * 5 * K


def test_beta_is_half_as_much_on_the_scale_of_pixels_from_minus_one() -> None:
    assert DirectionRules().size == pytest.approx(0.015)
    assert DirectionRules(beta_scale="unit").size == pytest.approx(0.03)
