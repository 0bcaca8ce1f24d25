"""Parts of makeup methods: regions, histograms against sums done by hand, and the face that makeup is taken from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from cloakbench.bench.core.ranges import SettingError
from cloakbench.datasets.detection import Detection
from cloakbench.datasets.face_aligner import FaceAligner
from cloakbench.methods.parts.makeup.histogram import histogram_losses, matched
from cloakbench.methods.parts.makeup.reference import MakeupReference, makeup_strength
from cloakbench.methods.parts.makeup.regions import EYES, LIPS, SKIN, face_regions
from cloakbench.methods.parts.tiny_world import tiny_context

TEMPLATE = torch.tensor([[[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]]])
CPU = torch.device("cpu")


def test_regions_share_no_pixel_and_lie_where_they_should() -> None:
    regions = face_regions(TEMPLATE, 112, 112)
    assert regions.sum(dim=1).max() == 1
    assert regions[0, LIPS, 92, 56] == regions[0, EYES, 52, 38] == regions[0, EYES, 52, 74] == 1
    assert regions[0, SKIN, 72, 56] == regions[0, SKIN, 75, 35] == 1
    assert not regions[0, :, 5, 5].any()
    assert [round(float(size), -1) for size in regions.sum(dim=(2, 3))[0]] == [470, 920, 3460]


def test_regions_turn_with_the_face_and_a_face_without_points_has_none() -> None:
    turned = torch.stack([111 - TEMPLATE[..., 1], TEMPLATE[..., 0]], dim=-1)  # by a right angle
    one, other = face_regions(TEMPLATE, 112, 112), face_regions(turned, 112, 112)
    assert (one.rot90(-1, (2, 3)) != other).float().mean() < 0.002
    assert not face_regions(torch.full((1, 5, 2), float("nan")), 112, 112).any()


def test_matched_values_keep_their_order_and_have_the_others_distribution() -> None:
    values = torch.tensor([[3.0, 1.0, 2.0, 2.5]])
    assert torch.equal(matched(values, torch.tensor([[40.0, 10.0, 20.0, 30.0]])), torch.tensor([[40.0, 10, 20, 30]]))
    # Of two values the quantiles at 1/8, 3/8, 5/8 and 7/8 are those at places -0.25, 0.25, 0.75 and 1.25 of 0 to 1.
    torch.testing.assert_close(matched(values, torch.tensor([[0.0, 8.0]])), torch.tensor([[8.0, 0.0, 2.0, 6.0]]))


def test_the_loss_of_each_region_is_what_its_colours_lack() -> None:
    photo, reference = torch.full((1, 3, 4, 4), 0.5), torch.full((1, 3, 2, 2), 0.5)
    inside, other = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 2, 2)
    inside[0, LIPS, 0, :2] = 1
    other[0, LIPS, 0, 0] = 1
    reference[0, :, 0, 0] = torch.tensor([0.9, 0.5, 0.2])
    inside[0, SKIN, 2:] = 1
    other[0, SKIN, 1] = 1
    inside[0, EYES, 1, 0] = 1  # the reference has no eyes
    photo[0, 0, 2] = 0.7
    reference[0, 0, 1] = torch.tensor([0.5, 0.7])
    photo.requires_grad_()
    losses = histogram_losses(photo, inside, reference, other)
    # Lips: red lacks 0.4, blue has 0.3 too much. Skin: red is 0.5 four times and 0.7 four times; the quantiles of
    # (0.5, 0.7) at eight places are 0.5, 0.5, 0.525, 0.575, 0.625, 0.675, 0.7 and 0.7.
    lips = (0.4**2 + 0.3**2) / 3
    skin = 2 * (0.025**2 + 0.075**2) / 8 / 3
    torch.testing.assert_close(losses, torch.tensor([[lips, 0.0, skin]]))
    losses.sum().backward()
    assert photo.grad is not None and photo.grad[0, 0, 0, 0] < 0 < photo.grad[0, 2, 0, 0]
    assert not photo.grad[0, :, 1].any()


def redder(strength: float) -> Tensor:
    """A grey face with red lips, uint8 ``[3, 112, 112]``."""
    lips = face_regions(TEMPLATE, 112, 112)[0, LIPS]
    return (120 + strength * lips * torch.tensor([1.0, -0.5, -0.5]).view(3, 1, 1)).round().to(torch.uint8)


def test_the_reference_is_the_face_with_the_reddest_lips() -> None:
    faces = tiny_context().require_auxiliary().select([0, 1, 2])
    images = torch.stack([redder(strength) for strength in (10, 60, 30)])
    faces = replace(faces, images=images, landmarks=TEMPLATE.repeat(3, 1, 1))
    assert makeup_strength(faces).argsort(descending=True).tolist() == [1, 2, 0]
    found = MakeupReference().find(faces, 112, CPU)
    assert torch.equal((found.image * 255).round().to(torch.uint8)[0], images[1])
    half = MakeupReference().find(faces, 56, CPU)
    assert half.image.shape == (1, 3, 56, 56)
    assert float(half.regions[:, LIPS].sum()) == pytest.approx(float(found.regions[:, LIPS].sum()) / 4, rel=0.1)


class NoFace:
    """Finds a face nowhere."""

    def fingerprint(self) -> str:
        return "none"

    def detect(self, images: Sequence[Tensor]) -> list[Detection]:
        return [Detection(torch.zeros(0, 4), torch.zeros(0, 5, 2), torch.zeros(0)) for _ in images]


class FaceInTheMiddle(NoFace):
    def detect(self, images: Sequence[Tensor]) -> list[Detection]:
        return [Detection(torch.tensor([[20.0, 20, 90, 110]]), TEMPLATE + 10, torch.ones(1)) for _ in images]


def save(path: Path, pixels: Tensor) -> Path:
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
    return path


def test_a_file_is_aligned_and_its_digest_is_told(tmp_path: Path) -> None:
    crop = redder(60)
    padded = torch.full((3, 132, 132), 120, dtype=torch.uint8)
    padded[:, 10:122, 10:122] = crop
    photo = save(tmp_path / "photo.png", padded)
    reference = MakeupReference(photo, FaceAligner(FaceInTheMiddle()))
    found = reference.find(None, 112, CPU).image[0]
    assert (found - crop.float() / 255).abs().mean() < 0.01
    assert len(reference.fingerprint()) == 64 and MakeupReference().fingerprint() == ""
    aligned = MakeupReference(save(tmp_path / "crop.png", crop))
    assert torch.equal((aligned.find(None, 112, CPU).image[0] * 255).round().to(torch.uint8), crop)


def test_a_reference_without_a_face_or_a_file_is_one_line(tmp_path: Path) -> None:
    flat = save(tmp_path / "wall.png", torch.full((3, 60, 80), 99, dtype=torch.uint8))
    given = [
        (flat, FaceAligner(NoFace()), "a photo with a face on it, of which none was found"),
        (flat, None, "an aligned crop, as wide as high"),
        (tmp_path / "none.png", None, "No such file"),
    ]
    for file, align, words in given:
        with pytest.raises(SettingError, match=words) as problem:
            MakeupReference(file, align)
        assert "\n" not in str(problem.value) and str(problem.value).startswith("file is ")
