"""The objective of attributes: labels, loss, gradient, and the gradient attacks with it (oracles C11 to C15)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.base import Protector
from cloakbench.methods.context import MissingNeedError, Need, NetworkKind, ProtectContext
from cloakbench.methods.fgsm import FGSM
from cloakbench.methods.mi_fgsm import MIFGSM
from cloakbench.methods.parts.attributes.own_answers import OwnAnswers, attribute_losses
from cloakbench.methods.parts.tiny_world import TinyAttributes, tiny_context, tiny_photos
from cloakbench.methods.parts.transfer.ensemble import Transfer
from cloakbench.methods.parts.transfer.gradient_filter import GradientFilter
from cloakbench.methods.parts.transfer.views import AffineViews, ResizeAndPad
from cloakbench.methods.pgd import PGD
from cloakbench.methods.ti_dim import TIDIM
from cloakbench.methods.vmi_fgsm import VMIFGSM

FROM_PHOTO: dict[str, Any] = {"objective": "attributes", "random_start": False}


class LinearHeads(nn.Module):
    """Attributes that are linear in the pixels, in double precision, so that every loss is convex."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        stream = generator("linear heads")
        self.weights = [torch.randn(3 * 32 * 32, width, generator=stream).double() for width in widths]

    def logits(self, images: Tensor) -> Mapping[str, Tensor]:
        pixels = images.double().flatten(1) - 0.5
        return {f"a{place}": (pixels @ weight).to(images.dtype) for place, weight in enumerate(self.weights)}


def context_of(*networks: nn.Module) -> ProtectContext:
    return ProtectContext({NetworkKind.ATTRIBUTE_SURROGATE: networks})


def images(method: Protector, context: ProtectContext | None = None) -> Tensor:
    return method.protect(tiny_photos(), context or tiny_context()).images


def test_labels_are_the_answers_to_the_clean_photo_and_j_is_their_mean_cross_entropy() -> None:
    batch, context = tiny_photos(), tiny_context()
    model, photos = TinyAttributes(), (tiny_photos().images + 0.1).clamp(0, 1)
    own = OwnAnswers.of(batch.images, context)
    clean, moved = model.logits(batch.images), model.logits(photos)
    terms = [F.cross_entropy(moved[name], clean[name].argmax(1), reduction="none") for name in ("two", "three")]
    years = moved["years"]  # minus the squared error in bin widths
    terms.append(-years[torch.arange(6), clean["years"].argmax(1)])
    torch.testing.assert_close(own.distance(photos), sum(terms) / 3)
    assert (context.spent.forward_images, context.spent.backward_images) == (2 * 2 * 6, 0)


def test_the_gradient_is_that_of_minus_j_and_no_photo_sees_another() -> None:
    batch, context = tiny_photos(), tiny_context()
    own = OwnAnswers.of(batch.images, context)
    photos = (batch.images + 0.05).requires_grad_()
    (expected,) = torch.autograd.grad(-own.distance(photos).sum(), photos)
    torch.testing.assert_close(own.gradient(0, photos), expected, rtol=1e-5, atol=1e-9)
    before = context.spent.backward_images
    own.gradient(0, photos)
    assert context.spent.backward_images - before == 2 * 6  # a pass back through each of the two networks
    alone = OwnAnswers.of(batch.images[:1], context)
    torch.testing.assert_close(alone.gradient(0, photos[:1]), expected[:1], rtol=1e-5, atol=1e-9)


def test_with_l1_every_attribute_has_the_same_say() -> None:
    batch, context = tiny_photos(), tiny_context()
    own = OwnAnswers.of(batch.images, context)
    (model,), (labels,) = own.surrogates, own.classes
    leaf = batch.images.clone().requires_grad_()
    parts = [
        torch.autograd.grad(term.sum(), leaf, retain_graph=True)[0]
        for term in attribute_losses(model, model.logits(leaf), labels)
    ]
    shares = [part / part.abs().sum(dim=(1, 2, 3), keepdim=True) for part in parts]
    found = own.gradient(0, batch.images, per_attribute_l1=True)
    expected = -torch.stack(shares).sum(dim=0)
    torch.testing.assert_close(found / found.abs().amax(), expected / expected.abs().amax(), rtol=1e-4, atol=1e-6)
    assert not torch.equal(found.sign(), own.gradient(0, batch.images).sign())
    assert not torch.equal(images(PGD(objective="attributes_l1")), images(PGD(objective="attributes")))


def test_one_attribute_is_the_plain_attack_on_it() -> None:  # C15
    batch, network = tiny_photos(), LinearHeads(4)
    photos, labels = batch.images.clone(), network.logits(batch.images)["a0"].argmax(1)
    for _ in range(3):
        leaf = photos.clone().requires_grad_()
        (slope,) = torch.autograd.grad(F.cross_entropy(network.logits(leaf)["a0"], labels, reduction="sum"), leaf)
        photos = photos + 2 / 255 * slope.sign()
        photos = photos.clamp(batch.images - 8 / 255, batch.images + 8 / 255).clamp(0, 1)
    found = images(PGD(8, steps=3, step_255=2, **FROM_PHOTO), context_of(network))
    assert torch.equal(found, (photos * 255).round().to(torch.uint8))


