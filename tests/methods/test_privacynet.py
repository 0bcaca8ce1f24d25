"""PrivacyNet and Gender-AN: what their networks learn, and that no judge is ever asked (oracle C18)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.datasets.attribute_task import AttributeTask, AttributeTaskError
from cloakbench.datasets.base import FaceSet
from cloakbench.methods.base import Protector, without_title
from cloakbench.methods.context import NetworkKind, ProtectContext
from cloakbench.methods.gender_an import GenderAN
from cloakbench.methods.parts.attributes.matcher import FaceMatcher
from cloakbench.methods.parts.gan.label_networks import LabelDiscriminator, LabelGenerator
from cloakbench.methods.parts.gan.networks import drawn
from cloakbench.methods.parts.gan.translation import TranslationGame, TranslationRules
from cloakbench.methods.parts.tiny_world import TinyAttributes, tiny_context, tiny_photos, trained_context
from cloakbench.methods.privacynet import PrivacyNet
from cloakbench.models.base import Recogniser

TASK = AttributeTask(
    "tiny",
    {
        "gender": {"classes": {"f": {"labels": [0]}, "m": {"labels": [1]}}},
        "complexion": {"classes": {"one": {"labels": [1]}, "two": {"labels": [2]}, "three": {"labels": [3]}}},
    },
)
RULES = TranslationRules(4, 1, 4, 0.5, 10.0, 3.0, 2.0)


def tiny_matcher() -> Recogniser:
    model = tiny_context().surrogates[0].model
    assert isinstance(model, Recogniser)
    return model


MATCHER = FaceMatcher(tiny_matcher)
SMALL: dict[str, Any] = {"width": 8, "blocks": 1, "discriminator_width": 8, "critic_steps": 1}


def method(cls: type[PrivacyNet] = PrivacyNet, **settings: Any) -> PrivacyNet:
    return cls(TASK, MATCHER, **{**SMALL, "epochs": 1, **settings})


def game() -> tuple[TranslationGame, Tensor, Tensor, Tensor]:
    """A game with its first weights, six photos, their classes and others."""
    makers = RULES.makers((2, 3)).items()
    networks = [drawn(make, "test", name) for name, make in makers]
    one = TranslationGame(RULES, (2, 3), 1e-3, tiny_context().surrogates[0], *networks)
    own = torch.tensor([[0, 2], [1, 1], [0, 0], [1, 2], [0, 1], [1, 0]])
    return one, tiny_photos().images, own, (own + 1) % torch.tensor([2, 3])


def trained(epochs: int, **settings: Any) -> tuple[PrivacyNet, ProtectContext]:
    one = method(epochs=epochs, learning_rate=1e-3, **settings)
    return one, trained_context(one)


def test_the_generator_sees_a_plane_for_each_class() -> None:
    network = drawn(lambda: LabelGenerator((2, 3), 4, 1), "planes")
    assert isinstance(network, LabelGenerator)
    seen: list[Tensor] = []
    network.network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    images = 2 * tiny_photos().images[:2] - 1
    made = network(images, torch.tensor([[1, 0], [0, 2]]))
    assert made.shape == images.shape and made.abs().max() <= 1
    assert torch.equal(seen[0][:, :3], images)
    planes = torch.tensor([[0.0, 1, 1, 0, 0], [1, 0, 0, 0, 1]])[:, :, None, None].expand(-1, -1, 32, 32)
    assert torch.equal(seen[0][:, 3:], planes)


def test_networks_at_half_the_size_leave_detail_to_the_photo() -> None:
    """What is changed is found on the small photo, enlarged and added; the discriminator sees no detail."""
    network = drawn(lambda: LabelGenerator((2, 3), 4, 1, shrink=2), "half")
    assert isinstance(network, LabelGenerator)
    seen: list[Tensor] = []
    network.network.register_forward_hook(lambda module, inputs, made: seen.append(made))
    images = torch.rand(2, 3, 64, 64, generator=generator("half")) - 0.5
    classes = torch.tensor([[1, 0], [0, 2]])
    made = network(images, classes)
    small = F.avg_pool2d(images, 2)
    assert seen[0].shape == small.shape
    change = F.interpolate(seen[0] - small, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(made, (images + change).clamp(-1, 1))
    judge = drawn(lambda: LabelDiscriminator((2, 3), 4, shrink=2), "half")
    blurred = F.interpolate(small, scale_factor=2)
    torch.testing.assert_close(judge(images)[0], judge(blurred)[0])


def test_no_photo_looks_more_or_less_real_in_company() -> None:
    network = drawn(lambda: LabelDiscriminator((2, 3), 4), "alone")
    images = 2 * tiny_photos().images - 1
    real, scores = network(images)
    assert real.shape == (6,) and scores.shape == (6, 5)
    torch.testing.assert_close(network(images[:1])[0], real[:1])
    torch.testing.assert_close(network(images[:1])[1], scores[:1])


def test_the_generator_minimises_source_labels_cycle_and_distance() -> None:
    one, photos, own, other = game()
    real, model = 2 * photos - 1, tiny_matcher()
    with torch.no_grad():
        made = one.generator(real, other)
        looks, scores = one.discriminator(made)
        labels = F.cross_entropy(scores[:, :2], other[:, 0]) + F.cross_entropy(scores[:, 2:], other[:, 1])
        cycle = F.l1_loss(one.generator(made, own), real)
        distance = F.mse_loss(model.embed((made + 1) / 2), model.embed(photos)) * 32  # a sum over 32 dimensions
        expected = -looks.mean() + 0.5 * labels + 10 * cycle + 2 * distance
    before = [value.clone() for value in one.discriminator.state_dict().values()]
    torch.testing.assert_close(one.teach_generator(photos, own, other), expected)
    after = one.discriminator.state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True)), "the discriminator moved, too"


def test_the_discriminator_minimises_source_penalty_and_labels_of_real_photos() -> None:
    one, photos, own, other = game()
    mix = torch.rand(6, 1, 1, 1, generator=generator("mix"))
    real = 2 * photos - 1
    made = one.generator(real, other).detach()
    norms = []
    for row in range(6):
        point = (mix[row] * real[row] + (1 - mix[row]) * made[row]).unsqueeze(0).requires_grad_()
        (slope,) = torch.autograd.grad(one.discriminator(point)[0].sum(), point)
        norms.append(slope.norm())
    with torch.no_grad():
        (looks, scores), (fooled, _) = one.discriminator(real), one.discriminator(made)
        labels = F.cross_entropy(scores[:, :2], own[:, 0]) + F.cross_entropy(scores[:, 2:], own[:, 1])
        penalty = (torch.stack(norms) - 1).square().mean()
        expected = fooled.mean() - looks.mean() + 3 * penalty + 0.5 * labels
    before = [value.clone() for value in one.generator.state_dict().values()]
    torch.testing.assert_close(one.teach_discriminator(photos, own, other, mix), expected)
    after = one.generator.state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True)), "the generator moved, too"


@pytest.mark.slow
def test_told_its_own_labels_a_photo_finds_its_way_back_after_training() -> None:  # C18
    faces = tiny_context().require_auxiliary()
    photos = 2 * faces.images.float() / 255 - 1
    labels = TASK.labels(faces)
    own = torch.stack(list(labels.classes.values()), dim=1)

    def cycle(epochs: int) -> Tensor:
        one, context = trained(epochs, batch=4)
        generator_network, _ = one.networks(context)
        with torch.no_grad():
            return (generator_network(generator_network(photos, own), own) - photos).abs().mean()

    grey = (photos - photos.mean(dim=(0, 2, 3), keepdim=True)).abs().mean()
    assert cycle(8) < grey < cycle(1)


def test_no_network_that_judges_is_asked() -> None:  # C18
    one, context = trained(2)

    class Judge(TinyAttributes):
        def logits(self, images: Tensor) -> Mapping[str, Tensor]:
            raise AssertionError("a judge was asked")

    recognisers = {NetworkKind.RECOGNISER: context.networks[NetworkKind.RECOGNISER]}
    with_judge = replace(context, networks={**recognisers, NetworkKind.ATTRIBUTE_SURROGATE: (Judge(),)})
    without = replace(context, networks={})
    outcome = one.protect(tiny_photos(), with_judge)
    assert torch.equal(outcome.images, one.protect(tiny_photos(), without).images)
    assert outcome.cost.backward_images == 0 and outcome.cost.forward_images == 2 * 6
    assert set(outcome.status) == {"ok"}


def test_the_second_likeliest_class_of_each_attribute_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    one, context = trained(2)
    asked: list[Tensor] = []
    forward = LabelGenerator.forward

    def seen(self: LabelGenerator, images: Tensor, classes: Tensor) -> Tensor:
        asked.append(classes)
        return forward(self, images, classes)

    monkeypatch.setattr(LabelGenerator, "forward", seen)
    one.protect(tiny_photos(), context)
    _, discriminator = one.networks(context)
    scores = discriminator(2 * tiny_photos().images - 1)[1]
    for part, column in zip(scores.split([2, 3], dim=1), asked[0].T, strict=True):
        assert torch.equal(part.argsort(dim=1, descending=True)[:, 1], column)


def test_training_reads_the_labels_of_auxiliary_faces_and_skips_those_without() -> None:
    context, one = tiny_context(), method()
    faces = context.require_auxiliary()

    def weights(gender: Tensor) -> Mapping[str, Tensor]:
        labels = {**faces.attributes, "gender": gender}
        told = FaceSet(faces.images, faces.image_id, faces.identity, None, labels)
        return one.run_training(replace(context, auxiliary=told)).tensors["label_translation"]

    own, other = weights(faces.attributes["gender"]), weights(1 - faces.attributes["gender"])
    assert not torch.equal(own["discriminator.classes.weight"], other["discriminator.classes.weight"])
    half = torch.where(torch.arange(48) < 24, faces.attributes["gender"], -1)
    known = context.require_auxiliary().select(range(24))
    alone = one.run_training(replace(context, auxiliary=known)).tensors["label_translation"]
    assert all(torch.equal(value, alone[name]) for name, value in weights(half).items())


def test_faces_without_labels_are_refused_in_one_line() -> None:
    context = tiny_context()
    faces = context.require_auxiliary()
    bare = replace(context, auxiliary=FaceSet(faces.images, faces.image_id, faces.identity))
    with pytest.raises(AttributeTaskError, match="the data set has no label 'gender'"):
        method().run_training(bare)
    one_face = replace(context, auxiliary=faces.select([0]))
    with pytest.raises(ValueError, match="needs two auxiliary faces with labels of gender, complexion"):
        method().run_training(one_face)


def test_a_training_that_diverges_says_which_setting_to_lower() -> None:
    with pytest.raises(ValueError, match=r"training of a translation diverged at step \d of 30: lower method\.learn"):
        method(epochs=10, learning_rate=1e9).run_training(tiny_context())


def test_task_and_matcher_are_in_the_key_of_what_is_trained() -> None:
    (stage,), (first,) = method().stages(), method(first=1).stages()
    assert stage.settings["task"] == [
        ["gender", "gender", [["f", 0], ["m", 1]], None],
        ["complexion", "complexion", [["one", 1], ["two", 2], ["three", 3]], None],
    ]
    assert first.settings["task"] == stage.settings["task"][:1]
    assert stage.settings["matcher"] == MATCHER.fingerprint() == method().files_read([])["matcher"]


def test_gender_an_hides_the_first_attribute_alone() -> None:
    with initialize_config_module("cloakbench.conf", version_base="1.3"):
        config = compose(overrides=["+method=gender_an", "method.width=8"]).method
    built: Protector = instantiate(without_title(config))
    assert isinstance(built, GenderAN) and built.task.names == ("gender",)
    one = method(GenderAN, first=1)
    generator_network, _ = one.networks(trained_context(one))
    assert isinstance(generator_network, LabelGenerator) and generator_network.widths == (2,)
