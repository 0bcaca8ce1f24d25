"""Robust error-minimising noise: what is exact in the paper (A7 to A11 below), options and facts."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from learning import Linear, Small, context, published

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.em import EM
from cloakbench.methods.parts.unlearnable import BilevelClassifier, TrainingPhotos
from cloakbench.methods.rem import REM
from cloakbench.models.training.adversary import Ascent
from cloakbench.models.training.views import FlipCrop

SGD: dict[str, Any] = {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 5e-4, "clip_norm": 5.0}
QUICK: dict[str, Any] = {"outer_steps": 3, "batch_size": 8, "steps": 3, "view_samples": 2}
NETWORK = partial(Linear, seed=3)


def training_and_classifier() -> tuple[TrainingPhotos, BilevelClassifier]:
    training = TrainingPhotos.of(published())
    return training, BilevelClassifier(NETWORK, training, context(), **SGD)


def test_a7_without_adversary_views_and_random_start_a_step_is_one_of_em() -> None:
    training, classifier = training_and_classifier()
    plain = REM(NETWORK, epsilon_255=8, step_255=1, steps=4, view_samples=1, random_start=False)
    ours = plain.defend(training.images, training.labels, classifier, generator("unused"))
    em = EM(NETWORK, noise_kind="sample", epsilon_255=8, step_255=1, steps=4)
    theirs = torch.zeros_like(training.images)
    em.update(theirs, torch.arange(len(theirs)), training.images, training.labels, classifier)
    assert theirs.any()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_a8_ascent_from_the_photo_never_lowers_the_loss_of_a_linear_model(steps: int) -> None:
    training, classifier = training_and_classifier()
    adversary = Ascent(radius_255=4, step_255=0.8, steps=steps, random_start=False)
    moved = adversary(classifier.network, training.images, training.labels, generator("unused"))
    with torch.no_grad():
        before, after = (
            F.cross_entropy(classifier(some), training.labels, reduction="none") for some in (training.images, moved)
        )
    assert bool((after >= before).all())


def test_a8_on_a_binary_linear_model_the_offset_is_the_signed_radius() -> None:
    training = TrainingPhotos.of(published(people=2))
    classifier = BilevelClassifier(NETWORK, training, context(), **SGD)
    adversary = Ascent(radius_255=4, step_255=0.8, steps=10, random_start=True)
    moved = adversary(classifier.network, training.images, training.labels, generator("start"))
    slope = classifier.slope(training.images, training.labels)
    torch.testing.assert_close(moved - training.images, 4 / 255 * slope.sign(), rtol=0, atol=1e-6)


def test_a9_the_adversary_counts_as_a_constant() -> None:
    training, classifier = training_and_classifier()
    adversary = Ascent(radius_255=4, step_255=0.8, steps=3, random_start=False)
    method = REM(NETWORK, adversary=adversary, view_samples=1)
    noise = torch.full_like(training.images, 2 / 255)
    pulled = method.slope(noise, training.images, training.labels, classifier, generator("unused"))
    attacked = adversary(classifier.network, training.images + noise, training.labels, generator("unused"))
    torch.testing.assert_close(pulled, classifier.slope(attacked, training.labels))


def test_a9_slopes_of_views_come_back_to_the_pixels_they_were_taken_from() -> None:
    training, classifier = training_and_classifier()
    draws = generator("views")
    views = FlipCrop(padding_px=3)
    noise = torch.zeros_like(training.images)
    pulled = REM(NETWORK, views=views, view_samples=3).slope(noise, training.images, training.labels, classifier, draws)
    draws, leaf = generator("views"), training.images.clone().requires_grad_()
    loss = sum(F.cross_entropy(classifier(views(leaf, draws)), training.labels) for _ in range(3))
    torch.testing.assert_close(pulled, torch.autograd.grad(loss, leaf)[0])  # type: ignore[arg-type]


@pytest.mark.parametrize("noise_kind", ["sample", "class"])
@pytest.mark.parametrize(("epsilon_255", "levels"), [(8, 8), (7.65, 8), (4, 4)])
def test_a10_noise_is_whole_grey_levels_within_the_budget(noise_kind: Any, epsilon_255: float, levels: int) -> None:
    batch = published()
    batch = replace(batch, images=(batch.images * 255).round() / 255)
    method = REM(Small, noise_kind=noise_kind, epsilon_255=epsilon_255, **QUICK)
    noise = 255 * method.fit(batch, context())
    torch.testing.assert_close(noise, noise.round(), rtol=0, atol=1e-4)
    assert noise.abs().max() <= levels + 1e-4
    assert method.protect(batch, ProtectContext()).linf_255.max() <= levels


def test_a11_every_photo_is_regenerated_exactly_once_in_the_final_pass() -> None:
    seen: list[int] = []
    batch = published()

    class Watched(REM):
        def defend(self, images: torch.Tensor, *rest: Any) -> torch.Tensor:
            seen.extend(int((batch.images == image).flatten(1).all(dim=1).nonzero()) for image in images)
            return super().defend(images, *rest)

    Watched(Small, **QUICK | {"batch_size": 7}).fit(batch, context())
    during_training = 3 * 7
    assert sorted(seen[during_training:]) == list(range(len(batch.images)))


def test_noise_is_reproducible_and_stays_with_its_photo() -> None:
    adversary = Ascent(radius_255=4, step_255=2, steps=2)
    method = REM(Small, adversary=adversary, views=FlipCrop(2), **QUICK)
    batch = published()
    noise = method.fit(batch, context())
    assert torch.equal(method.fit(batch, context()), noise)
    order = torch.arange(len(noise)).flip(0)
    names = tuple(batch.image_id[row] for row in order)
    shuffled = replace(batch, images=batch.images[order], owner=batch.owner[order], image_id=names)
    assert torch.equal(method.fit(shuffled, context()), noise[order])


def test_class_wise_noise_is_shared_by_a_person() -> None:
    noise = REM(Small, noise_kind="class", **QUICK).fit(published(), context()).view(4, 6, -1)
    assert bool((noise == noise[:, :1]).all())
    assert not torch.equal(noise[0], noise[1])


def test_facts_and_cost() -> None:
    adversary = Ascent(radius_255=4, step_255=2, steps=2)
    outcome = REM(Small, adversary=adversary, **QUICK).protect(published(), ProtectContext())
    assert outcome.facts["converged"] is None
    assert outcome.facts["rounds"] == 3
    assert set(outcome.facts) == {"converged", "rounds", "train_error", "clean_error"}
    # A photo's noise: 3 steps of 2 views, each 2 ascents and 1 slope; an SGD step: 2 ascents and 1 pass.
    assert outcome.cost.backward_images == 3 * 8 * (3 * 2 * 3 + 3) + 24 * 3 * 2 * 3


@pytest.mark.parametrize("wrong", [{"noise_kind": "both"}, {"epsilon_255": -1}, {"steps": 0}, {"outer_steps": 0}])
def test_a_setting_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is .*: it must be"):
        REM(Small, **wrong)
