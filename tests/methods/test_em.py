"""Error-minimising noise: what is exact in the paper (A1 to A6 below), options and facts."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from learning import Linear, Small, context, published

from cloakbench.methods.context import ProtectContext
from cloakbench.methods.em import EM
from cloakbench.methods.parts.unlearnable import BilevelClassifier, TrainingPhotos

SGD: dict[str, Any] = {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 5e-4, "clip_norm": 5.0}
QUICK: dict[str, Any] = {"batch_size": 8, "batches_per_round": 3, "steps": 10, "max_rounds": 8, "stop_error": 0.05}
HOPELESS: dict[str, Any] = {"max_rounds": 1, "batches_per_round": 1, "stop_error": 0.0}


def one_noise_phase(method: EM, network: Any = Linear) -> tuple[TrainingPhotos, torch.Tensor, BilevelClassifier]:
    """The noise after one sweep over all photos in one batch, from zero, against an untrained network."""
    training = TrainingPhotos.of(published())
    classifier = BilevelClassifier(network, training, context(), **SGD)
    noise = torch.zeros_like(training.images)
    method.update(noise, torch.arange(len(noise)), training.images, training.labels, classifier)
    return training, noise, classifier


def test_a1_first_step_on_a_linear_model_is_the_closed_form() -> None:
    method = EM(Linear, noise_kind="sample", steps=1, epsilon_255=8)
    random_weights = partial(Linear, seed=3)
    training, noise, classifier = one_noise_phase(method, random_weights)
    weights, bias = classifier.network.model.scores.weight, classifier.network.model.scores.bias
    logits = training.images.flatten(1) @ weights.T + bias
    error = logits.softmax(dim=1) - F.one_hot(training.labels)
    expected = -(0.8 / 255) * (error @ weights).sign()
    torch.testing.assert_close(noise.flatten(1), expected, rtol=0, atol=1e-7)


def test_a1_zero_weights_have_no_slope_in_the_photo() -> None:
    _, noise, _ = one_noise_phase(EM(Linear, noise_kind="sample", steps=1))
    assert not noise.any()


def test_a2_the_maximising_variant_first_steps_the_other_way() -> None:
    network = partial(Linear, seed=3)
    _, least, _ = one_noise_phase(EM(network, noise_kind="sample", steps=1), network)
    _, most, _ = one_noise_phase(EM(network, noise_kind="sample", steps=1, direction="max", stop_error=None), network)
    assert least.any()
    torch.testing.assert_close(least, -most, rtol=0, atol=1e-7)


@pytest.mark.parametrize("epsilon_255", [7.65, 16])
@pytest.mark.parametrize("noise_kind", ["class", "sample"])
def test_a3_noise_keeps_its_budget_and_class_noise_is_shared(noise_kind: Any, epsilon_255: float) -> None:
    batch = published()
    method = EM(Small, noise_kind=noise_kind, epsilon_255=epsilon_255, **QUICK | {"max_rounds": 2})
    noise = method.fit(batch, context())
    assert noise.abs().max() <= epsilon_255 / 255 + 1e-7
    outcome = method.protect(batch, ProtectContext())
    assert outcome.linf_255.max() <= round(epsilon_255)
    of_person = noise.view(4, 6, *noise.shape[1:])
    shared = bool((of_person == of_person[:, :1]).all())
    assert shared == (noise_kind == "class")


def test_a4_a_small_step_against_a_frozen_model_lowers_the_loss() -> None:
    network = partial(Linear, seed=5)
    method = EM(network, noise_kind="sample", epsilon_255=2.55, step_255=0.255, steps=10)
    training, noise, classifier = one_noise_phase(method, network)
    with torch.no_grad():
        before = F.cross_entropy(classifier(training.images), training.labels)
        after = F.cross_entropy(classifier(training.images + noise), training.labels)
    assert after < before


@pytest.mark.parametrize("noise_kind", ["class", "sample"])
def test_a5_a_search_that_ends_meets_its_stop_error_and_the_network_needs_the_noise(noise_kind: Any) -> None:
    outcome = EM(Small, noise_kind=noise_kind, epsilon_255=16, **QUICK).protect(published(), ProtectContext())
    facts = outcome.facts
    assert facts["converged"]
    assert facts["train_error"] <= 0.05 < facts["clean_error"]
    assert 1 <= facts["rounds"] <= 8


def test_a_search_that_cannot_end_is_given_up_and_says_so() -> None:
    outcome = EM(Small, epsilon_255=0, **QUICK | HOPELESS).protect(published(), ProtectContext())
    assert outcome.facts["converged"] is False
    assert outcome.facts["rounds"] == 1


@pytest.mark.parametrize("noise_kind", ["class", "sample"])
def test_a6_equal_seeds_give_equal_bytes_and_noise_stays_with_its_photo(noise_kind: Any) -> None:
    method = EM(Small, noise_kind=noise_kind, **QUICK | {"max_rounds": 2, "stop_error": None})
    batch = published()
    noise = method.fit(batch, context())
    assert torch.equal(method.fit(batch, context()), noise)
    assert not torch.equal(method.fit(batch, context(seed=1)), noise)
    order = torch.randperm(len(noise), generator=torch.Generator().manual_seed(1))
    renumbered = torch.tensor([2, 0, 3, 1])
    shuffled = replace(
        batch,
        images=batch.images[order],
        image_id=tuple(batch.image_id[row] for row in order),
        owner=renumbered[batch.owner[order]],
        identities=tuple(batch.identities[int((renumbered == place).nonzero())] for place in range(4)),
    )
    assert torch.equal(method.fit(shuffled, context()), noise[order])


def test_global_random_state_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    EM(Small, **QUICK | {"max_rounds": 1}).fit(published(), context())
    assert torch.equal(before, torch.random.get_rng_state())


def test_passes_of_its_own_network_are_counted() -> None:
    method = EM(Small, noise_kind="sample", **QUICK | {"max_rounds": 1, "stop_error": None})
    outcome = method.protect(published(), ProtectContext())
    # 3 batches of 8, a sweep of 10 steps over 24 photos; then two checks of 24 and one photo that shows the shape.
    assert outcome.cost.backward_images == 3 * 8 + 10 * 24
    assert outcome.cost.forward_images == outcome.cost.backward_images + 2 * 24 + 1


def test_legacy_option_keeps_only_what_brightens_and_truncates() -> None:
    batch = published()
    batch = replace(batch, images=(batch.images * 255).round() / 255)
    options = QUICK | {"max_rounds": 1, "stop_error": None}
    noise = EM(Small, **options).fit(batch, context())
    outcome = EM(Small, legacy_positive_only=True, **options).protect(batch, ProtectContext())
    expected = ((batch.images * 255).round() + (noise * 255).clamp(min=0) + 1e-4).floor()
    assert torch.equal(outcome.images.float(), expected)


def test_a_network_that_gives_embeddings_is_refused() -> None:
    def embeds(*, classes: int, size: tuple[int, int]) -> torch.nn.Module:
        return Linear(classes=512, size=size)

    with pytest.raises(ValueError, match=r"must give \[N, 4\] logits"):
        EM(embeds).fit(published(), context())


@pytest.mark.parametrize(
    "wrong", [{"noise_kind": "both"}, {"direction": "up"}, {"epsilon_255": -1}, {"steps": 0}, {"batch_size": 1}]
)
def test_a_setting_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is .*: it must be"):
        EM(Small, **wrong)
