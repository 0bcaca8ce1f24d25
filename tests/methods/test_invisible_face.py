"""Invisible-Face as a whole: oracles C8 and C9, its ablations, its trainings, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.datasets.base import FaceSet
from cloakbench.datasets.thirds import thirds
from cloakbench.methods.base import Trained, without_title
from cloakbench.methods.context import MissingNeedError, Need, NetworkKind, ProtectContext
from cloakbench.methods.invisible_face import InvisibleFace
from cloakbench.methods.parts.attributes.own_answers import OwnAnswers
from cloakbench.methods.parts.gan.networks import drawn, recomputed_by_few
from cloakbench.methods.parts.invisible.directional import DirectionRules, find_directions, unpack_signs
from cloakbench.methods.parts.invisible.losses import LossWeights
from cloakbench.methods.parts.invisible.region import RegionRules
from cloakbench.methods.parts.purifying.recipe import PurifierRecipe
from cloakbench.methods.parts.shortened import in_short
from cloakbench.methods.parts.stage_checks import KilledAt, _KilledError
from cloakbench.methods.parts.tiny_world import TinyAttributes, tiny_context, tiny_photos
from cloakbench.models.base import Purifier
from cloakbench.models.purifiers.design import PurifierDesign

UNET = PurifierRecipe("U-Net", PurifierDesign("unet", 4, 2), steps=3, batch=8)
ABLATIONS = ("full_region", "without_dp", "without_rp", "without_dp_rp", "without_sem", "without_nat", "without_per")


def method(**changes: Any) -> InvisibleFace:
    settings: dict[str, Any] = {
        "region": RegionRules(grid=6),
        "direction": DirectionRules(neighbours=2),
        "purifier": UNET,
        "width": 4,
        "discriminator_width": 4,
        "epochs": 2,
        "batch": 8,
    }
    return InvisibleFace(**{**settings, **changes})


def trained(one: InvisibleFace, context: ProtectContext | None = None) -> ProtectContext:
    context = context or tiny_context()
    return replace(context, trained=one.run_training(context).tensors)


def composed(name: str) -> dict[str, Any]:
    with initialize_config_module("cloakbench.conf", version_base="1.3"):
        return OmegaConf.to_container(compose(overrides=[f"+method={name}"]).method)  # type: ignore[return-value]


def test_a_mask_ends_at_its_box_and_its_budget_and_photos_stay_valid() -> None:  # C8
    one = method(epsilon_255=6)
    context, batch = trained(one), tiny_photos()
    extreme = replace(batch, images=(4 * batch.images - 1.5).clamp(0, 1))
    for photos in (batch, extreme):
        given = replace(context)
        outcome = one.protect(photos, given)
        assert outcome.status == ("ok",) * 6 and outcome.linf_255.max() <= 6
        area = outcome.shown["region"].float()[:, :1] / 255
        change = outcome.images.float() - (255 * photos.images).round()
        assert not (change * (1 - area)).any() and (change * area).any()
        assert outcome.facts["inside_share"] == pytest.approx(float(area.mean()))


def test_whole_photos_change_everywhere_without_a_region() -> None:
    one = method(region=None)
    assert Need.LANDMARKS not in one.needs and Need.LANDMARKS in method().needs
    outcome = one.protect(replace(tiny_photos(), landmarks=None), trained(one))
    assert (outcome.shown["region"] == 255).all() and outcome.facts["region_passes"] == 2
    edge = outcome.images[..., 0, :].float() - (255 * tiny_photos().images[..., 0, :]).round()
    assert edge.abs().max() > 0


def test_the_clean_answers_are_left_more_than_by_chance() -> None:
    one, batch = method(), tiny_photos()
    outcome = one.protect(batch, trained(one))
    model = TinyAttributes()
    clean = {name: scores.argmax(dim=1, keepdim=True) for name, scores in model.logits(batch.images).items()}

    def confidence(photos: Tensor) -> float:
        scores = model.logits(photos)
        return float(torch.stack([scores[name].softmax(1).gather(1, clean[name]) for name in clean]).mean())

    change = outcome.images.float() / 255 - batch.images
    flipped = change * (torch.randint(0, 2, change.shape, generator=generator("flips")) * 2 - 1)
    assert confidence(batch.images + change) < confidence(batch.images + flipped)


def test_directions_of_the_training_are_those_found_again() -> None:  # C9
    """A photo of the training, protected later, has the box and the direction that were stored for it."""
    one, context = method(weights=LossWeights(gan=0)), tiny_context()
    faces = context.require_auxiliary()
    own = set(thirds(faces.identity, 0).method)
    rows = [row for row, name in enumerate(faces.identity) if name in own][:6]
    stored = one.run_stage(one.prepared, context).tensors["prepared_faces"]
    alone = faces.select(rows)
    again = one.run_stage(one.prepared, replace(context, auxiliary=faces.select(range(len(faces)))))
    assert all(torch.equal(value, again.tensors["prepared_faces"][name]) for name, value in stored.items())
    assert len(stored["boxes"]) == len(stored["signs"]) == len([1 for name in faces.identity if name in own])
    photos = alone.images.float() / 255
    found = find_directions(photos, alone.image_id, OwnAnswers.of(photos, context), 0, DirectionRules(neighbours=2))
    assert (unpack_signs(stored["signs"][:6], photos.shape[1:]) != found).float().mean() < 1e-3


def test_labels_and_people_of_other_parts_decide_nothing() -> None:
    """Ground truth never reaches the method, and its generator learns from its own third."""
    one, context = method(), tiny_context()
    faces = context.require_auxiliary()
    parts = thirds(faces.identity, 0)
    images = faces.images.clone()
    images[[row for row, name in enumerate(faces.identity) if name in parts.attackers]] = 0
    labels = {"two": torch.ones(len(faces), dtype=torch.long)}
    planted = FaceSet(images, faces.image_id, faces.identity, faces.landmarks, labels)
    results = [
        one.protect(tiny_photos(), trained(one, replace(context, auxiliary=given))).images for given in (faces, planted)
    ]
    assert torch.equal(*results)


def killed(one: InvisibleFace, context: ProtectContext, ends: set[int]) -> tuple[Trained, KilledAt, int]:
    checkpoint, kills = KilledAt(ends), 0
    while True:
        try:
            return one.run_stage(one.local_masks, replace(context, checkpoint=checkpoint)), checkpoint, kills
        except _KilledError:
            kills += 1


def test_a_training_that_is_killed_at_ten_moments_ends_with_equal_weights() -> None:
    one, context = method(epochs=8), tiny_context()
    tensors: dict[str, Any] = {}
    for stage in one.stages()[:-1]:
        tensors |= one.run_stage(stage, replace(context, trained=tensors)).tensors
    context = replace(context, trained=tensors)
    whole = one.run_stage(one.local_masks, context)
    steps = 8 * 2
    moments = (torch.randperm(steps, generator=generator("moments"))[:10] + 1).tolist()
    again, checkpoint, kills = killed(one, context, set(moments))
    assert kills == 10 and checkpoint.steps == steps, "no step is taken twice"
    first, second = whole.tensors["local_masks"], again.tensors["local_masks"]
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert (whole.cost.forward_images, whole.cost.backward_images) == (
        again.cost.forward_images,
        again.cost.backward_images,
    )


def test_computing_parts_again_to_save_memory_changes_no_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    one, context = method(epochs=1), tiny_context()
    kept = trained(one, context).trained["local_masks"]
    monkeypatch.setattr("cloakbench.methods.parts.invisible.game._MOST_BYTES", 0)
    again = trained(one, context).trained["local_masks"]
    assert all(torch.equal(value, again[name]) for name, value in kept.items())


def test_a_purifier_computed_again_for_a_few_photos_at_a_time_gives_the_same_gradients() -> None:
    purifier = Purifier(drawn(UNET.design.make, 0, "purifier").eval())
    strengths, photos = torch.rand(6, generator=generator(0, "strengths")), tiny_photos().images
    found = []
    for clean in (purifier, partial(recomputed_by_few, purifier, 4)):
        seen = photos.clone().requires_grad_(True)
        answer = clean(seen, strengths)
        answer.square().sum().backward()
        found.append((answer.detach(), seen.grad))
    for whole, by_few in zip(*found, strict=True):
        torch.testing.assert_close(by_few, whole, rtol=1e-4, atol=1e-5)


def test_passes_of_the_training_are_three_a_photo_and_surrogate_and_those_of_the_purifier() -> None:
    one, context = method(), tiny_context()
    tensors: dict[str, Any] = {}
    for stage in one.stages()[:-1]:
        tensors |= one.run_stage(stage, replace(context, trained=tensors)).tensors
    cost = one.run_stage(one.local_masks, replace(context, trained=tensors)).cost
    photos, networks = 2 * 16, 2
    # Protected, purified and clean photos through the networks; protected ones through the purifier.
    assert (cost.forward_images, cost.backward_images) == (photos * (3 * networks + 1), photos * (2 * networks + 1))


def test_training_lowers_the_loss_of_its_own_faces() -> None:
    def answers_left(epochs: int) -> float:
        alone = LossWeights(adversarial=1, perturbation=0, naturalness=0, semantic=0, gan=0)
        changes = {"direction": None, "region": None, "purifier": None, "weights": alone}
        one = method(epsilon_255=32, epochs=epochs, width=8, learning_rate=5e-3, **changes)
        outcome = one.protect(tiny_photos(), trained(one))
        model, batch = TinyAttributes(), tiny_photos()
        clean = {name: scores.argmax(dim=1, keepdim=True) for name, scores in model.logits(batch.images).items()}
        scores = model.logits(outcome.images.float() / 255)
        return float(torch.stack([scores[name].softmax(1).gather(1, clean[name]) for name in clean]).mean())

    assert answers_left(20) < answers_left(1) - 0.05


def test_variants_share_what_they_have_in_common() -> None:
    plain = method()
    for other in (method(weights=LossWeights(semantic=0)), method(purifier=None), method(epsilon_255=4)):
        assert other.stages()[0] == plain.stages()[0]
        assert other.stages()[-1] != plain.stages()[-1]
    assert method(weights=LossWeights(semantic=0)).stages()[1] == plain.stages()[1]
    assert [stage.name for stage in method(weights=LossWeights(resilient=0)).stages()] == [
        "prepared_faces",
        "local_masks",
    ]
    assert method(direction=None).stages()[0] != plain.stages()[0]


@pytest.mark.parametrize(
    "weights",
    [{name: 0} for name in ("adversarial", "perturbation", "naturalness", "semantic", "gan")]
    + [{"perceptual": 0}, {"contextual": 0}, {"discrepancy": 0}, {"variation": 0}, {"variation_of": "mask"}],
    ids=str,
)
def test_every_switch_of_a_loss_changes_what_is_learnt(weights: dict[str, Any]) -> None:
    first, second = (
        trained(method(purifier=None, epochs=1, weights=LossWeights(**given))).trained["local_masks"]
        for given in ({}, weights)
    )
    assert any(not torch.equal(value, second[name]) for name, value in first.items())


def test_directions_may_be_left_to_the_training() -> None:
    both = [method(direction=DirectionRules(neighbours=2, at_inference=after)) for after in (True, False)]
    with_them, without = (one.protect(tiny_photos(), trained(one)) for one in both)
    assert not torch.equal(with_them.images, without.images)
    assert without.cost.backward_images == 0 < with_them.cost.backward_images


def test_the_row_says_what_stands_for_lpips() -> None:
    assert "LPIPS and the contextual loss compare features of the surrogate" in method().notes()[0]
    assert method(weights=LossWeights(semantic=0)).notes() == ()
    outcome = method().protect(tiny_photos(), trained(method()))
    assert method().notes()[0] in outcome.warnings


class MeanSquare:
    """A perceptual distance that needs no network."""

    name = "mean square"
    is_lpips = False

    def fingerprint(self) -> str:
        return "mean square"

    def load(self, device: torch.device) -> MeanSquare:
        return self

    def to(self, clean: Tensor) -> Any:
        return lambda photos: 100 * (photos - clean).square().mean(dim=(1, 2, 3))


def test_a_perceptual_distance_that_is_given_is_used_and_in_the_key() -> None:
    given, plain = method(perceptual=MeanSquare()), method()
    assert given.local_masks.settings["perceptual"] == "mean square" and plain.local_masks.settings["perceptual"] == ""
    assert given.notes()[0].startswith("the contextual loss compares")
    first, second = (trained(one).trained["local_masks"] for one in (given, plain))
    assert any(not torch.equal(value, second[name]) for name, value in first.items())


def test_a_training_that_diverges_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"masks diverged at step \d of 4: lower method\.learning_rate") as problem:
        method(learning_rate=1e30).run_training(tiny_context())
    assert "\n" not in str(problem.value)


def test_a_discriminator_that_diverges_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "cloakbench.methods.parts.invisible.losses.discriminator_loss", lambda clean, protected: clean.sum() * torch.nan
    )
    with pytest.raises(ValueError, match=r"step 1 of 4: .* \(the loss of the discriminator is not finite\)"):
        method().run_training(tiny_context())


def test_answers_that_are_not_finite_are_one_line() -> None:
    class Broken(TinyAttributes):
        def logits(self, images: Tensor) -> dict[str, Tensor]:
            return {name: scores * torch.nan for name, scores in super().logits(images).items()}

    context = replace(tiny_context(), networks={NetworkKind.ATTRIBUTE_SURROGATE: (Broken(),)})
    with pytest.raises(ValueError, match="an attribute surrogate's answer to two is not finite for") as problem:
        method().run_training(context)
    assert "\n" not in str(problem.value)


def test_needs_are_named_before_any_work() -> None:
    with pytest.raises(MissingNeedError, match="attribute surrogates"):
        method().run_training(replace(tiny_context(), networks={}))
    one = method()
    with pytest.raises(MissingNeedError, match="landmarks"):
        one.protect(replace(tiny_photos(), landmarks=None), trained(one))


def test_too_few_people_are_one_line() -> None:
    context = tiny_context()
    two = context.require_auxiliary().select([0, 1, 2, 3])
    with pytest.raises(ValueError, match="2 auxiliary people cannot be divided"):
        method().run_training(replace(context, auxiliary=two))


def test_an_ensemble_is_learnt_against_as_a_whole() -> None:
    class Other(TinyAttributes):
        def __init__(self) -> None:
            super().__init__()
            for weight in self.parameters():
                weight.data = -weight.data

    networks: dict[NetworkKind, tuple[nn.Module, ...]] = {NetworkKind.ATTRIBUTE_SURROGATE: (TinyAttributes(), Other())}
    one = method(epochs=1, purifier=None)
    outcome = one.protect(tiny_photos(), trained(one, replace(tiny_context(), networks=networks)))
    assert outcome.status == ("ok",) * 6 and outcome.facts["region_passes"] > 8


@pytest.mark.parametrize("name", ["invisible_face", *(f"invisible_face_{part}" for part in ABLATIONS)])
def test_the_ablations_are_the_method_without_a_part(name: str) -> None:
    full, config = composed("invisible_face"), composed(name)
    differing = {key for key in full if config[key] != full[key]} - {"title"}
    expected = {
        "full_region": {"region"},
        "without_dp": {"direction"},
        "without_rp": {"purifier"},
        "without_dp_rp": {"direction", "purifier"},
        "without_sem": {"weights"},
        "without_nat": {"weights"},
        "without_per": {"weights"},
    }.get(name.removeprefix("invisible_face_"), set())
    assert differing == expected
    made = instantiate(in_short(without_title(config)))
    assert isinstance(made, InvisibleFace) and made.budget is not None and made.budget.size_255 == 8
