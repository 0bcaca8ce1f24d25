"""P3-Mask, oracles B7: the bound, padding, the weight of the hinge, FI-UAP as a special case, an ensemble."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.base import Budget
from cloakbench.methods.context import Need, NetworkKind, ProtectContext
from cloakbench.methods.p3_mask import HingeWeight, P3Mask, P3MaskImage, seen
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.objectives import input_gradient
from cloakbench.methods.parts.opom_objectives import OwnFeature
from cloakbench.methods.parts.tiny_world import REFERENCES, tiny_context, tiny_photos

ALONE: dict[str, Any] = {"least_surrogates": 1}


def pair() -> ProtectContext:
    """Two recognisers, the second with other weights in its last layer."""
    context = tiny_context()
    first = context.surrogates[0].model
    second = copy.deepcopy(first)
    with torch.no_grad():
        weight = list(second.parameters())[-1]
        weight.copy_(torch.randn(weight.shape, generator=generator("second")) * weight.std())
    return replace(context, networks={NetworkKind.RECOGNISER: (first, second)})


def flipped(one: Tensor, other: Tensor) -> float:
    return float(((one - other).abs() > 1e-5).float().mean())


class SquaredDistance(P3Mask):
    """The angle replaced by the squared distance."""

    def distances(self, cosines: Tensor) -> Tensor:
        return 2 - 2 * cosines


def test_with_squared_distance_one_network_and_no_hinge_a_step_is_that_of_fi_uap() -> None:
    batch, context = tiny_photos(), tiny_context()
    references = batch.require_references()
    mask = SquaredDistance(rounds=1, dssim_bound=1, **ALONE).fit(batch, context)
    start = ItemStreams(batch.identities, 0, "p3_mask", device=context.device)
    start = start.uniform(*references.shape[2:], low=-0.001, high=0.001)
    (model,) = context.surrogates
    with torch.no_grad():
        clean = model.embed(references.flatten(0, 1)).unflatten(0, references.shape[:2])
    gradient = input_gradient(
        (references + start.unsqueeze(1)).flatten(0, 1),
        context.surrogates,
        lambda _, seen: OwnFeature().loss(seen.unflatten(0, references.shape[:2]), clean, 0),
    )
    direction = gradient.unflatten(0, references.shape[:2]).mean(dim=1).sign()
    assert flipped(mask, start - 0.001 * direction) < 0.005


def test_the_mask_keeps_the_bound_and_leaves_padding_alone() -> None:
    batch = tiny_photos()
    images = batch.images.clone()
    images[:, :, :5], images[:, :, :, -3:], images[0, :, 20, 20] = 0, 0, 0
    outcome = P3Mask(step_255=9, rounds=3, **ALONE).protect(replace(batch, images=images), tiny_context())
    changed = outcome.images.float() - (images * 255).round()
    assert changed.abs().max() == 16
    assert not changed[:, :, :5].any() and not changed[:, :, :, -3:].any()
    assert changed[0, :, 20, 20].any(), "a black spot inside a photo is no padding"


def test_padding_is_black_from_a_border_inwards() -> None:
    photo = torch.ones(3, 4, 5)
    photo[:, 0, :2], photo[:, 2, 2], photo[0, 3] = 0, 0, 0
    shown = seen(photo)
    assert shown.shape == (1, 4, 5)
    assert (shown == 0).nonzero().tolist() == [[0, 0, 0], [0, 0, 1]]


def test_padding_of_references_teaches_the_mask_nothing() -> None:
    batch = tiny_photos()
    references = batch.require_references().clone()
    references[..., :4, :] = 0
    padded = replace(batch, references=references)
    short, long = (P3Mask(rounds=rounds, **ALONE).fit(padded, tiny_context()) for rounds in (1, 8))
    assert torch.equal(short[..., :4, :], long[..., :4, :]) and not torch.equal(short, long)


def test_the_weight_is_a_power_of_two_that_follows_dssim() -> None:
    hinge = HingeWeight(4, 0.03, torch.device("cpu"))
    seen_weights = set()
    for _ in range(12):
        hinge.adapt(torch.tensor([0.027, 0.033, 0.0271, 0.0329]))
        seen_weights |= set(hinge.weight.tolist())
    assert hinge.weight.tolist() == [1 / 256, 256, 1, 1]
    assert seen_weights == {2.0**power for power in range(-8, 9)}
    hinge.adapt(torch.tensor([0.03, 0.02, 0.04, 0.03]))
    assert hinge.weight.tolist() == [1, 128, 2, 1]


def test_the_hinge_holds_structure() -> None:
    settings: dict[str, Any] = {"step_255": 3, "rounds": 30, **ALONE}
    loose, tight = (
        P3Mask(dssim_bound=bound, **settings).protect(tiny_photos(), tiny_context()).facts for bound in (0.9, 0.01)
    )
    assert tight["dssim"] < loose["dssim"] / 2
    assert (loose["hinge_weight"], tight["hinge_weight"] > 1) == (1 / 256, True)


def test_angles_are_exact_inside_and_have_a_finite_slope_at_one_and_beyond() -> None:
    method = P3Mask(**ALONE)
    cosines = torch.tensor([-0.5, 0.0, 0.9]).requires_grad_()
    (ours,) = torch.autograd.grad(method.distances(cosines).sum(), cosines)
    (exact,) = torch.autograd.grad(cosines.arccos().sum(), cosines)
    torch.testing.assert_close(method.distances(cosines), cosines.arccos())
    torch.testing.assert_close(ours, exact)
    edge = torch.tensor([1.0, 1.0000001, -1.0000001]).requires_grad_()
    angles = method.distances(edge)
    (slope,) = torch.autograd.grad(angles.sum(), edge)
    assert angles.isfinite().all() and slope.isfinite().all() and bool((slope < -100).all())


def test_passes_are_one_hundred_for_each_photo_of_a_person_with_two_networks() -> None:
    batch = tiny_photos()
    photos = len(batch.identities) * REFERENCES
    cost = P3Mask().protect(batch, pair()).cost
    assert (cost.forward_images, cost.backward_images) == (102 * photos, 100 * photos)


def test_every_network_of_the_ensemble_counts_and_one_alone_is_refused_in_one_line() -> None:
    batch, both = tiny_photos(), pair()
    first, second = (replace(both, networks={NetworkKind.RECOGNISER: (network.model,)}) for network in both.surrogates)
    masks = [P3Mask(rounds=3, **ALONE).fit(batch, context) for context in (both, first, second)]
    assert flipped(masks[0], masks[1]) > 0.05 and flipped(masks[0], masks[2]) > 0.05
    with pytest.raises(
        ValueError, match="needs an ensemble of at least 2 surrogates, there is 1: name more"
    ) as problem:
        P3Mask().protect(batch, first)
    assert "\n" not in str(problem.value)


def test_the_order_in_which_photos_are_given_does_not_matter() -> None:
    batch, order = tiny_photos(), [2, 0, 1]
    names = tuple(tuple(row[place] for place in order) for row in batch.reference_id)
    turned = replace(batch, references=batch.require_references()[:, order], reference_id=names)
    settings: dict[str, Any] = {"rounds": 6, "batch": 2, **ALONE}
    one, other = (P3Mask(**settings).fit(photos, tiny_context()) for photos in (batch, turned))
    assert flipped(one, other) < 0.02


@pytest.mark.parametrize("kind", [P3Mask, P3MaskImage])
def test_the_angle_of_a_target_is_made_smaller(kind: type[P3Mask]) -> None:
    batch, context = tiny_photos(), tiny_context()
    (model,) = context.surrogates
    method = kind(pull="aim", rounds=12, step_255=1, **ALONE)
    assert method.targeted and Need.AIM in method.needs
    outcome = method.protect(batch, context)
    with torch.no_grad():
        goal = model.embed(batch.require_aim_photos())[batch.owner]
        before, after = (model.embed(photos) for photos in (batch.images, outcome.images.float() / 255))
    assert bool(((after * goal).sum(dim=1) > (before * goal).sum(dim=1) + 0.03).all())


def test_a_mask_per_photo_needs_no_other_photo() -> None:
    alone = replace(tiny_photos(), references=None, reference_id=())
    assert P3MaskImage(rounds=2, **ALONE).protect(alone, tiny_context()).status == ("ok",) * 6
    assert P3MaskImage(**ALONE).needs == {Need.SURROGATES}
    assert P3Mask(match_norm={"l2": 1200}).budget == Budget("l2", 1200)
