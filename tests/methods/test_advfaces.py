"""AdvFaces and AdvFaces+, oracles B3: means of masks, their norm, and a training that survives its end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from cloakbench.methods.advfaces import AdvFaces
from cloakbench.methods.advfaces_plus import AdvFacesPlus
from cloakbench.methods.base import Budget
from cloakbench.methods.context import Kept, MemoryCheckpoint, ProtectContext
from cloakbench.methods.parts.tiny_world import REFERENCES, tiny_context, tiny_photos
from cloakbench.methods.photo_batch import PhotoBatch

FAST: dict[str, Any] = {"width": 4, "discriminator_width": 4, "image_epochs": 2, "batch": 8}


def trained_context(method: AdvFaces) -> ProtectContext:
    context = tiny_context()
    return replace(context, trained=method.run_training(context).tensors)


def with_references(batch: PhotoBatch, order: list[int]) -> PhotoBatch:
    names = tuple(tuple(row[place] for place in order) for row in batch.reference_id)
    return replace(batch, references=batch.require_references()[:, order], reference_id=names)


def test_the_mean_mask_does_not_depend_on_the_order_of_photos_and_has_the_norm_asked_for() -> None:
    method = AdvFacesPlus(match_norm={"l2": 1200}, **FAST)
    context = trained_context(method)
    one, other = (method.fit(with_references(tiny_photos(), order), context) for order in ([0, 1, 2], [2, 0, 1]))
    torch.testing.assert_close(one, other)
    assert (255 * one.flatten(1).norm(dim=1) - 1200).abs().max() < 1e-2
    assert method.budget == Budget("l2", 1200)


def test_of_one_photo_the_mask_of_the_person_is_that_of_the_photo() -> None:
    plus = AdvFacesPlus(match_norm={"linf": 8}, **FAST)
    context, batch = trained_context(plus), tiny_photos()
    photos = batch.require_references()[:, 0]
    mask = plus.fit(with_references(batch, [0]), context)
    torch.testing.assert_close(mask, plus.match.scaled(plus.generated(photos, context)))
    alone = AdvFaces(match_norm={"linf": 8}, **FAST)
    own = alone.perturb(replace(batch, images=photos), None, context) - photos
    torch.testing.assert_close(own, mask, atol=1e-6, rtol=1e-4)


def test_a_photo_costs_one_pass_of_the_generator_and_a_person_one_for_each_of_theirs() -> None:
    batch = tiny_photos()
    for method, passes in ((AdvFaces(**FAST), len(batch.images)), (AdvFacesPlus(**FAST), REFERENCES * 3)):
        context = trained_context(method)
        cost = method.protect(batch, replace(context, networks=tiny_context().networks)).cost
        assert (cost.forward_images, cost.backward_images) == (passes, 0)


def test_without_a_ball_a_photo_may_change_by_anything_and_stays_valid() -> None:
    method = AdvFaces(**FAST)
    assert method.budget is None and method.max_change_255 == 255
    outcome = method.protect(tiny_photos(), trained_context(method))
    assert outcome.status == ("ok",) * 6 and outcome.images.dtype == torch.uint8


def test_one_training_serves_both_and_every_ball() -> None:
    plain = AdvFaces(**FAST)
    for other in (AdvFacesPlus(**FAST), AdvFacesPlus(match_norm={"l2": 1200}, **FAST), AdvFaces(**FAST)):
        assert other.stages() == plain.stages()
    assert AdvFaces(soft_labels=True, **FAST).stages() != plain.stages()


@pytest.mark.slow
def test_training_lowers_the_loss_and_shrinks_masks_towards_the_hinge() -> None:
    def outcome(epochs: int, hinge: float) -> tuple[float, float]:
        method = AdvFaces(**{**FAST, "image_epochs": epochs, "learning_rate": 2e-3, "hinge": hinge})
        context = trained_context(method)
        (model,), photos = context.surrogates, tiny_photos().images
        masks = method.generated(photos, context)
        with torch.no_grad():
            cosine = (model.embed((photos + masks).clamp(0, 1)) * model.embed(photos)).sum(dim=1).mean()
        return float(cosine), float(masks.flatten(1).norm(dim=1).mean())

    (first, _), (last, short), (_, free) = outcome(1, 3), outcome(6, 3), outcome(6, 1000)
    assert last < first - 0.1
    assert 3 < short < free / 3, "nothing but the hinge keeps masks small"


class Killed(MemoryCheckpoint):
    """The process ends when the stage has been kept so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = times

    def save(self, kept: Kept) -> None:
        super().save(kept)
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("soft_labels", [False, True])
def test_a_training_that_is_killed_again_and_again_ends_with_equal_weights(soft_labels: bool) -> None:
    method, context = AdvFaces(soft_labels=soft_labels, **FAST), tiny_context()
    (stage,) = method.stages()
    whole = method.run_stage(stage, context)
    killed, told, kills = Killed(3), [], 0
    while True:
        killed.left = 3
        try:
            resumed = method.run_stage(
                stage, replace(context, checkpoint=killed, progress=lambda done, total: told.append((done, total)))
            )
            break
        except KeyboardInterrupt:
            kills += 1
    assert kills == 4 and [done for done, _ in told] == [1, 2, 4, 5, 7, 8, 10, 11], "no step is taken twice"
    tensors: dict[str, Tensor] = dict(whole.tensors["image_masks"])
    assert all(torch.equal(value, resumed.tensors["image_masks"][name]) for name, value in tensors.items())
    assert (resumed.cost.forward_images, resumed.cost.backward_images) == (
        whole.cost.forward_images,
        whole.cost.backward_images,
    )


def test_passes_of_the_training_are_those_of_the_recogniser() -> None:
    context, method = tiny_context(), AdvFaces(**FAST)
    cost, faces = method.run_training(context).cost, len(context.require_auxiliary())
    assert (cost.forward_images, cost.backward_images) == (3 * faces, 2 * faces)


def test_a_training_that_diverges_is_one_line() -> None:
    method = AdvFaces(**{**FAST, "learning_rate": 1e30})
    with pytest.raises(ValueError, match=r"masks diverged at step \d of 12: lower method\.learning_rate") as problem:
        method.run_training(tiny_context())
    assert "\n" not in str(problem.value)


def test_a_single_auxiliary_face_is_one_line() -> None:
    context = tiny_context()
    single = replace(context, auxiliary=context.require_auxiliary().select([0]))
    with pytest.raises(ValueError, match="at least two auxiliary faces"):
        AdvFaces(**FAST).run_training(single)
