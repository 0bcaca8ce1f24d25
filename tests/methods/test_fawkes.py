"""Oracles B5 to B9: Fawkes as the paper has it and as it was released."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from cloakbench.datasets.base import FaceSet
from cloakbench.methods import fawkes as fawkes_module
from cloakbench.methods.base import Protected
from cloakbench.methods.context import NetworkKind
from cloakbench.methods.fawkes import Fawkes, FawkesPaper
from cloakbench.methods.fawkes_v1 import FawkesTool, SawTooth
from cloakbench.methods.parts.dssim import DSSIM, Borders
from cloakbench.methods.parts.photo_failures import FAILED
from cloakbench.methods.parts.tiny_world import tiny_context, tiny_photos

MID: dict[str, Any] = {"dssim_bound": 0.012, "steps": 40, "learning_rate": 20}


def protect(method: Fawkes) -> Protected:
    return method.protect(tiny_photos(), tiny_context())


def published_dssim(protected: Protected, borders: Borders = "mirrored") -> Tensor:
    return DSSIM(tiny_photos().images, borders)(protected.images.float() / 255)


class FirstPhoto(FawkesTool):
    """Records the photo that the first step looks at, with a cloak of exactly zero."""

    def optimiser(self, cloak: Tensor) -> torch.optim.Optimizer:
        with torch.no_grad():
            cloak.zero_()
        self.seen: Tensor | None = None
        return super().optimiser(cloak)

    def limit(self, photos: Tensor, images: Tensor) -> Tensor:
        if self.seen is None:
            self.seen = photos.detach()
        return super().limit(photos, images)


def test_without_a_cloak_the_photo_is_the_photo_from_black_to_white() -> None:  # B5
    batch = tiny_photos()
    images = torch.linspace(0, 1, batch.images.numel()).view_as(batch.images)
    method = FirstPhoto(**MID | {"steps": 2})
    method.perturb(replace(batch, images=images), method.fit(batch, tiny_context()), tiny_context())
    assert method.seen is not None and method.seen.isfinite().all()
    assert (method.seen - images).abs().max() < 1e-3


@pytest.mark.parametrize("settings", [MID, {"dssim_bound": 0.017, "steps": 60, "learning_rate": 15}])
def test_the_tool_changes_no_value_by_more_than_15_grey_levels(settings: dict[str, Any]) -> None:  # B7
    protected = protect(FawkesTool(**settings))
    assert 5 < protected.linf_255.max() <= 15


@pytest.mark.parametrize("method", [FawkesTool(**MID), FawkesPaper(0.002, steps=60)], ids=["tool", "paper"])
def test_what_is_published_keeps_the_bound(method: Fawkes) -> None:  # B8
    protected = protect(method)
    assert protected.status == ("ok",) * 6
    dssim = published_dssim(protected)
    assert (dssim <= 1.1 * method.dssim_bound + 1e-6).all() and (dssim > 0.3 * method.dssim_bound).all()


def test_the_tool_keeps_its_bound_by_both_measures_and_leaves_no_frame() -> None:
    protected = protect(FawkesTool(**MID))
    for borders in ("mirrored", "left_out"):
        assert (published_dssim(protected, borders) <= 1.1 * 0.012 + 1e-6).all()
    mirrored = protect(FawkesTool(**MID, ssim_borders="mirrored"))
    assert (published_dssim(mirrored, "left_out") > 1.1 * 0.012).any(), "nothing to be kept"
    change = (protected.images.float() - tiny_photos().images * 255).abs().mean(dim=1)
    frame = torch.ones(change.shape[1:], dtype=torch.bool)
    frame[1:-1, 1:-1] = False
    assert change[:, frame].mean() < 1.5 * change[:, ~frame].mean()


def test_the_last_iterate_is_published_as_the_tool_does_where_nothing_is_within_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Three photos are said to be a little beyond the bound whatever is done, and three too far for the tool as well.
    original = DSSIM.__call__
    beyond = torch.tensor([0.002, 0.002, 0.002, 1, 1, 1])
    monkeypatch.setattr(DSSIM, "__call__", lambda self, photos: original(self, photos) + beyond)
    settings = {"dssim_bound": 0.001, "steps": 6, "learning_rate": 2}
    assert protect(FawkesTool(**settings)).status == ("method_failed",) * 6
    saved = protect(FawkesTool(**settings, save_last_on_failed=True))
    assert saved.status == ("ok",) * 3 + ("method_failed",) * 3
    assert (saved.linf_255[:3] > 0).all()


def test_photos_that_moved_far_enough_are_not_touched_by_saving_the_last() -> None:
    kept, last = FawkesTool(**MID, save_last_on_failed=True), torch.tensor([0.0, 0.2, 0.2, 0.4, 0.2])
    chosen = kept.save_last(
        last, torch.tensor([0.5, 0.5, 0.1, 0.5, 0.5]), torch.tensor([0.01, 0.014, 0.01, 0.01, 0.016])
    )
    assert chosen.tolist() == [True, True, False, False, False]
    assert not FawkesTool(**MID).save_last(last, last + 1, torch.zeros(5)).any()


@pytest.mark.parametrize("method", [FawkesTool, FawkesPaper])
def test_a_photo_without_a_cloak_within_the_bound_comes_back_unchanged_and_failed(  # B8
    method: type[FawkesTool] | type[FawkesPaper], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first three photos are said to be beyond any bound.
    original = DSSIM.__call__
    monkeypatch.setattr(
        DSSIM, "__call__", lambda self, photos: original(self, photos) + torch.tensor([1.0, 1, 1, 0, 0, 0])
    )
    settings = {"dssim_bound": 0.01, "steps": 20, "learning_rate": 0.02 if method is FawkesPaper else 25}
    protected = protect(method(**settings))  # type: ignore[arg-type]
    assert protected.status == ("method_failed",) * 3 + ("ok",) * 3
    assert torch.equal(protected.images[:3].float(), tiny_photos().images[:3] * 255)
    assert "3 photos have no cloak within DSSIM 0.01" in caplog.text
    why = "no cloak within DSSIM 0.01 gained anything in 20 steps"
    assert protected.facts == {FAILED: dict.fromkeys(tiny_photos().image_id[:3], why)}


def test_a_target_that_is_the_photo_itself_leaves_it_alone() -> None:  # B9
    batch, context = tiny_photos(), tiny_context()
    method = FawkesPaper(steps=10)
    own = [model.embed(batch.images) for model in context.surrogates]
    assert (method.gain(batch.images, own, context).abs() <= 1e-6).all()
    kept = method.perturb(batch, own, context)
    returned = torch.where(kept.isnan(), batch.images, kept)
    assert (returned - batch.images).abs().max() <= 1 / 255


def test_the_target_is_the_stranger_farthest_from_everything_the_person_looks_like() -> None:
    batch, context = tiny_photos(), tiny_context()
    auxiliary = context.auxiliary
    assert auxiliary is not None and batch.references is not None
    model = context.surrogates[0]
    public = model.embed(auxiliary.images.float() / 255)
    for chosen_from in ("references", "photos"):
        (goals,) = FawkesPaper(candidates=24, chosen_from=chosen_from).fit(batch, context)
        for row in range(len(batch.images)):
            shown = batch.references[batch.owner[row]] if chosen_from == "references" else batch.images[[row]]
            looks = model.embed(shown)
            smallest = {
                name: min(
                    float((look - public[[n == name for n in auxiliary.identity]].mean(dim=0)).norm()) for look in looks
                )
                for name in auxiliary.identities()
            }
            farthest = max(smallest, key=lambda name: smallest[name])
            photos = public[[name == farthest for name in auxiliary.identity]]
            assert (photos - goals[row]).norm(dim=1).min() < 1e-5


def test_photos_of_a_person_share_the_stranger_and_draw_the_photo() -> None:
    batch, context = tiny_photos(), tiny_context()
    auxiliary = context.auxiliary
    assert auxiliary is not None
    (goals,) = FawkesPaper().fit(batch, context)
    public = context.surrogates[0].embed(auxiliary.images.float() / 255)
    rows = torch.cdist(goals, public).argmin(dim=1).tolist()
    names = [auxiliary.identity[row] for row in rows]
    assert names[:3] == names[3:], "the same three people, twice"
    assert rows[:3] != rows[3:], "each photo draws its own"


def test_the_paper_moves_towards_its_target_and_the_tool_away_from_itself() -> None:
    batch, context = tiny_photos(), tiny_context()
    paper = FawkesPaper(steps=60)
    goals = paper.fit(batch, context)
    after = protect(paper).images.float() / 255
    assert (paper.gain(after, goals, context) > paper.gain(batch.images, goals, context) + 0.2).all()
    after = protect(FawkesTool(**MID)).images.float() / 255
    own = context.surrogates[0].embed(batch.images)
    assert ((context.surrogates[0].embed(after) * own).sum(dim=1) < 0.9).all()


def test_too_few_candidates_are_refused() -> None:
    context = tiny_context()
    assert isinstance(context.auxiliary, FaceSet)
    few = replace(context, auxiliary=context.auxiliary.select(range(6)))
    with pytest.raises(ValueError, match=r"3 people, fewer than the 20 candidates.*method\.candidates"):
        FawkesPaper().protect(tiny_photos(), few)


def test_candidates_are_the_same_for_every_chunk_and_another_seed_draws_others() -> None:
    method, context = FawkesPaper(candidates=5), tiny_context()
    rows = method._candidate_rows(context)
    assert rows == method._candidate_rows(context)
    assert rows != method._candidate_rows(replace(context, seed=1))


def test_weight_follows_the_rules_of_the_tool() -> None:
    """Against a transcription of the rules, one photo at a time, on a random walk of DSSIM around the bound."""
    bound, photos, steps = 0.01, 4, 60
    walk = bound * (1 + 0.4 * torch.randn(steps, photos, generator=torch.Generator().manual_seed(1)))
    walk[:, 0], walk[:, 1] = 0.0, 2 * bound
    balance = SawTooth(torch.zeros(photos, 3, 2, 2), bound)
    weight, side, seen = [1.0] * photos, [1] * photos, []
    for dssim in walk:
        balance.adapt(dssim)
        for i, value in enumerate(dssim.tolist()):
            if value <= 0.9 * bound and weight[i] <= 129:
                weight[i], side[i] = (1.0 if side[i] == -1 else 2 * weight[i]), 1
            elif value >= 1.1 * bound and weight[i] >= 1 / 129:
                weight[i], side[i] = (1.0 if side[i] == 1 else weight[i] / 2), -1
            else:
                weight[i], side[i] = 1.0, 0
        assert balance.weight.tolist() == weight
        seen.append(list(weight))
    assert max(row[0] for row in seen) == 256 and min(row[1] for row in seen) == 1 / 256
    assert len({row[2] for row in seen}) > 3


def test_passes() -> None:
    # One forward and one backward per step and extractor; the tool's second forward embeds the clean photo again.
    twice = replace(tiny_context(), networks={NetworkKind.RECOGNISER: tiny_context().surrogates * 2})
    cost = FawkesTool(**MID | {"steps": 7}).protect(tiny_photos(), twice).cost
    assert (cost.forward_images, cost.backward_images) == (2 * 6 * (7 + 1), 2 * 6 * 7)
    cost = FawkesPaper(steps=7, candidates=20).protect(tiny_photos(), tiny_context()).cost
    assert (cost.forward_images, cost.backward_images) == (6 * 7 + 20 * 2 + 3 * 3, 6 * 7)


def test_a_photo_alone_is_the_photo_in_company() -> None:  # B18 for this method
    batch = tiny_photos()
    together = protect(FawkesTool(**MID)).images[:1]
    alone = replace(batch, images=batch.images[:1], image_id=batch.image_id[:1], owner=batch.owner[:1])
    assert torch.equal(FawkesTool(**MID).protect(alone, tiny_context()).images, together)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: FawkesTool(**MID | {"dssim_bound": 0}),
        lambda: FawkesTool(**MID | {"steps": 1}),
        lambda: FawkesTool(**MID, max_change_255=0),
        lambda: FawkesPaper(chosen_from="galleries"),
    ],  # type: ignore[arg-type]
)
def test_wrong_parameters_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r" is .*: it must be "):
        wrong()


def test_tanh_constant_is_the_codes() -> None:
    assert fawkes_module._SQUASH == 2 - 1e-6
