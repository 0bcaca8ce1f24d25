"""GD-UAP, oracles B1: no photo in the loss, the bound, the rescue, layers that answer more strongly."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.base import Budget
from cloakbench.methods.context import NetworkKind, ProtectContext
from cloakbench.methods.gd_uap import GDUAP
from cloakbench.methods.parts.gd_uap_training import MaskSearch, energy_layers, log_energies
from cloakbench.methods.parts.tiny_world import SIDE, tiny_context, tiny_photos
from cloakbench.models.backbones.inception_resnet_v1 import InceptionResnetV1
from cloakbench.models.backbones.ir_se import IRSE
from cloakbench.models.backbones.iresnet import IResNet
from cloakbench.models.backbones.mobile_face import MobileFace
from cloakbench.models.backbones.mobilefacenet import MobileFaceNet
from cloakbench.models.backbones.se_resnet import FaceResNet

EPSILON = 8 / 255


def trained(context: ProtectContext | None = None, **settings: object) -> dict[str, Tensor]:
    method = GDUAP(8, **{"iterations": 40, **settings})  # type: ignore[arg-type]
    return dict(method.run_training(context or tiny_context()).tensors["energy_mask"])


def other_faces(context: ProtectContext) -> ProtectContext:
    faces = context.require_auxiliary()
    return replace(context, auxiliary=replace(faces, images=255 - faces.images))


def test_the_loss_sees_no_photo() -> None:
    """With one check there is no choice, and whatever faces there are give the same mask."""
    one, other = trained(), trained(other_faces(tiny_context()))
    assert torch.equal(one["mask"], other["mask"]) and one["cosine"] != other["cosine"]
    with_faces = [trained(context, prior="with_data") for context in (tiny_context(), other_faces(tiny_context()))]
    assert not torch.equal(with_faces[0]["mask"], with_faces[1]["mask"])


def test_the_mask_keeps_the_bound_and_fills_most_of_it() -> None:
    mask = trained(learning_rate_255=1.0)["mask"].abs()
    assert mask.max() <= EPSILON
    assert (mask == EPSILON).float().mean() > 0.3


def test_every_layer_answers_more_strongly_than_to_random_signs_of_equal_norm() -> None:
    context = tiny_context()
    (model,) = context.surrogates
    mask = trained(iterations=300, learning_rate_255=1.0)["mask"]
    sign = torch.empty_like(mask).uniform_(-1, 1, generator=generator("signs")).sign()
    sign *= mask.norm() / sign.norm()
    with torch.no_grad():
        ours, random = (log_energies(model, 0.5 + noise) for noise in (mask, sign))
    assert len(ours) == 2 and bool((ours > random).all())


def test_a_mask_that_has_filled_up_and_stands_still_is_halved() -> None:
    search = MaskSearch((3, 4, 4), EPSILON, tiny_context())
    with torch.no_grad():
        search.raw.fill_(3 * EPSILON)
    assert not search.stuck(), "its share of full values has just changed"
    assert search.stuck()
    search.halve()
    assert search.raw.abs().max() == torch.tensor(1.5 * EPSILON)
    with torch.no_grad():
        search.raw[..., :2].zero_()
    assert not search.stuck() and not search.stuck(), "half full is not full"


def test_the_check_at_a_rescue_is_of_the_full_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    left_alone = trained(iterations=1)["mask"]
    monkeypatch.setattr(MaskSearch, "stuck", lambda search: True)
    assert torch.equal(trained(iterations=1)["mask"], left_alone)


def test_the_best_of_all_checks_is_kept_and_ten_worse_ones_end_the_search() -> None:
    search = MaskSearch((3, 4, 4), EPSILON, tiny_context())
    search.judge(torch.tensor(0.5), 1)
    best = search.best.clone()
    with torch.no_grad():
        search.raw.neg_()
    search.judge(torch.tensor(0.6), 2)
    assert torch.equal(search.best, best) and int(search.misses) == 1
    search.judge(torch.tensor(0.4), 3)
    assert torch.equal(search.best, -best) and int(search.misses) == 0
    still = trained(iterations=200, check_every=1, learning_rate_255=1e-6)
    assert int(still["steps"]) < 200


def test_one_pass_per_iteration_without_data_and_none_per_person() -> None:
    context, method = tiny_context(), GDUAP(8, iterations=30, check_every=20)
    faces = len(context.require_auxiliary())
    training = method.run_training(context)
    assert training.cost.backward_images == 30
    assert training.cost.forward_images == 30 + 3 * faces, "clean faces and two checks"
    outcome = method.protect(tiny_photos(), replace(context, trained=training.tensors))
    assert (outcome.cost.forward_images, outcome.cost.backward_images) == (0, 0)
    assert outcome.facts["rounds"] in (20, 30) and outcome.facts["auxiliary_cosine"] < 1
    batch = GDUAP(8, iterations=2, prior="with_range", batch=5).run_training(tiny_context())
    assert batch.cost.backward_images == 10


def test_another_ball_scales_the_mask_and_trains_nothing_anew() -> None:
    plain, matched = GDUAP(8, iterations=5), GDUAP(8, iterations=5, match_norm={"l2": 300})
    assert plain.stages() == matched.stages()
    assert (plain.budget, matched.budget) == (Budget("linf", 8), Budget("l2", 300))
    context = replace(tiny_context(), trained=plain.run_training(tiny_context()).tensors)
    used = matched.protect(tiny_photos(), context).l2_255
    assert used.sub(300).abs().max() < 3, "but for rounding"


def test_activations_and_residual_blocks_are_listened_to_and_a_network_without_any_is_one_line() -> None:
    class TinyBlock(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Conv2d(3, 3, 1), nn.PReLU())

    names = [type(layer).__name__ for layer in energy_layers(nn.Sequential(TinyBlock(), nn.MaxPool2d(2)))]
    assert names == ["TinyBlock", "PReLU"]
    with pytest.raises(ValueError, match="no layers") as problem:
        energy_layers(nn.Flatten())
    assert "\n" not in str(problem.value)


def test_of_every_embedded_family_residual_blocks_are_heard_once_and_no_more() -> None:
    """Blocks beside the activations: of a whole body or stage the last block has been heard already."""
    with torch.device("meta"):
        blocks = {
            IResNet([1, 2, 1, 1]): 5,
            IRSE([1, 2, 1, 1], gate=True): 5,
            FaceResNet(blocks=[1, 2, 1, 1], gate=False): 5,
            MobileFaceNet(): 15,
            MobileFace(): 15,
            InceptionResnetV1(): 21,
        }
    for network, count in blocks.items():
        kinds = [type(layer).__name__ for layer in energy_layers(network)]
        assert sum("ReLU" not in kind for kind in kinds) == count, kinds


def test_an_ensemble_averages() -> None:
    context = tiny_context()
    twice = replace(context, networks={NetworkKind.RECOGNISER: context.surrogates * 2})
    torch.testing.assert_close(trained(twice)["mask"], trained(context)["mask"])


def test_the_mask_has_the_size_of_the_auxiliary_faces() -> None:
    assert trained(iterations=1)["mask"].shape == (1, 3, SIDE, SIDE)
