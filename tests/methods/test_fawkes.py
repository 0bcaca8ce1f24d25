"""Oracles B5 to B9: Fawkes as the paper has it and as it was released."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from cloakbench.datasets.base import FaceSet
from cloakbench.methods import fawkes as fawkes_module
from cloakbench.methods.base import CountedRecogniser, Protected, Resources, Workbench
from cloakbench.methods.fawkes import Fawkes, FawkesPaper
from cloakbench.methods.fawkes_v1 import FawkesTool, SawTooth
from cloakbench.methods.parts.dssim import DSSIM
from cloakbench.methods.tiny_world import tiny_people, tiny_resources

MID: dict[str, Any] = {"dssim_bound": 0.012, "steps": 40, "learning_rate": 20}


def protect(method: Fawkes) -> Protected:
    return method.protect(tiny_people(), tiny_resources())


def published_dssim(protected: Protected) -> Tensor:
    return DSSIM(tiny_people().images)(protected.images.float() / 255)


def workbench(resources: Resources) -> Workbench:
    return Workbench(
        tuple(map(CountedRecogniser, resources.surrogates)), resources.auxiliary, resources.seed, resources.device
    )


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
    people = tiny_people()
    images = torch.linspace(0, 1, people.images.numel()).view_as(people.images)
    method = FirstPhoto(**MID | {"steps": 2})
    method.perturb(
        replace(people, images=images), method.fit(people, workbench(tiny_resources())), workbench(tiny_resources())
    )
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
    assert torch.equal(protected.images[:3].float(), tiny_people().images[:3] * 255)
    assert "3 photos have no cloak within DSSIM 0.01" in caplog.text


def test_a_target_that_is_the_photo_itself_leaves_it_alone() -> None:  # B9
    people, bench = tiny_people(), workbench(tiny_resources())
    method = FawkesPaper(steps=10)
    own = [model.embed(people.images) for model in bench.surrogates]
    assert (method.gain(people.images, own, bench).abs() <= 1e-6).all()
    kept = method.perturb(people, own, bench)
    returned = torch.where(kept.isnan(), people.images, kept)
    assert (returned - people.images).abs().max() <= 1 / 255


def test_the_target_is_the_stranger_farthest_from_everything_the_person_looks_like() -> None:
    people, resources = tiny_people(), tiny_resources()
    bench = workbench(resources)
    auxiliary = resources.auxiliary
    assert auxiliary is not None and people.references is not None
    model = resources.surrogates[0]
    public = model.embed(auxiliary.images.float() / 255)
    for chosen_from in ("references", "photos"):
        (goals,) = FawkesPaper(candidates=24, chosen_from=chosen_from).fit(people, bench)
        for row in range(len(people.images)):
            shown = people.references[people.person[row]] if chosen_from == "references" else people.images[[row]]
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
    people, resources = tiny_people(), tiny_resources()
    auxiliary = resources.auxiliary
    assert auxiliary is not None
    (goals,) = FawkesPaper().fit(people, workbench(resources))
    public = resources.surrogates[0].embed(auxiliary.images.float() / 255)
    rows = torch.cdist(goals, public).argmin(dim=1).tolist()
    names = [auxiliary.identity[row] for row in rows]
    assert names[:3] == names[3:], "the same three people, twice"
    assert rows[:3] != rows[3:], "each photo draws its own"


def test_the_paper_moves_towards_its_target_and_the_tool_away_from_itself() -> None:
    people, resources = tiny_people(), tiny_resources()
    bench = workbench(resources)
    paper = FawkesPaper(steps=60)
    goals = paper.fit(people, bench)
    after = protect(paper).images.float() / 255
    assert (paper.gain(after, goals, bench) > paper.gain(people.images, goals, bench) + 0.2).all()
    after = protect(FawkesTool(**MID)).images.float() / 255
    own = resources.surrogates[0].embed(people.images)
    assert ((resources.surrogates[0].embed(after) * own).sum(dim=1) < 0.9).all()


def test_too_few_candidates_are_refused() -> None:
    resources = tiny_resources()
    assert isinstance(resources.auxiliary, FaceSet)
    few = replace(resources, auxiliary=resources.auxiliary.select(range(6)))
    with pytest.raises(ValueError, match=r"3 people, fewer than the 20 candidates.*method\.candidates"):
        FawkesPaper().protect(tiny_people(), few)


def test_candidates_are_the_same_for_every_chunk_and_another_seed_draws_others() -> None:
    method, resources = FawkesPaper(candidates=5), tiny_resources()
    rows = method._candidate_rows(workbench(resources))
    assert rows == method._candidate_rows(workbench(resources))
    assert rows != method._candidate_rows(workbench(replace(resources, seed=1)))


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
    twice = replace(tiny_resources(), surrogates=tiny_resources().surrogates * 2)
    cost = FawkesTool(**MID | {"steps": 7}).protect(tiny_people(), twice).cost
    assert (cost.forward_images, cost.backward_images) == (2 * 6 * (7 + 1), 2 * 6 * 7)
    cost = FawkesPaper(steps=7, candidates=20).protect(tiny_people(), tiny_resources()).cost
    assert (cost.forward_images, cost.backward_images) == (6 * 7 + 20 * 2 + 3 * 3, 6 * 7)


def test_a_photo_alone_is_the_photo_in_company() -> None:  # B18 for this method
    people = tiny_people()
    together = protect(FawkesTool(**MID)).images[:1]
    alone = replace(people, images=people.images[:1], image_id=people.image_id[:1], person=people.person[:1])
    assert torch.equal(FawkesTool(**MID).protect(alone, tiny_resources()).images, together)


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
