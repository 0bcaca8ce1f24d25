"""DeepBlur (part D): width 0 is the reconstruction; the wider the low-pass, the less like the person."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cloakbench.methods.context import ProtectContext
from cloakbench.methods.deepblur import DeepBlur
from cloakbench.methods.parts.gan.networks import with_weights
from cloakbench.methods.parts.obfuscation.face_code import MEAN_CODE, FaceCode, low_pass
from cloakbench.methods.parts.tiny_world import similarity, tiny_context, tiny_photos, trained_context

SHORT = {"width": 8, "training_steps": 120}


def published(cells: float, context: ProtectContext) -> Tensor:
    return DeepBlur(cells, **SHORT).protect(tiny_photos(), context).images.float() / 255


@pytest.fixture(scope="module")
def context() -> ProtectContext:
    return trained_context(DeepBlur(**SHORT))


def test_width_0_is_the_reconstruction_and_nearer_to_the_photo_than_its_colours(context: ProtectContext) -> None:
    weights = dict(context.trained["face_code"])
    del weights[MEAN_CODE]
    network, photos = with_weights(lambda: FaceCode(8, 32), weights), tiny_photos().images
    with torch.no_grad():
        made = (255 * network(photos)).round().clamp(0, 255) / 255
    found = published(0, context)
    assert torch.equal(found, made)
    assert (found - photos).abs().mean() < (photos.mean(dim=(2, 3), keepdim=True) - photos).abs().mean()


def test_the_cosine_to_the_original_falls_with_the_width(context: ProtectContext) -> None:
    found = [similarity(tiny_photos(), published(cells, context)) for cells in (0, 0.5, 1, 4)]
    assert found == sorted(found, reverse=True) and found[0] > found[-1] + 0.1


def test_without_end_the_low_pass_leaves_the_mean_code_and_a_constant() -> None:
    code, mean = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0)), torch.ones(1, 3, 6, 6)
    assert low_pass(code, mean, 0) is code
    left = low_pass(code, mean, 100.0) - mean
    assert left.flatten(2).std(dim=2).max() < 0.1 * code.flatten(2).std(dim=2).min()
    torch.testing.assert_close(low_pass(mean, mean, 2.0), mean)


def test_every_width_shares_one_training() -> None:
    assert DeepBlur(0).stages() == DeepBlur(4.0).stages()


def test_one_auxiliary_face_and_a_negative_width_are_one_line() -> None:
    context = tiny_context()
    alone = ProtectContext({}, context.require_auxiliary().select([0]))
    with pytest.raises(ValueError, match=r"^training deepblur needs at least two auxiliary faces: set dataset\.aux"):
        DeepBlur(**SHORT).run_training(alone)
    with pytest.raises(ValueError, match=r"^low_pass_cells is -1: it must be a finite number of at least 0$"):
        DeepBlur(-1)