def test_fgsm_moves_every_pixel_by_epsilon_and_its_psnr_follows() -> None:  # C11
    batch = tiny_photos()
    change = images(FGSM(8, **FROM_PHOTO)).float() - batch.images * 255
    assert set(change.abs().round(decimals=3).unique().tolist()) <= {0.0, 8.0} and (change != 0).float().mean() > 0.99
    psnr = 10 * math.log10(255**2 / float(change.square().mean()))
    assert psnr == pytest.approx(-20 * math.log10(8 / 255), abs=0.05)


def test_the_attacks_reduce_to_each_other() -> None:  # C12
    assert torch.equal(images(PGD(8, steps=1, step_255=8, **FROM_PHOTO)), images(FGSM(8, **FROM_PHOTO)))
    plain = images(MIFGSM(**FROM_PHOTO))
    assert torch.equal(images(MIFGSM(momentum_decay=0.0, **FROM_PHOTO)), images(PGD(**FROM_PHOTO)))
    assert torch.equal(images(TIDIM(transform_probability=0.0, kernel_size=1, **FROM_PHOTO)), plain)
    assert torch.equal(images(VMIFGSM(neighbours=2, beta=0.0, **FROM_PHOTO)), plain)
    assert not torch.equal(images(TIDIM(transform_probability=0.0, **FROM_PHOTO)), plain)


@pytest.mark.parametrize("method", [FGSM, PGD, MIFGSM])
def test_on_linear_heads_no_step_lowers_j(method: type[FGSM]) -> None:  # C14
    batch, context = tiny_photos(), context_of(LinearHeads(2, 3, 5))
    own = OwnAnswers.of(batch.images, context)
    protected = images(method(8, **FROM_PHOTO), context).float() / 255
    assert (own.distance(protected) >= own.distance(batch.images)).all()


@pytest.mark.parametrize("method", [FGSM, PGD, MIFGSM, TIDIM, VMIFGSM])
def test_an_attack_on_attributes_needs_no_recogniser_and_hides_attributes(method: type[FGSM]) -> None:
    attack = method(objective="attributes")
    assert attack.goal == "hide attributes" and not attack.targeted
    assert attack.needs == {Need.ATTRIBUTE_SURROGATES} and method(objective="reference").goal == "evade recognition"
    own = OwnAnswers.of(tiny_photos().images, tiny_context())
    protected = images(attack, context_of(TinyAttributes())).float() / 255
    assert (own.distance(protected) > own.distance(tiny_photos().images)).all()
    with pytest.raises(MissingNeedError, match="needs attribute surrogates, which this experiment does not provide"):
        attack.protect(tiny_photos(), replace(tiny_context(), networks={}))


def test_parts_that_transfer_serve_attributes_as_well() -> None:
    """The parts of TI-DIM are those of TI-m, views without strength change nothing, and networks have equal voices."""
    views, smooth = ResizeAndPad(0.5, 1.1), GradientFilter("gaussian", 7)

    class Named(MIFGSM):
        name = "ti_dim"  # the same draws

    plain: dict[str, Any] = {"steps": 4, "objective": "attributes"}
    assert torch.equal(images(Named(transfer=Transfer(views, smooth), **plain)), images(TIDIM(**plain)))
    none = Transfer(AffineViews(1, 1, 0, 0, 0), GradientFilter(size_px=1), "normalised")
    assert torch.equal(images(PGD(transfer=none, **plain)), images(PGD(**plain)))
    through = images(PGD(transfer=Transfer(AffineViews(), smooth, "normalised"), **plain)).float() / 255
    own = OwnAnswers.of(tiny_photos().images, tiny_context())
    assert (own.distance(through) > own.distance(tiny_photos().images)).all()


def test_an_ensemble_of_equals_is_one_of_them() -> None:
    one, twice = context_of(TinyAttributes()), context_of(TinyAttributes(), TinyAttributes())
    assert torch.equal(images(PGD(objective="attributes"), twice), images(PGD(objective="attributes"), one))


def test_a_surrogate_that_answers_nan_is_refused_in_a_line() -> None:
    class Broken(LinearHeads):
        def logits(self, images: Tensor) -> Mapping[str, Tensor]:
            return {name: scores * torch.nan for name, scores in super().logits(images).items()}

    with pytest.raises(ValueError, match="answer to a0 is not finite for 6 of 6 clean photos: check its weights"):
        PGD(objective="attributes").protect(tiny_photos(), context_of(Broken(2, 3)))
