"""FaceCloak, oracles B8.5: the loop written out, bounds pixel by pixel, passes, what is refused, the released code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.core.ranges import SettingError
from cloakbench.methods.base import Budget
from cloakbench.methods.context import Need, NetworkKind, ProtectContext
from cloakbench.methods.facecloak import FaceCloak, Focus
from cloakbench.methods.facecloak_image import FaceCloakImage
from cloakbench.methods.parts.facecloak.anchors import AnchorPair, anchor_loss, find_pair
from cloakbench.methods.parts.facecloak.high_pass import high_pass
from cloakbench.methods.parts.facecloak.rules import ReleasedRules
from cloakbench.methods.parts.facecloak.stickers import find_stickers
from cloakbench.methods.parts.tiny_world import REFERENCES, SIDE, VIEWS, tiny_context, tiny_photos
from cloakbench.methods.photo_batch import PhotoBatch
from cloakbench.models.base import InputSpec, ModelCard, Recogniser

GREY = 1 / 255
REGIONS: list[Focus] = ["stickers", "high_pass"]
EVERYTHING: list[Focus] = ["stickers", "attention", "high_pass"]
CROP = 112
LANDMARKS = torch.tensor([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]])
RELEASED: dict[str, Any] = {
    "view_count": VIEWS,
    "keep_photo": True,
    "far": "fixed",
    "attention_rate": 10,
    "attention_offset": 0.01,
    "high_pass_threshold": 0,
    "high_pass_sign": "signed",
}


def cloak(batch: PhotoBatch | None = None, context: ProtectContext | None = None, **settings: Any) -> Tensor:
    """Masks ``[P, 3, H, W]`` in grey levels."""
    method = FaceCloak(**{"view_count": VIEWS, **settings})
    return method.fit(batch or tiny_photos(), context or tiny_context()) * 255


def flipped(one: Tensor, other: Tensor) -> float:
    return float(((one.float() - other.float()).abs() > 1e-3).float().mean())


def bounds(batch: PhotoBatch, epsilon: float = 8, focus: float = 32) -> Tensor:
    """E in grey levels of everything focused on, from the parts that have tests of their own."""
    seeds = batch.require_references()[:, 0]
    boxes = find_stickers(batch.require_reference_landmarks()[:, 0], SIDE, SIDE).inside > 0
    return torch.where(boxes | (high_pass(seeds).abs() > 1), focus, epsilon)


def written_out(person: int, steps: int, *, attention: bool, update: str) -> Tensor:
    """The pseudo-code of the paper's equations for one person, in grey levels."""
    batch, context = tiny_photos(), tiny_context()
    name, model = batch.identities[person], context.surrogates[0]
    seed, views = batch.require_references()[person, 0], batch.require_views()[person]
    bound = bounds(batch)[person] * GREY
    public = context.require_auxiliary().images[::2].float() / 255
    near, pool = model.embed(seed[None])[0], model.embed(public)
    far = pool[(pool @ near).argmin()]
    d = torch.empty_like(seed).uniform_(-8 * GREY, 8 * GREY, generator=generator(0, "facecloak", name))
    a = torch.ones_like(d)
    for _ in range(steps):
        for turn in views if update == "sequential" else [views]:
            pictures = turn.view(-1, *d.shape)
            e = (a * d).clamp(-bound, bound)
            seen = (pictures + e).clamp(0, 1).requires_grad_()
            embedded = model.embed(seen)
            (slopes,) = torch.autograd.grad((embedded @ near - embedded @ far).sum(), seen)
            g = slopes.mean(dim=0)
            in_a, in_d = g * d, g * a
            if attention:
                a = (a - 0.01 * (in_a - in_a.mean()) / in_a.std(unbiased=False)).clamp(0, 4)
            d = (d - 2 * GREY * in_d.sign()).clamp(-bound, bound)
    return (a * d).clamp(-bound, bound) * 255


