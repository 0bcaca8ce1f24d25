"""Chhabra et al.: the nearest photo under which attributes are misread (oracle C19)."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.chhabra import Chhabra, Nearest, Weights
from cloakbench.methods.context import NetworkKind, ProtectContext
from cloakbench.methods.parts.attributes.matcher import FaceMatcher
from cloakbench.methods.parts.attributes.own_answers import OwnAnswers
from cloakbench.methods.parts.tiny_world import TinyAttributes, tiny_context, tiny_photos
from cloakbench.models.base import Recogniser


def tiny_matcher() -> Recogniser:
    model = tiny_context().surrogates[0].model
    assert isinstance(model, Recogniser)
    return model


MATCHER = FaceMatcher(tiny_matcher)


def answers(photos: Tensor) -> dict[str, Tensor]:
    return {name: scores.argmax(dim=1) for name, scores in TinyAttributes().logits(photos).items()}


class OneLine(nn.Module):
    """One attribute of two classes; half their difference is how many grey levels (L2) a photo is from the border."""

    def distance(self, images: Tensor) -> Tensor:
        """``[N]`` of photos ``[N, 3, 32, 32]``, in double precision."""
        slope = torch.randn(3 * 32 * 32, generator=generator("one line")).double()
        return 150 + 255 * (images.double().flatten(1) - 0.5) @ (slope / slope.norm())

    def logits(self, images: Tensor) -> Mapping[str, Tensor]:
        score = self.distance(images).to(images.dtype)
        return {"side": torch.stack([score, -score], dim=1)}


def test_success_means_that_every_attribute_of_the_published_photo_is_misread() -> None:
    batch, context = tiny_photos(), tiny_context()
    outcome = Chhabra(MATCHER, search_steps=60).protect(batch, context)
    clean, now = answers(batch.images), answers(outcome.images.float() / 255)
    misread = torch.stack([clean[name] != now[name] for name in clean]).all(dim=0)
    said = [outcome.facts["success"][name] == "yes" for name in batch.image_id]
    assert said == misread.tolist() and all(said) and outcome.facts["converged"] is True
    assert outcome.linf_255.max() < 20


def test_without_success_the_clean_photo_comes_back_and_says_no() -> None:
    batch = tiny_photos()
    outcome = Chhabra(MATCHER, search_steps=2, learning_rate=1e-6).protect(batch, tiny_context())
    assert set(outcome.facts["success"].values()) == {"no"} and outcome.facts["converged"] is False
    assert outcome.linf_255.max() == 0  # w = 0 is the photo itself
    assert outcome.warnings == ("6 of 6 photos came back unchanged",)


def test_the_nearest_of_all_photos_that_were_misread_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, offered = tiny_photos(), []
    offer = Nearest.offer

    def seen(self: Nearest, photos: Tensor, good: Tensor) -> None:
        squares = (photos - batch.images).square().sum(dim=(1, 2, 3))
        offered.append(torch.where(good, squares, torch.inf))
        offer(self, photos, good)

    monkeypatch.setattr(Nearest, "offer", seen)
    outcome = Chhabra(MATCHER, searches=4, search_steps=30).protect(batch, tiny_context())
    assert len(offered) == 4 * 30
    nearest = torch.stack(offered).amin(dim=0)
    assert nearest.isfinite().all() and (torch.stack(offered) < torch.inf).sum() > 6
    found = (outcome.images.float() / 255 - batch.images).square().sum(dim=(1, 2, 3))
    torch.testing.assert_close(found, nearest)


def test_a_straight_border_is_crossed_almost_where_it_is_nearest() -> None:
    """The distance to it is known; what is found is longer by the steps of Adam and by whole grey levels."""
    network, batch = OneLine(), tiny_photos()
    context = ProtectContext({NetworkKind.ATTRIBUTE_SURROGATE: (network,)})
    outcome = Chhabra(MATCHER, searches=5, search_steps=100).protect(batch, context)
    least = network.distance(batch.images)
    assert (outcome.l2_255 >= least - 1e-3).all() and (least > 100).all()
    assert (outcome.l2_255 <= 1.3 * least).all()


def test_attributes_to_keep_are_read_as_before() -> None:
    batch, context = tiny_photos(), tiny_context()
    outcome = Chhabra(MATCHER, keep=["two", "years"], search_steps=60).protect(batch, context)
    clean, now = answers(batch.images), answers(outcome.images.float() / 255)
    good = torch.tensor([outcome.facts["success"][name] == "yes" for name in batch.image_id])
    assert good.any()
    assert torch.equal(clean["three"] != now["three"], good)
    assert all(torch.equal(clean[name][good], now[name][good]) for name in ("two", "years"))


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (["smile"], "keep names smile, and the attributes are two, three, years"),
        (["two", "three", "years"], "leave one"),
    ],
)
def test_attributes_to_keep_must_be_there_and_not_all(keep: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Chhabra(MATCHER, keep=keep).protect(tiny_photos(), tiny_context())


def test_margins_are_those_of_the_paper() -> None:
    batch, context = tiny_photos(), tiny_context()
    own = OwnAnswers.of(batch.images, context)
    photos = batch.images.flip(3)
    expected = torch.zeros(6)
    for name, scores in TinyAttributes().logits(photos).items():
        for row, label in enumerate(own.classes[0][name].tolist()):
            others = max(float(score) for place, score in enumerate(scores[row]) if place != label)
            ahead = float(scores[row, label]) - others
            expected[row] += max(-ahead if name == "three" else ahead, -0.2)
    missed, _ = Chhabra(MATCHER, keep=["three"], margin=0.2).margins(own, photos)
    torch.testing.assert_close(missed, expected)


def test_the_weight_grows_tenfold_until_something_is_found_and_is_then_halved() -> None:
    weights = Weights(3, 0.01, torch.device("cpu"))
    tried = [weights.tried.tolist()]
    for hidden in ([False, True, False], [False, True, True], [True, False, False]):
        weights.after(torch.tensor(hidden))
        tried.append(weights.tried.tolist())
    first, second, third = (
        pytest.approx(column)
        for column in ([0.01, 0.1, 1, 0.55], [0.01, 0.005, 0.0025, 0.00375], [0.01, 0.1, 0.055, 0.0775])
    )
    assert [[row[photo] for row in tried] for photo in range(3)] == [first, second, third]


def test_passes_are_one_there_and_back_at_each_step_and_the_matcher_only_where_it_counts() -> None:
    batch, context = tiny_photos(), tiny_context()
    plain = Chhabra(MATCHER, searches=2, search_steps=3).protect(batch, context)
    assert (plain.cost.forward_images, plain.cost.backward_images) == (2 * 6 * (1 + 6), 2 * 6 * 6)
    alike = Chhabra(MATCHER, searches=2, search_steps=3, identity_weight=1.0).protect(batch, context)
    assert alike.cost.forward_images - plain.cost.forward_images == 6 * (1 + 6)
    assert alike.cost.backward_images - plain.cost.backward_images == 6 * 6
    assert not Chhabra(MATCHER).files_read([]) and Chhabra(MATCHER, identity_weight=1.0).files_read([])


def test_the_identity_term_keeps_the_face_alike() -> None:
    batch, context, model = tiny_photos(), tiny_context(), tiny_matcher()

    def cosine(weight: float) -> Tensor:
        made = Chhabra(MATCHER, search_steps=60, first_weight=1.0, searches=1, identity_weight=weight)
        photos = made.protect(batch, context).images.float() / 255
        return (model.embed(photos) * model.embed(batch.images)).sum(dim=1).mean()

    assert cosine(30.0) > cosine(0.0)
