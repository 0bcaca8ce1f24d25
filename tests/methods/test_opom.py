"""Oracles B4 and B5: the family of masks learnt per person."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.context import CountedNetwork, NetworkKind, Spent
from cloakbench.methods.opom import OPOM
from cloakbench.methods.parts.dfanet import DFANet
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.opom_objectives import (
    AffineHull,
    ClassCenter,
    ConvexHull,
    MaskObjective,
    OwnFeature,
    PairwiseCosine,
)
from cloakbench.methods.parts.tiny_world import tiny_context, tiny_photos
from cloakbench.methods.photo_batch import PhotoBatch


def mask(objective: MaskObjective, batch: PhotoBatch | None = None, **options: object) -> Tensor:
    return OPOM(objective, **options).fit(batch or tiny_photos(), tiny_context())  # type: ignore[arg-type]


def with_references(batch: PhotoBatch, index: list[int]) -> PhotoBatch:
    names = tuple(tuple(ids[i] for i in index) for ids in batch.reference_id)
    return replace(batch, references=batch.require_references()[:, index], reference_id=names)


def test_one_step_written_out() -> None:
    """The routine of the paper, photo by photo, for one person and two steps."""
    batch, context = tiny_photos(), tiny_context()
    plain = batch.require_references()[0]
    model = context.surrogates[0].model
    names = [f"ada\x1f{name}" for name in batch.reference_id[0]]
    photos = [
        x + torch.empty_like(x).uniform_(-8 / 255, 8 / 255, generator=generator(0, "opom", name))
        for x, name in zip(plain, names, strict=True)
    ]
    expected = torch.zeros_like(plain[0])
    for _ in range(2):
        batch = torch.stack(photos).requires_grad_()
        center = model.embed(plain).mean(dim=0)
        loss = -(model.embed(batch) - center).square().sum(dim=1).mean()
        (gradient,) = torch.autograd.grad(loss, batch)
        stepped = [photo - gradient.mean(dim=0).sign() / 255 for photo in photos]
        mean = torch.stack([photo - x for photo, x in zip(stepped, plain, strict=True)]).mean(dim=0)
        expected = mean.clamp(-8 / 255, 8 / 255)
        photos = [(x + expected).clamp(0, 1) for x in plain]
    trained = mask(ClassCenter(), steps=2)[0]
    assert ((trained - expected).abs() > 1e-5).float().mean() < 0.005


def test_fi_uap_plus_is_class_center() -> None:
    plus, center = mask(PairwiseCosine()), mask(ClassCenter())
    different = int(((plus - center).abs() > 1e-6).sum())
    assert different <= 0.002 * plus.numel(), f"{different} of {plus.numel()} pixels differ"


def test_objectives_differ() -> None:
    masks = [mask(objective) for objective in (OwnFeature(), ClassCenter(), AffineHull(), ConvexHull())]
    for i, one in enumerate(masks):
        for other in masks[:i]:
            assert ((one - other).abs() > 1e-6).float().mean() > 0.01


def test_one_photo_makes_all_objectives_equal() -> None:
    batch = with_references(tiny_photos(), [0])
    own = mask(OwnFeature(), batch)
    for objective in (ClassCenter(), AffineHull(), ConvexHull(warmup_steps=0)):
        assert ((mask(objective, batch) - own).abs() > 1e-6).float().mean() < 0.002


def test_a_long_warm_up_is_class_center() -> None:
    assert torch.equal(mask(ConvexHull(warmup_steps=16)), mask(ClassCenter()))
    third = 1 / 3
    assert torch.equal(mask(ConvexHull(warmup_steps=0, lower=third, upper=third)), mask(ClassCenter()))


@pytest.mark.parametrize("objective", [OwnFeature(), AffineHull(), ConvexHull()])
def test_duplicate_photos_change_nothing(objective: MaskObjective) -> None:
    batch = tiny_photos()
    once, twice = mask(objective, batch), mask(objective, with_references(batch, [0, 1, 2, 0, 1, 2]))
    # Sums over twice as many photos round differently, and a sign step amplifies that.
    assert ((once - twice).abs() > 1e-5).float().mean() < 0.02


def test_photos_bring_their_own_noise() -> None:
    batch = tiny_photos()
    one, other = mask(ConvexHull(), batch), mask(ConvexHull(), with_references(batch, [2, 0, 1]))
    assert ((one - other).abs() > 1e-5).float().mean() < 0.02


def test_own_feature_has_no_gradient_without_noise() -> None:
    clean = torch.nn.functional.normalize(torch.randn(2, 4, 8, generator=generator("own")), dim=-1)
    for objective, zero in ((OwnFeature(), True), (ClassCenter(), False)):
        masked = clean.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(objective.loss(masked, clean, 0), masked)
        assert bool((gradient == 0).all()) is zero


def test_masks_stay_in_budget_and_range() -> None:
    trained = mask(ConvexHull(), epsilon_255=3)
    assert trained.abs().max() <= 3 / 255
    protected = OPOM(ConvexHull(), epsilon_255=3).protect(tiny_photos(), tiny_context())
    assert protected.linf_255.max() <= 3


def test_passes_are_those_of_the_paper() -> None:
    batch, context = tiny_photos(), tiny_context()
    photos = 9
    cost = OPOM(ConvexHull()).protect(batch, context).cost
    assert (cost.forward_images, cost.backward_images) == (photos * 17, photos * 16)
    cost = OPOM(ConvexHull(), steps=4, dfanet=DFANet()).protect(batch, context).cost
    assert (cost.forward_images, cost.backward_images) == (photos * 8, photos * 4)


def test_an_ensemble_averages() -> None:
    batch, context = tiny_photos(), tiny_context()
    twice = replace(context, networks={NetworkKind.RECOGNISER: context.surrogates * 2})
    assert torch.equal(OPOM(ClassCenter()).fit(batch, twice), OPOM(ClassCenter()).fit(batch, context))


class Scaled(MaskObjective):
    """An objective times a power of two, so that only the scale of gradients changes and not their rounding."""

    def __init__(self, objective: MaskObjective) -> None:
        self.objective = objective

    def loss(self, masked: Tensor, clean: Tensor, step: int) -> Tensor:
        return 1024 * self.objective.loss(masked, clean, step)


@pytest.mark.parametrize("dfanet", [None, DFANet()])
def test_gradient_scale_does_not_matter(dfanet: DFANet | None) -> None:
    plain, scaled = (mask(objective, dfanet=dfanet, steps=6) for objective in (ConvexHull(), Scaled(ConvexHull())))
    assert torch.equal(plain, scaled)


def test_dfanet_drops_scales_and_leaves() -> None:
    context = tiny_context()
    batch = tiny_photos()
    variant = DFANet(dropout_rate=0.5)
    plain = context.surrogates[0].embed(batch.images)
    with variant.active(context.surrogates, ItemStreams(batch.image_id, "drop", device=context.device)):
        first, second = (context.surrogates[0].embed(batch.images) for _ in range(2))
    assert not torch.equal(first, second) and not torch.equal(first, plain)
    assert torch.equal(context.surrogates[0].embed(batch.images), plain)
    rows = torch.ones(6, 4, 50, 50)
    dropped = variant._drop(torch.nn.Identity(), None, rows, ItemStreams(batch.image_id, "x", device=context.device))
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert abs(float(dropped.mean()) - 1) < 0.02


def test_dfanet_leaves_depthwise_convolutions_alone_on_request() -> None:
    layers = [nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 3, groups=2), nn.Conv2d(8, 4, 1)]
    network = CountedNetwork(nn.Sequential(*layers), Spent())
    streams = ItemStreams(["a"], "drop", device=torch.device("cpu"))
    for after_depthwise, expected in ((True, [1, 1, 1, 0]), (False, [1, 0, 1, 0])):
        with DFANet(after_depthwise=after_depthwise).active([network], streams):
            assert [len(layer._forward_hooks) for layer in layers] == expected
    assert not any(layer._forward_hooks for layer in layers)


def test_dfanet_divisors() -> None:
    gradient = torch.randn(2, 3, 3, 5, 7, generator=generator("divisors"))
    sample = DFANet(norm_axes="sample").accumulate(None, gradient)
    assert torch.allclose(sample.abs().mean(dim=(2, 3, 4)), torch.ones(2, 3))
    column = DFANet(norm_axes="column").accumulate(None, gradient)
    assert torch.allclose(column.abs().mean(dim=(1, 2, 3)), torch.ones(2, 7))
    gathered = DFANet(momentum_decay=0.5).accumulate(sample, gradient)
    assert torch.allclose(gathered, 1.5 * sample)
    assert not DFANet().accumulate(None, torch.zeros_like(gradient)).any()