@pytest.mark.parametrize("update", ["sequential", "mean"])
@pytest.mark.parametrize("attention", [False, True])
def test_the_loop_written_out(update: str, attention: bool) -> None:
    masks = cloak(steps=3, update=update, focus=EVERYTHING if attention else REGIONS)
    for person in range(3):
        expected = written_out(person, 3, attention=attention, update=update)
        assert flipped(masks[person], expected) < 0.005


def test_one_step_on_one_picture_is_that_of_pgd_on_the_anchor_loss() -> None:
    batch, context = tiny_photos(), tiny_context()
    mask = cloak(focus=[], steps=1, view_count=1)
    pair = find_pair(batch.require_references()[:, 0], "self", "pool", None, 2, "facecloak", context)
    start = torch.stack(
        [
            torch.empty(3, SIDE, SIDE).uniform_(-8 * GREY, 8 * GREY, generator=generator(0, "facecloak", name))
            for name in batch.identities
        ]
    )
    seen = (batch.require_views()[:, 0] + start).clamp(0, 1).requires_grad_()
    embedded = context.surrogates[0].embed(seen)
    (slope,) = torch.autograd.grad((embedded * (pair.near[0] - pair.far[0])).sum(), seen)
    expected = (255 * start - 2 * slope.sign()).clamp(-8, 8)
    assert flipped(mask, expected) < 0.002


def test_every_value_is_within_its_own_bound_and_uses_it() -> None:
    batch = tiny_photos()
    bound = bounds(batch)
    mask = cloak(steps=10)
    assert bool((mask.abs() <= bound + 1e-4).all())
    for size in (8, 32):
        assert float((mask.abs()[bound == size]).max()) == pytest.approx(size, abs=1e-3)
    assert float(cloak(focus=["attention"]).abs().max()) <= 8 + 1e-4
    assert float(cloak(focus=[]).abs().max()) <= 8 + 1e-4


def test_the_declared_budget_is_the_larger_one_where_anything_is_focused_on() -> None:
    expected: list[tuple[list[Focus], float]] = [([], 8), (["attention"], 8), (["stickers"], 32), (EVERYTHING, 32)]
    for focus, size in expected:
        assert FaceCloak(focus=focus).budget == Budget("linf", size)
    assert FaceCloak(0).budget == Budget("linf", 0)
    assert FaceCloak(match_norm={"l2": 1200}).budget == Budget("l2", 1200)
    assert FaceCloak(rules=ReleasedRules(), focus=["stickers"]).budget == Budget("linf", 40)
    matched = FaceCloak(view_count=VIEWS, steps=2, match_norm={"linf": 8}).protect(tiny_photos(), tiny_context())
    assert set(matched.linf_255.tolist()) == {8}


def test_attention_that_does_not_learn_is_none() -> None:
    assert torch.equal(cloak(focus=EVERYTHING, attention_rate=0), cloak(focus=REGIONS))


@pytest.mark.parametrize(
    "settings",
    [
        {"near": "impostor"},
        {"far": "fixed"},
        {"update": "mean"},
        {"attention_start": "uniform"},
        {"attention_rate": 0.5},
        {"high_pass_threshold": 2},
        {"high_pass_sign": "signed"},
        {"references": "photos"},
        {"keep_photo": True},
        {"focus": ["stickers", "attention"]},
    ],
    ids=str,
)
def test_every_option_makes_another_mask(settings: dict[str, Any]) -> None:
    assert flipped(cloak(steps=2, **settings), cloak(steps=2)) > 0.02


