"""The losses of Invisible-Face against plain computations, and oracle C10."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.core.ranges import SettingError
from cloakbench.methods.parts.invisible import losses
from cloakbench.methods.parts.invisible.features import SurrogateFeatures
from cloakbench.methods.parts.invisible.losses import LossWeights
from cloakbench.methods.parts.tiny_world import TinyAttributes, tiny_photos
from cloakbench.models.base import Purifier


def random(*shape: int, name: str = "photos") -> Tensor:
    return torch.rand(*shape, generator=generator("invisible losses", name))


def test_weights_are_those_of_equation_20() -> None:
    weights = LossWeights()
    five = (weights.adversarial, weights.perturbation, weights.naturalness, weights.semantic, weights.resilient)
    assert five == (0.4, 0.1, 0.15, 0.15, 0.2) and sum(five) == pytest.approx(1)
    assert (weights.gan, weights.discrepancy, weights.variation) == (0.1, 1, 1e-4)
    assert weights.perceptual == weights.contextual == 0.5


@pytest.mark.parametrize("name", ["adversarial", "gan", "variation"])
def test_a_weight_below_zero_is_named(name: str) -> None:
    with pytest.raises(SettingError, match=name):
        LossWeights(**{name: -0.1})  # type: ignore[arg-type]


def test_the_adversarial_loss_is_what_is_left_for_the_clean_answer() -> None:
    scores = {"two": torch.tensor([[2.0, 0.0], [0.0, 1.0]]), "three": torch.tensor([[0.0, 1.0, 0.5], [3.0, 0.0, 0.0]])}
    labels = {"two": torch.tensor([0, 0]), "three": torch.tensor([1, 2])}
    expected = 0.0
    for name, rows in scores.items():
        for row, label in zip(rows.tolist(), labels[name].tolist(), strict=True):
            left = math.exp(row[label]) / sum(map(math.exp, row))
            expected -= math.log(1 - left + 1e-6) / 2
    assert float(losses.adversarial_loss(scores, labels)) == pytest.approx(expected, rel=1e-5)


def test_the_adversarial_loss_is_finite_and_falls_as_the_answer_is_left() -> None:
    labels = {"two": torch.zeros(1, dtype=torch.long)}
    sure, unsure, gone = (
        float(losses.adversarial_loss({"two": torch.tensor([[score, 0.0]])}, labels)) for score in (1e4, 0.0, -1e4)
    )
    assert sure == pytest.approx(-math.log(1e-6), rel=1e-3)
    assert sure > unsure > gone and gone == pytest.approx(0, abs=1e-5)


def test_the_perturbation_loss_is_a_norm_and_no_square() -> None:
    mask = torch.full((2, 3, 112, 112), 8 / 255)
    assert float(losses.perturbation_loss(mask)) == pytest.approx(6.09, abs=0.01)  # the number of the spec


def test_the_discrepancy_is_that_of_plain_loops() -> None:
    clean, protected = random(5, 3, 32, 32), random(5, 3, 32, 32, name="others")
    small = [255 * nn.functional.adaptive_avg_pool2d(photos, 28).flatten(1).double() for photos in (protected, clean)]
    distances = [float((small[1][i] - small[1][j]).square().sum()) for i in range(5) for j in range(i + 1, 5)]
    width = sorted(distances)[4]  # the lower median of ten, as torch has it
    expected = 0.0
    for scale in (0.5, 1, 2):
        for one, other, sign in ((0, 0, 1), (1, 1, 1), (0, 1, -2)):
            for a in small[one]:
                for b in small[other]:
                    expected += sign * math.exp(-float((a - b).square().sum()) / (2 * scale * width)) / 25
    assert float(losses.discrepancy(clean, protected)) == pytest.approx(expected, rel=1e-3)
    assert float(losses.discrepancy(clean, clean)) == pytest.approx(0, abs=1e-6)


def test_variation_is_of_the_protected_photo_and_has_a_gradient() -> None:
    clean, mask = random(2, 3, 16, 16), (random(2, 3, 16, 16, name="mask") - 0.5) / 20
    mask.requires_grad_()
    protected = clean + mask
    plain = LossWeights(discrepancy=0)
    of_photo = losses.naturalness_loss(clean, protected, mask, plain)
    here = protected[:, :, :-1, :-1]
    down, right = protected[:, :, 1:, :-1] - here, protected[:, :, :-1, 1:] - here
    expected = (down.square() + right.square()).sqrt().sum(dim=(1, 2, 3)).mean() * 1e-4
    torch.testing.assert_close(of_photo, expected, rtol=1e-4, atol=1e-7)
    (gradient,) = torch.autograd.grad(of_photo, mask)
    assert gradient.abs().sum() > 0
    of_mask = losses.naturalness_loss(clean, protected, mask, LossWeights(discrepancy=0, variation_of="mask"))
    assert of_mask < of_photo


def plain_cx(ours: Tensor, theirs: Tensor) -> float:
    """Equations 1 to 4 of the contextual loss for one photo whose features are ``[C, P]``, by loops."""
    count = ours.shape[1]
    distance = [
        [1 - float(torch.cosine_similarity(ours[:, i], theirs[:, j], dim=0)) for j in range(count)]
        for i in range(count)
    ]
    shares = []
    for row in distance:
        weights = [math.exp((1 - value / (min(row) + 1e-5)) / 0.5) for value in row]
        shares.append([weight / sum(weights) for weight in weights])
    return sum(max(shares[i][j] for i in range(count)) for j in range(count)) / count


def test_contextual_similarity_is_that_of_plain_loops() -> None:
    ours, theirs = random(1, 6, 3, 3, name="ours").double(), random(1, 6, 3, 3, name="theirs").double()
    centre = theirs.mean(dim=(0, 2, 3), keepdim=True)
    expected = plain_cx((ours - centre).flatten(2)[0], (theirs - centre).flatten(2)[0])
    assert float(losses.similarity(ours, theirs)) == pytest.approx(expected, rel=1e-5)
    assert float(losses.similarity(theirs, theirs)) > 0.99
    logs = [-math.log(expected), -math.log(float(losses.similarity(theirs, theirs)))]
    found = losses.contextual_loss([ours, theirs], [theirs, theirs])
    assert float(found) == pytest.approx(sum(logs) / 2, rel=1e-5, abs=1e-6), (
        "the mean of logarithms, not theirs of a sum"
    )


def test_distance_of_features_is_that_of_lpips_with_ones() -> None:
    ours, theirs = random(2, 6, 4, 4, name="ours"), random(2, 6, 4, 4, name="theirs")
    unit = [maps / maps.norm(dim=1, keepdim=True) for maps in (ours, theirs)]
    expected = (unit[0] - unit[1]).square().sum(dim=1).mean(dim=(1, 2)).mean()
    torch.testing.assert_close(losses.feature_distance([ours], [theirs]), expected)
    assert float(losses.feature_distance([theirs], [theirs])) == 0


def test_the_game_is_one_of_least_squares() -> None:
    clean, protected = torch.tensor([0.8, 1.4]), torch.tensor([0.3, -0.2])
    assert float(losses.generator_game_loss(protected)) == pytest.approx((0.7**2 + 1.2**2) / 4)
    expected = (0.2**2 + 0.4**2 + 0.3**2 + 0.2**2) / 4
    assert float(losses.discriminator_loss(clean, protected)) == pytest.approx(expected)


def test_at_strength_zero_the_resilient_loss_is_the_adversarial_one() -> None:  # C10
    photos, model = tiny_photos().images, TinyAttributes()
    labels = {name: scores.argmax(dim=1) for name, scores in model.logits(photos).items()}
    purifier = Purifier(nn.AvgPool2d(3, 1, 1))
    untouched = purifier.purify(photos, torch.zeros(6))
    assert torch.equal(untouched, photos)
    plain, resilient = (losses.adversarial_loss(model.logits(seen), labels) for seen in (photos, untouched))
    assert torch.equal(plain, resilient)
    halfway = purifier.purify(photos, torch.full((6,), 0.5))
    torch.testing.assert_close(halfway, (photos + purifier.purify(photos)) / 2)


def test_features_come_from_the_passes_that_are_made_anyway_and_leave_no_hooks() -> None:
    model, photos = TinyAttributes(), tiny_photos().images
    before = [len(module._forward_hooks) for module in model.modules()]
    features = SurrogateFeatures(model, photos[:1])
    with features.kept() as maps:
        model.logits(photos)
    assert [tuple(found.shape[2:]) for found in maps] == [(8, 8)] and len(maps[0]) == 6
    assert [len(module._forward_hooks) for module in model.modules()] == before


def test_a_network_without_maps_is_one_line() -> None:
    class Flat(nn.Module):
        def logits(self, images: Tensor) -> dict[str, Tensor]:
            return {"two": images.flatten(1)[:, :2]}

    with pytest.raises(ValueError, match=r"Flat makes no feature maps .* set method\.weights\.semantic=0"):
        SurrogateFeatures(Flat(), tiny_photos().images)
