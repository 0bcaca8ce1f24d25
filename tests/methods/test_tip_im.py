"""Oracles B10 to B14: TIP-IM's step, budget, reduction to MI-FGSM and greedy choice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from cloakbench.methods import tip_im
from cloakbench.methods.base import Protector
from cloakbench.methods.context import MissingNeedError, Need
from cloakbench.methods.mi_fgsm import MIFGSM
from cloakbench.methods.parts.gradient import Attack
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.objectives import input_gradient
from cloakbench.methods.parts.tiny_world import tiny_context, tiny_photos
from cloakbench.methods.parts.transfer.views import sample
from cloakbench.methods.tip_im import TIPIM, Embeddings, random_warp, step_direction


def unrounded(method: Protector) -> Tensor:
    batch, context = tiny_photos(), tiny_context()
    return method.perturb(batch, method.fit(batch, context), context)


def test_an_l2_step_has_the_length_of_a_signed_one() -> None:  # B10
    images = tiny_photos().images
    change = unrounded(TIPIM(100, steps=1, step_255=2, step_norm="l2")) - images
    expected = torch.full((6,), 2 / 255 * images[0].numel() ** 0.5)
    torch.testing.assert_close(change.flatten(1).norm(dim=1), expected, rtol=1e-4, atol=0)
    # The signed step is as long, less the values that the warp moved out of the picture.
    signed = (unrounded(TIPIM(100, steps=1, step_255=2, step_norm="linf")) - images).flatten(1).norm(dim=1)
    assert (signed <= expected + 1e-4).all() and (signed > 0.8 * expected).all()


def test_no_momentum_is_no_step() -> None:
    assert not step_direction(torch.zeros(2, 3, 4, 4), "l2").any()


@pytest.mark.parametrize("step_norm", ["l2", "linf"])
def test_both_steps_stay_in_the_linf_ball(step_norm: Any) -> None:  # B11
    protected = TIPIM(5, steps=12, step_norm=step_norm).protect(tiny_photos(), tiny_context())
    assert protected.linf_255.max() == 5


def test_one_target_and_signed_steps_are_mi_fgsm() -> None:  # B12
    ours = TIPIM(8, steps=6, step_norm="linf", strangers=1)
    (pool,) = ours.fit(tiny_photos(), tiny_context())

    class Reference(MIFGSM):
        name = "tip_im"  # the same draws

        def gradient(self, photos: Tensor, attack: Attack) -> Tensor:
            (own,) = attack.anchors.points
            warp = random_warp(attack.streams, 0.01, 0.1)

            def loss(surrogate: int, embeddings: Tensor) -> Tensor:
                towards, away = (embeddings - pool[0]).square(), (embeddings - own).square()
                return (towards.mean(dim=1) - away.mean(dim=1)).sum()

            return input_gradient(photos, attack.context.surrogates, loss, lambda x: sample(x, warp))

    reference = Reference(8, steps=6, step_255=2, objective="reference", random_start=False)
    reference.objective = "own"  # refused with no random start, for its own loss has no gradient there; this one has
    assert torch.equal(unrounded(ours), unrounded(reference))


@pytest.mark.parametrize(("gain", "reduce"), [("gain1", sum), ("gain2", min), ("gain3", max)])
def test_the_candidate_of_the_largest_gain_is_kept(gain: Any, reduce: Any) -> None:  # B14
    """Two steps against a plain loop over photos and strangers."""
    batch, context = tiny_photos(), tiny_context()
    model, strangers = context.surrogates[0], 4
    method = TIPIM(12, steps=2, strangers=strangers, gain=gain)
    (pool,) = method.fit(batch, context)
    streams = ItemStreams(batch.image_id, 0, "tip_im", device=context.device)
    warps = [random_warp(streams, 0.01, 0.1) for _ in range(2)]
    own = model.embed(batch.images)
    kept, choices = [], set()
    for row, image in enumerate(batch.images):
        photo, momentum = image.clone(), torch.zeros_like(image)
        for warp in warps:
            candidates = []
            for stranger in range(strangers):
                leaf = photo.clone().requires_grad_()
                seen = model.embed(sample(leaf.unsqueeze(0), warp[[row]]))[0]
                loss = (seen - pool[stranger]).square().mean() - (seen - own[row]).square().mean()
                (gradient,) = torch.autograd.grad(loss, leaf)
                new = momentum + gradient / gradient.abs().mean()
                moved = photo - 9 / 255 * new / new.norm() * new.numel() ** 0.5
                moved = moved.clamp(image - 12 / 255, image + 12 / 255).clamp(0, 1)
                after = model.embed(moved.unsqueeze(0))[0]
                margins = [float(((after - own[row]).norm() - (after - t).norm()).exp()) for t in pool]
                candidates.append((torch.tensor(1 + reduce(margins)).log().item(), moved, new))
            best = max(range(strangers), key=lambda i: candidates[i][0])
            choices.add(best)
            _, photo, momentum = candidates[best]
        kept.append(photo)
    torch.testing.assert_close(unrounded(method), torch.stack(kept), rtol=0, atol=2e-5)
    assert len(choices) > 1, "one stranger wins everywhere: nothing was chosen"


@pytest.mark.parametrize("at_once", [1, 18, 1000])
def test_how_many_candidates_are_embedded_together_changes_nothing(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One stranger, three and all seven of them at a time, of which the default takes them all."""
    method = TIPIM(steps=3, strangers=7, momentum_decay=0.5)
    expected = unrounded(method)
    monkeypatch.setattr(tip_im, "_AT_ONCE", at_once)
    passes: list[int] = []
    original = TIPIM.gains
    monkeypatch.setattr(
        TIPIM, "gains", lambda self, photos, *rest: passes.append(len(photos)) or original(self, photos, *rest)
    )
    torch.testing.assert_close(unrounded(method), expected, rtol=0, atol=1e-5)
    assert passes[: len(passes) // 3] == {1: [6] * 7, 18: [18, 18, 6], 1000: [42]}[at_once]


def test_warps_are_a_rotation_and_then_an_affine_map() -> None:
    """One sampling with the composed map is close to the two of the code, away from the border."""
    stream = torch.Generator().manual_seed(0)
    photos = torch.nn.functional.interpolate(torch.rand(4, 3, 5, 5, generator=stream), size=64, mode="bicubic")
    device = torch.device("cpu")
    warp = random_warp(ItemStreams("abcd", "warp", device=device), 0.05, 0.1)
    streams = ItemStreams("abcd", "warp", device=device)
    spread, turn = streams.uniform(2, low=0.05, high=0.1).unbind(dim=1)
    noise = streams.normal(7)
    angle = turn * noise[:, 6]
    affine = torch.eye(2, 3) + spread.view(-1, 1, 1) * noise[:, :6].view(-1, 2, 3)
    zero = torch.zeros(4)
    rotation = torch.stack([angle.cos(), angle.sin(), zero, -angle.sin(), angle.cos(), zero], dim=1).view(-1, 2, 3)
    twice = sample(sample(photos, affine), rotation)
    gap = (sample(photos, warp) - twice)[..., 20:-20, 20:-20].abs()
    assert gap.mean() < 0.01 and (photos - twice)[..., 20:-20, 20:-20].abs().mean() > 0.02
    identity = random_warp(ItemStreams("abcd", "warp", device=device), 0, 0)
    torch.testing.assert_close(sample(photos, identity), photos, rtol=0, atol=1e-5)


def test_strangers_are_first_photos_of_people_drawn_once_for_a_run() -> None:
    context = tiny_context()
    auxiliary, method = context.auxiliary, TIPIM(strangers=5)
    assert auxiliary is not None
    public = context.surrogates[0].embed(auxiliary.images.float() / 255)

    def rows(seed: int, photos: int) -> list[int]:
        chunk = replace(tiny_photos(), images=tiny_photos().images[:photos])
        (pool,) = method.fit(chunk, replace(context, seed=seed))
        return torch.cdist(pool, public).argmin(dim=1).tolist()

    assert all(auxiliary.identity.index(auxiliary.identity[row]) == row for row in rows(0, 6))
    assert len(set(rows(0, 6))) == 5
    assert rows(0, 6) == rows(0, 1) != rows(1, 6)


def test_too_few_strangers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"24 people, fewer than the 25 strangers.*method\.strangers"):
        TIPIM(strangers=25).protect(tiny_photos(), tiny_context())


