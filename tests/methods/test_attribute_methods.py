"""LowKey-m, Fawkes-m and TIP-IM-m, and what holds for every method that hides attributes (oracles C16, C17)."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.datasets.base import FaceSet
from cloakbench.methods.base import without_title
from cloakbench.methods.context import NetworkKind, ProtectContext
from cloakbench.methods.fawkes_m import FawkesAttributes
from cloakbench.methods.lowkey_m import LowKeyAttributes
from cloakbench.methods.parts.attributes.label_tuples import LabelTuples
from cloakbench.methods.parts.attributes.own_answers import OwnAnswers, attribute_losses
from cloakbench.methods.parts.dssim import DSSIM
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.shortened import in_short
from cloakbench.methods.parts.tiny_world import TinyAttributes, tiny_context, tiny_photos
from cloakbench.methods.photo_batch import PhotoBatch
from cloakbench.methods.tip_im import random_warp, sample
from cloakbench.methods.tip_im_m import TIPIMAttributes

ROOT = Path(__file__).resolve().parents[2]
METHODS = sorted(path.stem for path in (ROOT / "conf" / "method").glob("*_m.yaml") if "dfanet" not in path.stem)


class MeanSquare:
    """A perceptual distance that needs no network."""

    name = "mean square"
    is_lpips = False

    def fingerprint(self) -> str:
        return "none"

    def load(self, device: torch.device) -> MeanSquare:
        return self

    def to(self, clean: Tensor) -> Any:
        return lambda photos: 100 * (photos - clean).square().mean(dim=(1, 2, 3))


def built(method: str) -> Any:
    with initialize_config_module("cloakbench.conf", version_base="1.3"):
        config = OmegaConf.to_container(compose(overrides=[f"+method={method}"]).method)
    return instantiate(in_short(without_title(config)))  # type: ignore[arg-type]


def own_answers(context: ProtectContext) -> OwnAnswers:
    return OwnAnswers.of(tiny_photos().images, context)


def test_the_methods_of_the_paper_are_here() -> None:
    gradient = {"fgsm_m", "pgd_m", "mi_fgsm_m", "ti_m", "vmi_fgsm_m"}
    assert set(METHODS) == gradient | {"lowkey_m", "fawkes_m", "tip_im_m"}


@pytest.mark.parametrize("method", METHODS)
def test_what_a_data_set_says_about_photos_reaches_no_method(method: str) -> None:
    """Labels are the surrogates' own answers: with wrong ones planted everywhere, the photos are equal."""
    context = tiny_context()
    faces = context.require_auxiliary()

    def protected(offset: int) -> Tensor:
        labels = {name: torch.full((len(faces),), offset) for name in ("two", "three", "years", "gender")}
        planted = FaceSet(faces.images, faces.image_id, faces.identity, faces.landmarks, labels)
        return built(method).protect(tiny_photos(), replace(context, auxiliary=planted)).images

    assert torch.equal(protected(0), protected(1))
    assert not {field.name for field in fields(PhotoBatch)} & {"labels", "attributes"}


@pytest.mark.parametrize("method", METHODS)
def test_answers_are_left_and_the_budget_is_kept(method: str) -> None:  # C16
    context, protector = tiny_context(), built(method)
    outcome = protector.protect(tiny_photos(), context)
    own = own_answers(context)
    assert (own.distance(outcome.images.float() / 255) > own.distance(tiny_photos().images)).all()
    most = protector.budget.size_255 if protector.budget else protector.max_change_255
    assert outcome.linf_255.max() <= most + 0.5
    assert protector.goal == "hide attributes"


def test_fawkes_m_stays_within_the_bound_on_structure() -> None:  # C16, B8
    method = FawkesAttributes(0.012, steps=40, learning_rate=20)
    batch = tiny_photos()
    outcome = method.protect(batch, tiny_context())
    assert outcome.status == ("ok",) * 6 and outcome.linf_255.max() <= 15
    assert (DSSIM(batch.images)(outcome.images.float() / 255) <= 1.1 * 0.012 + 1e-6).all()


def test_lowkey_m_reaches_its_bound_and_weighs_plain_and_blurred_alike() -> None:  # C16, B15
    method = LowKeyAttributes(MeanSquare(), perceptual_weight=2.0)
    assert method.max_change_255 == pytest.approx(0.13 * 255) and method.budget is None
    batch, context = tiny_photos(), tiny_context()
    photos = (batch.images + 0.02 * torch.randn(batch.images.shape, generator=generator("photos"))).clamp(0, 1)
    own = own_answers(context)
    expected = (own.distance(photos) + own.distance(method.blur(photos))) / 2
    expected = expected - 2 * 100 * (photos - batch.images).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(sum(method.terms(photos, method.clean(batch.images, context), context)), expected)
    bounded = LowKeyAttributes(MeanSquare(), 8).protect(batch, context)
    assert bounded.linf_255.max() == 8
    # Two networks, a plain and a blurred photo at each step, and the clean photo once.
    cost = LowKeyAttributes(MeanSquare(), steps=3).protect(batch, context).cost
    assert (cost.forward_images, cost.backward_images) == (2 * 6 * (3 * 2 + 1), 2 * 6 * 3 * 2)


