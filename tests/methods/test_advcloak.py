"""AdvCloak, oracles B6: the norm, hulls, photos that are all alike, and one first stage for five methods."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.engine.training import train_stages
from cloakbench.bench.store.store import Store
from cloakbench.datasets.base import FaceSet
from cloakbench.methods.advcloak import AdvCloak
from cloakbench.methods.advfaces import AdvFaces
from cloakbench.methods.advfaces_plus import AdvFacesPlus
from cloakbench.methods.base import Budget
from cloakbench.methods.context import Kept, MemoryCheckpoint, ProtectContext
from cloakbench.methods.parts.gan.stages import Subspace, subspace_cosine
from cloakbench.methods.parts.tiny_world import REFERENCES, tiny_context, tiny_photos

SUBSPACES: tuple[Subspace, ...] = get_args(Subspace)
STAGE_1: dict[str, Any] = {"width": 4, "discriminator_width": 4, "image_epochs": 1, "batch": 16}
FAST: dict[str, Any] = {**STAGE_1, "person_epochs": 2, "people_per_batch": 8, "person_learning_rate": 1e-3}
UNIT = {"surrogates": ["one"], "auxiliary": "faces", "seed": 0}


def features(people: int, photos: int) -> tuple[Tensor, Tensor]:
    """Unit features of photos, clean and under a mask: gathered around each person's own direction."""
    draw = generator("features")
    center = torch.randn(people, 1, 16, generator=draw)
    clean, moved = (center + 0.5 * torch.randn(people, photos, 16, generator=draw) for _ in range(2))
    return F.normalize(clean, dim=-1).flatten(0, 1), F.normalize(moved, dim=-1).flatten(0, 1)


def with_photos(context: ProtectContext, each: int) -> ProtectContext:
    """The same auxiliary people, each with their first photo so many times."""
    faces = context.require_auxiliary()
    rows = [rows[0] for rows in faces.rows_by_identity().values() for _ in range(each)]
    names = tuple(f"{faces.identity[row]}-{place}" for place, row in enumerate(rows))
    people = tuple(faces.identity[row] for row in rows)
    return replace(context, auxiliary=FaceSet(faces.images[rows], names, people))


@pytest.mark.parametrize("subspace", SUBSPACES)
def test_the_cosine_of_each_person_is_that_of_the_nearest_point_of_their_photos_alone(subspace: Subspace) -> None:
    clean, moved = features(2, 4)
    together = subspace_cosine(moved, clean, (4, 4), subspace)
    apart = [subspace_cosine(moved[rows], clean[rows], (4,), subspace) for rows in (slice(0, 4), slice(4, 8))]
    torch.testing.assert_close(together, torch.stack(apart).mean())


def test_subspaces_are_what_their_names_say() -> None:
    clean, moved = features(1, 4)
    cosine = {subspace: float(subspace_cosine(moved, clean, (4,), subspace)) for subspace in SUBSPACES}
    assert cosine["own"] == pytest.approx(float((clean * moved).sum(dim=1).mean()), abs=1e-6)
    mean = clean.mean(dim=0)
    assert cosine["center"] == pytest.approx(float((moved @ mean).mean() / mean.norm()), abs=1e-6)
    differences = (clean[1:] - clean[0]).T
    shares = torch.linalg.lstsq(differences, (moved - clean[0]).T).solution
    points = clean[0] + (differences @ shares).T
    assert cosine["affine"] == pytest.approx(float(F.cosine_similarity(points, moved, dim=1).mean()), abs=1e-5)
    inside = torch.tensor([[0.4, 0.3, 0.2, 0.1]]) @ clean
    assert float(subspace_cosine(inside.expand(4, -1), clean, (4,), "convex")) == pytest.approx(1, abs=1e-5)
    assert len({round(value, 4) for value in cosine.values()}) == 4


@pytest.mark.parametrize("subspace", ["own", "center"])
def test_the_gradient_is_that_of_the_cosine_to_fixed_points(subspace: Subspace) -> None:
    clean, moved = (part.double() for part in features(1, 4))
    leaf = moved.clone().requires_grad_()
    (ours,) = torch.autograd.grad(subspace_cosine(leaf, clean, (4,), subspace), leaf)
    small = 1e-6 * torch.randn(moved.shape, generator=generator("small")).double()
    grown = subspace_cosine(moved + small, clean, (4,), subspace) - subspace_cosine(moved, clean, (4,), subspace)
    assert float(grown) == pytest.approx(float((ours * small).sum()), rel=1e-4)


@pytest.mark.parametrize("subspace", SUBSPACES)
def test_of_photos_that_are_all_alike_every_subspace_gives_the_loss_of_stage_one(subspace: Subspace) -> None:
    clean, moved = features(1, 1)
    own = float((clean * moved).sum())
    assert float(subspace_cosine(moved.repeat(5, 1), clean.repeat(5, 1), (5,), subspace)) == pytest.approx(
        own, abs=1e-5
    )


def test_masks_have_the_norm_of_the_paper_and_cost_one_pass_for_each_photo_of_the_person() -> None:
    method, batch, context = AdvCloak(match_norm={"linf": None, "l2": 1200}, **FAST), tiny_photos(), tiny_context()
    context = replace(context, trained=method.run_training(context).tensors)
    masks = method.fit(batch, context)
    assert masks.shape == (3, *batch.images.shape[1:])
    assert (255 * masks.flatten(1).norm(dim=1) - 1200).abs().max() < 1e-2
    order = [2, 0, 1]
    names = tuple(tuple(row[place] for place in order) for row in batch.reference_id)
    turned = replace(batch, references=batch.require_references()[:, order], reference_id=names)
    torch.testing.assert_close(method.fit(turned, context), masks)
    cost = method.protect(batch, context).cost
    assert (cost.forward_images, cost.backward_images) == (REFERENCES * 3, 0)
    assert method.budget == Budget("l2", 1200)