def test_the_planned_person_is_the_only_target_of_each_photo_and_comes_nearer() -> None:
    batch, context = tiny_photos(), replace(tiny_context(), auxiliary=None)
    method = TIPIM(steps=10, targets_from="plan")
    assert method.needs == {Need.SURROGATES, Need.AIM} and Need.AIM not in TIPIM().needs
    (model,) = context.surrogates
    (aims,) = method.fit(batch, context)
    outcome = method.protect(batch, context)
    with torch.no_grad():
        before, after = (model.embed(photos) for photos in (batch.images, outcome.images.float() / 255))
    way = aims[batch.owner] - before  # one person of this world is aimed at herself: nearer to her than to the photo
    assert bool(((after * way).sum(dim=1) > (before * way).sum(dim=1) + 0.05).all())
    assert (outcome.cost.forward_images, outcome.cost.backward_images) == (6 * (10 * 2 + 1) + 3, 6 * 10)
    with pytest.raises(MissingNeedError, match="tip_im needs aim"):
        method.protect(replace(batch, aim_photos=None), context)


def test_a_plan_that_aims_everybody_at_the_one_stranger_of_a_pool_is_that_pool() -> None:
    batch, context = tiny_photos(), tiny_context()
    faces, pooled = context.require_auxiliary(), TIPIM(steps=4, strangers=1)
    (point,) = pooled.fit(batch, context)
    photos = faces.images.float() / 255
    row = int((context.surrogates[0].embed(photos) @ point[0]).argmax())
    aimed = replace(batch, aim_photos=photos[[row] * len(batch.identities)])
    one, other = unrounded(pooled), TIPIM(steps=4, targets_from="plan")
    torch.testing.assert_close(other.perturb(aimed, other.fit(aimed, context), context), one, rtol=0, atol=1e-5)