def tuples(most: int, seed: int = 0) -> LabelTuples:
    context, batch = tiny_context(), tiny_photos()
    streams = ItemStreams(batch.image_id, seed, device=context.device)
    widths = [{name: scores.shape[1] for name, scores in TinyAttributes().logits(batch.images).items()}]
    return LabelTuples.drawn(own_answers(context), widths, most, streams)


@pytest.mark.parametrize("most", [1, 4, 6, 10])
def test_every_tuple_is_wrong_about_every_attribute(most: int) -> None:  # C17
    drawn = tuples(most)
    ((own,), (found,)) = drawn.own.classes, drawn.tuples
    assert drawn.count == min(most, 1 * 2 * 3)
    for name, width in {"two": 2, "three": 3, "years": 4}.items():
        assert found[name].shape == (6, drawn.count)
        assert ((found[name] != own[name].unsqueeze(1)) & (found[name] >= 0) & (found[name] < width)).all()
    if most >= 6:  # all there are, each once
        codes = found["three"] * 4 + found["years"]
        assert all(len(set(row.tolist())) == 6 for row in codes)


def test_tuples_are_drawn_for_each_photo_from_its_own_stream() -> None:
    drawn, other = tuples(4).tuples[0], tuples(4, seed=1).tuples[0]
    assert torch.equal(drawn["years"], tuples(4).tuples[0]["years"])
    assert any(not torch.equal(drawn[name], other[name]) for name in ("three", "years"))


def test_tip_im_m_keeps_the_candidate_of_the_largest_gain() -> None:
    """One step against a plain loop over photos and tuples."""
    batch, context = tiny_photos(), tiny_context()
    method = TIPIMAttributes(12, steps=1, label_tuples=4)
    streams = ItemStreams(batch.image_id, 0, "tip_im_m", "label tuples", device=context.device)
    widths = [{"two": 2, "three": 3, "years": 4}]
    known = LabelTuples.drawn(own_answers(context), widths, 4, streams)
    warp = random_warp(ItemStreams(batch.image_id, 0, "tip_im_m", device=context.device), 0.01, 0.1)
    (model,), (own,), (drawn,) = known.own.surrogates, known.own.classes, known.tuples
    kept, choices = [], set()
    for row in range(6):
        image = batch.images[row : row + 1]
        labels = {name: column[row : row + 1] for name, column in own.items()}
        goals = [{name: column[row : row + 1, place] for name, column in drawn.items()} for place in range(4)]
        candidates = []
        for goal in goals:
            leaf = image.clone().requires_grad_()
            scores = model.logits(sample(leaf, warp[[row]]))
            loss = (attribute_losses(model, scores, goal) - attribute_losses(model, scores, labels)).sum()
            (slope,) = torch.autograd.grad(loss, leaf)
            step = slope / slope.abs().mean()
            moved = image - 18 / 255 * step / step.norm() * step.numel() ** 0.5
            moved = moved.clamp(image - 12 / 255, image + 12 / 255).clamp(0, 1)
            after = model.logits(moved)
            away = attribute_losses(model, after, labels).mean()
            margins = [float((away - attribute_losses(model, after, t).mean()).exp()) for t in goals]
            candidates.append((max(margins), moved[0]))
        best = max(range(4), key=lambda place: candidates[place][0])
        choices.add(best)
        kept.append(candidates[best][1])
    found = method.perturb(batch, method.fit(batch, context), context)
    torch.testing.assert_close(found, torch.stack(kept), rtol=0, atol=2e-5)
    assert len(choices) > 1, "one tuple wins everywhere: nothing was chosen"


def test_ten_yes_or_no_attributes_have_one_wrong_answer_and_it_is_tried_once() -> None:
    class Ten(TinyAttributes):
        answered_together = (("first", "second"),)
        by_value = frozenset()

        def logits(self, images: Tensor) -> dict[str, Tensor]:
            scores = super().logits(images)
            return {"first": scores["two"], "second": scores["three"][:, :2]}

    context = ProtectContext({NetworkKind.ATTRIBUTE_SURROGATE: (Ten(),)})
    cost = TIPIMAttributes(steps=3, label_tuples=10).protect(tiny_photos(), context).cost
    assert (cost.forward_images, cost.backward_images) == (6 * (1 + 3 * 2), 6 * 3)