def test_stage_two_starts_from_stage_one_and_changes_it_by_the_official_rate_hardly_at_all() -> None:
    context = tiny_context()
    method = AdvCloak(**{**FAST, "person_learning_rate": 2e-8, "person_epochs": 1})
    trained = method.run_training(context).tensors
    for name, value in trained["image_masks"].items():
        assert (trained["person_masks"][name] - value).abs().max() <= 1e-6
    faster = AdvCloak(**FAST).run_training(context).tensors["person_masks"]
    assert (faster["generator.last.weight"] - trained["image_masks"]["generator.last.weight"]).abs().max() > 1e-3


def test_the_convex_hull_begins_with_the_centre_and_says_so_where_it_never_gets_further() -> None:
    context = tiny_context()
    context = replace(context, trained=AdvFaces(**STAGE_1).run_training(context).tensors)

    def weights(subspace: Subspace, warmup_epochs: int) -> Tensor:
        method = AdvCloak(subspace, warmup_epochs=warmup_epochs, **FAST)
        return method.run_stage(method.stages()[1], context).tensors["person_masks"]["generator.last.weight"]

    center = weights("center", 0)
    assert torch.equal(weights("convex", 2), center) and not torch.equal(weights("convex", 1), center)
    assert AdvCloak("convex", warmup_epochs=2, **FAST).notes() == (
        "the warm-up lasts all of stage 2, so the convex hull is never used: this is the class centre",
    )
    assert AdvCloak("convex", warmup_epochs=1, **FAST).notes() == () == AdvCloak("center", **FAST).notes()
    assert AdvCloak("center", warmup_epochs=3, **FAST).stages() == AdvCloak("center", warmup_epochs=9, **FAST).stages()


def test_stage_one_is_trained_once_for_five_methods_and_every_ball(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    for stage in AdvCloak(**FAST).stages():
        kind, run = type(stage), type(stage).run
        monkeypatch.setattr(kind, "run", lambda one, given, run=run: (ran.append(one.name), run(one, given))[1])
    methods = [AdvFacesPlus(**STAGE_1), *(AdvCloak(subspace, **FAST) for subspace in SUBSPACES)]
    methods += [AdvFaces(**STAGE_1), AdvFacesPlus(match_norm={"l2": 1200}, **STAGE_1)]
    methods += [AdvCloak(match_norm={"linf": 8}, **FAST)]
    for method in methods:
        assert train_stages(Store(tmp_path), method, tiny_context(), UNIT, "masks") is not None
    assert sorted(ran) == ["image_masks"] + ["person_masks"] * 4


class Killed(MemoryCheckpoint):
    """The process ends at a random step of those that are left."""

    def __init__(self) -> None:
        super().__init__()
        self.draws = generator("moments")
        self.wait()

    def wait(self) -> None:
        """Until the next end."""
        self.left = int(torch.randint(1, 3, (), generator=self.draws))

    def save(self, kept: Kept) -> None:
        super().save(kept)
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_killed_at_ten_random_moments_the_training_ends_with_equal_weights() -> None:
    method, context = AdvCloak("convex", warmup_epochs=1, **{**FAST, "image_epochs": 3}), tiny_context()
    whole, kills = method.run_training(context), 0
    for stage in method.stages():
        killed = Killed()
        while True:
            killed.wait()
            try:
                again = method.run_stage(stage, replace(context, checkpoint=killed))
                break
            except KeyboardInterrupt:
                kills += 1
        expected = whole.tensors[stage.name]
        assert all(torch.equal(value, again.tensors[stage.name][name]) for name, value in expected.items())
        context = replace(context, trained={**context.trained, **again.tensors})
    assert kills >= 8


def test_a_second_stage_that_diverges_is_one_line() -> None:
    method, context = AdvCloak(**{**FAST, "person_learning_rate": 1e30}), tiny_context()
    with pytest.raises(
        ValueError, match=r"diverged at step \d of 6: lower method\.person_learning_rate \(the"
    ) as problem:
        method.run_training(context)
    assert "\n" not in str(problem.value)


def test_people_with_one_photo_teach_nothing_and_nobody_else_is_one_line() -> None:
    method, context = AdvCloak(**FAST), with_photos(tiny_context(), 1)
    context = replace(context, trained=AdvFaces(**STAGE_1).run_training(context).tensors)
    with pytest.raises(ValueError, match="auxiliary people with at least two photos") as problem:
        method.run_stage(method.stages()[1], context)
    assert "\n" not in str(problem.value)


def test_passes_of_stage_two_are_those_of_its_photos() -> None:
    method, context = AdvCloak(photos_per_person=2, **FAST), with_photos(tiny_context(), 3)
    context = replace(context, trained=AdvFaces(**STAGE_1).run_training(context).tensors)
    cost = method.run_stage(method.stages()[1], context).cost
    people = len(context.require_auxiliary().identities())
    assert cost.backward_images == 2 * 2 * people
    assert cost.forward_images == (3 + 2 * 2) * people, "the clean photos once, and two epochs"