def test_photos_leave_their_person_for_a_stranger() -> None:
    batch, context = tiny_photos(), tiny_context()
    model, method = context.surrogates[0], TIPIM(steps=10)
    (pool,) = method.fit(batch, context)
    after = model.embed(method.protect(batch, context).images.float() / 255)
    own = model.embed(batch.images)
    assert ((after @ pool.T).amax(dim=1) > (own @ pool.T).amax(dim=1) + 0.1).all()
    assert ((after * own).sum(dim=1) < 0.8).all()


def test_naturalness_brings_photos_nearer_to_their_originals() -> None:
    def change(weight: float) -> float:
        method = TIPIM(steps=8, naturalness_weight=weight)
        return float(method.protect(tiny_photos(), tiny_context()).l2_255.mean())

    assert change(1e5) < 0.9 * change(0.0)


def test_a_surrogate_that_answers_nan_is_a_failure() -> None:
    known = Embeddings(tiny_context().surrogates, [torch.full((6, 32), torch.nan)], [torch.zeros(3, 32)])
    assert TIPIM().gains(tiny_photos().images, known).isnan().all()
    batch, context = tiny_photos(), tiny_context()
    method = TIPIM(steps=1, strangers=2)
    with torch.no_grad():
        next(context.surrogates[0].parameters()).fill_(torch.nan)
    assert method.protect(batch, context).status == ("method_failed",) * 6


def test_passes() -> None:
    cost = TIPIM(steps=3, strangers=4).protect(tiny_photos(), tiny_context()).cost
    # T (1 + m) forward and T m backward per photo; the clean photo and the strangers once.
    assert (cost.forward_images, cost.backward_images) == (6 * (3 * (1 + 4) + 1) + 4, 6 * 3 * 4)


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"strangers": 0}, {"gain": "gain4"}, {"step_norm": "l1"}, {"warp_low": 0.2}]
)
def test_wrong_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"(steps|strangers|gain|step_norm|warp_high) is .*: it must be"):
        TIPIM(**wrong)