def test_swapping_the_anchors_turns_the_first_step_round(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = cloak(focus=[], steps=1, view_count=1, epsilon_255=200, step_255=1)
    start = cloak(focus=[], steps=1, view_count=1, epsilon_255=200, step_255=1e-4)
    plain = AnchorPair.loss
    monkeypatch.setattr(
        AnchorPair, "loss", lambda pair, index, seen: plain(AnchorPair(pair.far, pair.near), index, seen)
    )
    backward = cloak(focus=[], steps=1, view_count=1, epsilon_255=200, step_255=1)
    moved = (forward - backward).abs() > 1.9  # not at the bound of the start
    assert float(moved.float().mean()) > 0.98
    assert bool(((forward - start) * (backward - start) < 0)[moved].all())


def test_the_size_of_the_loss_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = cloak(steps=3)
    plain = AnchorPair.loss
    monkeypatch.setattr(AnchorPair, "loss", lambda pair, index, seen: 1000 * plain(pair, index, seen))
    assert flipped(cloak(steps=3), usual) < 0.005


@pytest.mark.parametrize("focus", [[], ["stickers"], ["stickers", "attention"], EVERYTHING], ids=str)
def test_masks_lead_from_the_near_anchor_to_the_far_one(focus: list[str]) -> None:
    batch, context = tiny_photos(), tiny_context()
    pair = find_pair(batch.require_references()[:, 0], "self", "pool", None, 2, "facecloak", context)
    views, mask = batch.require_views(), cloak(focus=focus).unsqueeze(1) / 255
    before, after = (
        float(pair.loss(0, context.surrogates[0].embed(x.flatten(0, 1)).unflatten(0, x.shape[:2])))
        for x in (views, (views + mask).clamp(0, 1))
    )
    assert after < before - 0.1 * views.shape[0] * views.shape[1]


def test_focus_makes_masks_stronger() -> None:
    batch, context = tiny_photos(), tiny_context()
    seeds, (model,) = batch.require_references()[:, 0], context.surrogates
    pair = find_pair(seeds, "self", "pool", None, 2, "facecloak", context)
    losses = [
        float(pair.loss(0, model.embed((seeds + cloak(focus=focus) / 255).clamp(0, 1)).unsqueeze(1)))
        for focus in ([], ["stickers"], REGIONS)
    ]
    assert losses == sorted(losses, reverse=True) and losses[0] > losses[-1] + 0.1


@pytest.mark.parametrize(("settings", "passes"), [({}, 80), ({"keep_photo": True}, 90), ({"update": "mean"}, 80)])
def test_passes_are_eighty_per_person_and_ninety_with_the_photo(settings: dict[str, Any], passes: int) -> None:
    batch = tiny_photos()
    cost = FaceCloak(**settings).protect(with_eight_views(), tiny_context()).cost
    people, pool = len(batch.identities), 24
    assert cost.backward_images == passes * people
    assert cost.forward_images == passes * people + people + pool, "the clean seed photos and the pool once"


def test_what_is_counted_is_told() -> None:
    facts = FaceCloak(view_count=VIEWS, steps=2).protect(tiny_photos(), tiny_context()).facts
    assert (facts["anchor_people"], facts["pictures"]) == (24, VIEWS)
    assert (facts["stickers_cut"], facts["landmarks_outside"], facts["faces_without_landmarks"]) == (0, 0, 0)
    assert facts["focused_share"] == pytest.approx(float((bounds(tiny_photos()) > 8).float().mean()))
    few = FaceCloak(view_count=VIEWS, steps=2, references="photos").protect(tiny_photos(), tiny_context()).facts
    assert few["pictures"] == REFERENCES, "all that there are"


def test_landmarks_off_the_photo_are_counted_and_a_person_without_any_loses_no_other() -> None:
    batch = tiny_photos()
    landmarks = batch.require_reference_landmarks().clone()
    landmarks[0, 0, 0] = torch.tensor([-1.0, 12.0])
    landmarks[1, 0] = torch.nan
    method = FaceCloak(view_count=VIEWS, steps=2)
    outcome = method.protect(replace(batch, reference_landmarks=landmarks), tiny_context())
    counted = [outcome.facts[name] for name in ("stickers_cut", "landmarks_outside", "faces_without_landmarks")]
    assert counted == [1, 1, 1]
    ok = ["method_failed" if batch.owner[row] == 1 else "ok" for row in range(len(batch.images))]
    assert list(outcome.status) == ok
    whole = method.protect(batch, tiny_context())
    assert torch.equal(outcome.images[batch.owner == 2], whole.images[batch.owner == 2])


def pool_of(rows: list[int]) -> ProtectContext:
    context = tiny_context()
    return replace(context, auxiliary=context.require_auxiliary().select(rows))


@pytest.mark.parametrize(
    ("settings", "context", "words"),
    [
        (
            {},
            pool_of([0, 1]),
            r"show 1 people, fewer than the 2 that .*; give more \(dataset.auxiliary_identities\)$",
        ),
        ({"least_people": 25}, tiny_context(), r"show 24 people, fewer than the 25 .* or set method.least_people=24$"),
        ({"view_count": VIEWS + 1}, tiny_context(), "4 views of each person are given, fewer than method.view_count=5"),
    ],
)
def test_too_few_people_or_views_are_refused_in_one_line(
    settings: dict[str, Any], context: ProtectContext, words: str
) -> None:
    with pytest.raises(ValueError, match=words) as problem:
        cloak(context=context, **settings)
    assert "\n" not in str(problem.value)


def test_anchors_that_are_one_face_are_refused_in_one_line() -> None:
    context = tiny_context()
    faces = context.require_auxiliary()
    copies = replace(faces, images=faces.images[:1].expand_as(faces.images).contiguous())
    with pytest.raises(ValueError, match="near and far anchor of ada are the same face") as problem:
        cloak(context=replace(context, auxiliary=copies), near="impostor")
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"view_count": 0}, "view_count is 0: it must be a whole number of at least 1"),
        ({"least_people": 1}, "least_people is 1: it must be a whole number of at least 2"),
        ({"focus": ["stickers", "eyes"]}, r"focus is \[stickers, eyes\]: it must be some of stickers"),
        ({"focus": ["stickers", "stickers"]}, "each once"),
        ({"keep_photo": True, "references": "photos"}, "keep_photo is true: it must be false with references=photos"),
        ({"match_norm": {"linf": 8, "l2": 1200}}, "one norm"),
        ({"near": "both"}, "near is both: it must be one of self, impostor"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused_in_one_line(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words) as problem:
        FaceCloak(**settings)
    assert "\n" not in str(problem.value)


def test_needs_follow_the_options() -> None:
    always = {Need.SURROGATES, Need.REFERENCES}
    assert FaceCloak().needs == always | {Need.GENERATOR, Need.AUXILIARY, Need.REFERENCE_LANDMARKS}
    assert FaceCloak(references="photos", focus=[]).needs == always | {Need.AUXILIARY}
    assert FaceCloak(references="photos", focus=[], far="aim").needs == always | {Need.AIM}
    assert (FaceCloak(view_count=16).view_count, FaceCloak(references="photos").view_count) == (16, 0)
    assert FaceCloakImage(far="aim").needs == {Need.SURROGATES, Need.AIM, Need.LANDMARKS}
    assert FaceCloakImage(far="aim").targeted and not FaceCloakImage().targeted


def test_a_photo_alone_is_a_matter_of_itself_and_whom_it_is_to_be_mistaken_for_in_ten_passes() -> None:
    batch, context = tiny_photos(), tiny_context()
    outcome = FaceCloakImage(far="aim").protect(batch, context)
    photos = len(batch.images)
    assert (outcome.cost.forward_images, outcome.cost.backward_images) == (12 * photos, 10 * photos)
    assert outcome.linf_255.max() == 32
    (model,) = context.surrogates
    aims, own = model.embed(batch.require_aim_photos())[batch.owner], model.embed(batch.images)
    seen = model.embed(outcome.images.float() / 255)
    assert bool((anchor_loss(seen, own, aims) < anchor_loss(own, own, aims) - 0.2).all())
    others = replace(batch, aim_photos=batch.require_aim_photos().roll(1, 0))
    assert flipped(FaceCloakImage(far="aim").protect(others, context).images, outcome.images) > 0.1


def with_eight_views() -> PhotoBatch:
    batch = tiny_photos()
    return replace(batch, views=batch.require_views().repeat(1, 2, 1, 1, 1))


class Linear(nn.Module):
    """An embedding of 512 numbers that is linear in the pixels of a crop."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.randn(512, 3 * CROP * CROP, generator=generator("linear"))
        self.weight = nn.Parameter(weight / weight.shape[1] ** 0.5, requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        return (images - 0.5).flatten(1) @ self.weight.T


def large(photos: Tensor) -> Tensor:
    """Tiny photos ``[..., 3, H, W]`` as crops of 112 pixels."""
    flat = nn.functional.interpolate(photos.flatten(0, -4), size=(CROP, CROP), mode="bilinear")
    return flat.unflatten(0, photos.shape[:-3])


def test_the_released_loop_runs_far_beyond_its_budget_and_fills_the_mask() -> None:
    """B8.3: what the network sees is four times as strong as the budget, and 89 % of the mask is at its bound."""
    batch, context = with_eight_views(), tiny_context()
    batch = replace(batch, images=batch.images[:1], image_id=batch.image_id[:1], owner=batch.owner[:1])
    batch = replace(batch, identities=batch.identities[:1], reference_id=batch.reference_id[:1])
    batch = replace(batch, images=large(batch.images), references=large(batch.require_references()[:1]))
    batch = replace(batch, views=large(batch.require_views()[:1]), reference_landmarks=LANDMARKS.view(1, 1, 5, 2))
    network = Recogniser(Linear(), InputSpec(size=(CROP, CROP)), ModelCard("linear", "", "", "none", "none", 512, ""))
    public = context.require_auxiliary()
    public = replace(public, images=large(public.images.float()).to(torch.uint8))
    context = replace(context, networks={NetworkKind.RECOGNISER: (network,)}, auxiliary=public)
    settings: dict[str, Any] = {**RELEASED, "view_count": 8}
    released = FaceCloak(**settings, rules=ReleasedRules()).protect(batch, context)
    assert released.cost.backward_images == 90
    assert released.facts["median_over_epsilon"] == pytest.approx(4, abs=0.8)
    assert released.facts["share_at_epsilon"] == pytest.approx(0.89, abs=0.03)
    held = FaceCloak(**settings, focus=["attention"], rules=ReleasedRules(projection="each_step"))
    assert held.protect(batch, context).facts["median_over_epsilon"] < 2


def test_released_parts_add_up_to_forty_and_the_high_pass_part_is_lost() -> None:
    batch, context = with_eight_views(), tiny_context()
    boxes = find_stickers(batch.require_reference_landmarks()[:, 0], SIDE, SIDE).inside.expand(-1, 3, -1, -1) > 0
    with_detail, without = (
        cloak(batch, context, **RELEASED, focus=focus, rules=ReleasedRules())
        for focus in (EVERYTHING, ["stickers", "attention"])
    )
    changed = (with_detail - without).abs()
    assert float(changed.max()) < 1.001 and float((changed > 0.5).float().mean()) < 0.1, "at most a grey level"
    assert float(with_detail.abs().max()) == pytest.approx(40, abs=1e-3)
    assert float(with_detail[~boxes].abs().max()) == pytest.approx(8, abs=1e-3)
    torch.testing.assert_close(with_detail, with_detail.round(), atol=1e-3, rtol=0)


def test_released_quirks_off_one_by_one_lead_back_to_the_equations() -> None:
    rules = ReleasedRules("each_step", "larger", deployed_scale=1, rounding="nearest")
    assert torch.equal(cloak(steps=2, rules=rules), cloak(steps=2))
    halved = ReleasedRules("each_step", "larger", deployed_scale=2, rounding="nearest")
    twice = cloak(steps=2, rules=halved, focus=[])
    assert flipped(twice, 2 * cloak(steps=2, focus=[], epsilon_255=4, step_255=1)) < 0.001
