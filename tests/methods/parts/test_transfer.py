"""Views, filters and ensembles: what they are, and what is left without them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.base import Protector
from cloakbench.methods.conformance import FLIPPED_PIXELS
from cloakbench.methods.context import NetworkKind, ProtectContext
from cloakbench.methods.eot_ensemble import EOTEnsemble
from cloakbench.methods.eot_opom import EOTOPOM
from cloakbench.methods.facecloak_image import FaceCloakImage
from cloakbench.methods.mi_fgsm import MIFGSM
from cloakbench.methods.opom import OPOM
from cloakbench.methods.parts.gradient import Attack
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.objectives import Anchors, find_anchors, input_gradient
from cloakbench.methods.parts.opom_objectives import ClassCenter, OwnAndCenter
from cloakbench.methods.parts.tiny_world import select_photos, tiny_context, tiny_photos
from cloakbench.methods.parts.transfer.ensemble import Transfer
from cloakbench.methods.parts.transfer.gradient_filter import GradientFilter, Kernel, kernel_weights, smooth
from cloakbench.methods.parts.transfer.views import AffineViews, ResizeAndPad, grid_of
from cloakbench.methods.pgd import PGD
from cloakbench.methods.ti_dim import TIDIM

CPU = torch.device("cpu")


def every_part() -> Transfer:
    return Transfer(AffineViews(), GradientFilter(), "normalised")


def ensemble(count: int = 2) -> ProtectContext:
    """Networks that differ in their weights, and say so on their cards."""
    networks = []
    for number in range(count):
        model = tiny_context().surrogates[0].model
        stream = generator("another network", number)
        with torch.no_grad():
            for weight in (one for one in model.parameters() if one.ndim > 1):
                weight.add_(torch.randn(weight.shape, generator=stream, dtype=weight.dtype), alpha=0.02)
        model.card = replace(model.card, weights_sha256=f"digest {number}")  # type: ignore[arg-type]
        networks.append(model)
    return replace(tiny_context(), networks={NetworkKind.RECOGNISER: tuple(networks)})


def images(method: Protector, context: ProtectContext | None = None) -> Tensor:
    return method.protect(tiny_photos(), context or tiny_context()).images


def smooth_photos(count: int, side: int = 64) -> Tensor:
    coarse = torch.rand(count, 3, 6, 6, generator=generator("smooth photos"))
    return F.interpolate(coarse, size=side, mode="bicubic").clamp(0, 1)


class NamedPGD(EOTEnsemble):
    name = "pgd"  # the same draws


@pytest.mark.parametrize("transfer", [None, Transfer(), Transfer(ensemble="normalised")])
def test_one_surrogate_without_views_and_filter_is_pgd(transfer: Transfer | None) -> None:
    plain = NamedPGD(steps=10, objective="own", momentum_decay=0, least_surrogates=1, transfer=transfer)
    assert torch.equal(images(plain), images(PGD()))


@pytest.mark.parametrize("views", [AffineViews(1, 1, 0, 0, 0), ResizeAndPad(0.0), ResizeAndPad(1.0, 1.0)])
def test_views_without_strength_change_nothing(views: Any) -> None:
    photos = smooth_photos(3)
    assert torch.equal(views.see(photos, torch.rand(3, views.numbers, generator=generator("views"))), photos)
    assert torch.equal(images(PGD(transfer=Transfer(views, GradientFilter(size_px=1)))), images(PGD()))


def test_the_weakest_views_that_are_sampled_are_the_photos_but_for_rounding() -> None:
    photos = smooth_photos(3)
    hardly = AffineViews(1, 1 + 1e-9, 0, 0, 0)
    torch.testing.assert_close(
        hardly.see(photos, torch.rand(3, 5, generator=generator("x"))), photos, rtol=0, atol=1e-5
    )


def test_mirrors_alone_are_exact_and_as_frequent_as_said() -> None:
    photos = smooth_photos(400, side=8)
    draws = torch.rand(400, 5, generator=generator("mirrors"))
    seen = AffineViews(1, 1, 0, 0, mirror_probability=0.3).see(photos, draws)
    mirrored = (seen == photos.flip(-1)).flatten(1).all(dim=1)
    assert torch.equal(seen[~mirrored], photos[~mirrored]) and 0.25 < float(mirrored.float().mean()) < 0.35


@pytest.mark.parametrize("mirrored", [False, True])
def test_affine_views_agree_with_torchvision(mirrored: bool) -> None:
    from torchvision.transforms.functional import InterpolationMode, affine

    photos, side = smooth_photos(1), 64
    for size, turn, across, down in [(0, 0.5, 0.5, 0.5), (1, 1, 0.5, 0.5), (0.3, 0.2, 1, 0.25)]:
        views = AffineViews(0.8, 1.2, 20, 0.125, float(mirrored))
        seen = views.see(photos, torch.tensor([[size, turn, across, down, 0.5]]))
        shift = [round(0.125 * side * (2 * one - 1)) for one in (across, down)]  # 0, 8 and -4: torchvision's are whole
        photo = photos.flip(-1) if mirrored else photos
        expected = affine(photo, 20 * (2 * turn - 1), shift, 0.8 + 0.4 * size, [0.0, 0.0], InterpolationMode.BILINEAR)
        assert (seen - expected)[..., 16:-16, 16:-16].abs().max() < 0.002


def test_a_view_turns_and_moves_as_far_as_it_says_and_no_further() -> None:
    views = AffineViews(0.85, 1.1, 8, 0.05, 0.5)
    places = views.places(torch.rand(2000, 5, generator=generator("places")))
    scale = 1 / places[:, 1, :2].norm(dim=1)
    turn = torch.rad2deg(torch.atan2(-places[:, 1, 0], places[:, 1, 1]))
    centre = -torch.linalg.solve(places[:, :, :2], places[:, :, 2:]).squeeze(2) / 2  # in sides of the photo
    assert 0.85 <= float(scale.min()) < 0.86 and 1.09 < float(scale.max()) <= 1.1 + 1e-5
    assert 7.9 < float(turn.abs().max()) <= 8 + 1e-3 and 0.049 < float(centre.abs().max()) <= 0.05 + 1e-6
    assert abs(float((places[:, :, :2].det() < 0).float().mean()) - 0.5) < 0.05


def test_the_grid_of_views_is_that_of_torch() -> None:
    places = AffineViews().places(torch.rand(5, 5, generator=generator("grid")))
    expected = F.affine_grid(places, [5, 3, 112, 112], align_corners=False)
    torch.testing.assert_close(grid_of(places, 112), expected, rtol=0, atol=1e-6)


def test_resize_and_pad_puts_the_photo_where_the_draws_say() -> None:
    # Side 100 on a canvas of 110. Size 100 (no shrinking on the canvas), bottom right; then 110 -> 100.
    photo = torch.ones(3, 3, 100, 100)
    draws = torch.tensor([[0.0, 0.0, 0.999, 0.999], [0.0, 0.999, 0.0, 0.0], [0.9, 0.5, 0.5, 0.5]])
    moved = ResizeAndPad(0.5, 1.1).see(photo, draws)
    assert moved.shape == photo.shape
    assert torch.equal(moved[2], photo[2]), "not chosen"
    # 10 black canvas pixels are 9.09 of the output, at the top and left.
    assert not moved[0, :, :8].any() and (moved[0, :, 11:, 11:] > 0.999).all()
    # Size 109 at the origin: one canvas pixel is black, at the bottom and right.
    assert (moved[1, :, :98, :98] > 0.999).all() and (moved[1, :, -1, 50] < 0.6).all()


def test_resize_and_pad_agrees_with_two_resizes() -> None:
    photo = smooth_photos(1, side=112)
    moved = ResizeAndPad(1.0, 1.1).see(photo, torch.tensor([[0.0, 0.5, 0.5, 0.25]]))
    size, top, left = 112 + int(0.5 * 11), int(0.5 * 7), int(0.25 * 7)
    resized = F.interpolate(photo, size=size, mode="bilinear")
    padded = F.pad(resized, (left, 123 - size - left, top, 123 - size - top))
    expected = F.interpolate(padded, size=112, mode="bilinear")
    assert (moved - expected)[..., 8:-8, 8:-8].abs().max() < 0.01


@pytest.mark.parametrize("kernel", ["gaussian", "linear", "uniform"])
def test_filters_convolve(kernel: Kernel) -> None:
    weights = kernel_weights(kernel, 7)
    assert abs(float(weights.sum()) - 1) < 1e-6 and torch.equal(weights, weights.flip(0))
    picture = torch.randn(2, 3, 9, 9, generator=generator("kernel"))
    expected = F.conv2d(picture, torch.outer(weights, weights).expand(3, 1, 7, 7), padding=3, groups=3)
    torch.testing.assert_close(smooth(picture, weights), expected, rtol=0, atol=1e-6)
    assert torch.equal(GradientFilter(kernel, 1)(picture), picture)


def test_a_filtered_photo_does_not_notice_the_others() -> None:
    photos, smoothing = torch.randn(5, 3, 31, 20, generator=generator("filtered")), GradientFilter()
    together = smoothing(photos)
    assert all(torch.equal(smoothing(photos[:count]), together[:count]) for count in (1, 2, 4))
    photos[2, 1, 30, 19] = torch.inf
    broken = smoothing(photos)
    assert torch.equal(broken[[0, 1, 3, 4]], together[[0, 1, 3, 4]])
    assert torch.equal(broken[2, [0, 2]], together[2, [0, 2]]) and torch.equal(broken[2, :, :27], together[2, :, :27])


def test_kernels_are_those_of_the_paper() -> None:
    density = torch.distributions.Normal(0, 1).log_prob(torch.linspace(-3, 3, 7)).exp()
    torch.testing.assert_close(kernel_weights("gaussian", 7), density / density.sum())
    torch.testing.assert_close(kernel_weights("linear", 5), torch.tensor([1.0, 2, 3, 2, 1]) / 9)
    torch.testing.assert_close(kernel_weights("uniform", 5), torch.full((5,), 0.2))


class ByHand(MIFGSM):
    """TI-DIM before it was a setting of parts: four numbers, one sampling, one blur of the mean gradient."""

    name = "ti_dim"

    def gradient(self, photos: Tensor, attack: Attack) -> Tensor:
        draws = attack.streams.uniform(4)
        gradient = input_gradient(
            photos, attack.context.surrogates, attack.anchors.loss, lambda seen: self._diverse(seen, draws)
        )
        density = torch.linspace(-3, 3, 7, dtype=torch.float64).square().mul(-0.5).exp()
        weights, steps = (density / density.sum()).float(), torch.arange(photos.shape[-1])
        place = steps - steps[:, None] + 3
        band = torch.where((place >= 0) & (place < 7), weights[place.clamp(0, 6)], 0.0)
        return band @ gradient @ band

    @staticmethod
    def _diverse(photos: Tensor, draws: Tensor) -> Tensor:
        side, canvas = photos.shape[-1], math.floor(1.1 * photos.shape[-1])
        chosen, size, top, left = draws.unbind(dim=1)
        size = side + (size * (canvas - side)).floor()
        top, left = ((offset * (canvas - size + 1)).floor() for offset in (top, left))
        scale, zero = canvas / size, torch.zeros_like(size)
        across = torch.stack([scale, zero, (canvas - 2 * left) / size - 1], dim=1)
        down = torch.stack([zero, scale, (canvas - 2 * top) / size - 1], dim=1)
        grid = F.affine_grid(torch.stack([across, down], dim=1), list(photos.shape), align_corners=False)
        moved = F.grid_sample(photos, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        return torch.where((chosen < 0.5).view(-1, 1, 1, 1), moved, photos)


@pytest.mark.parametrize("count", [1, 2])
def test_ti_dim_is_a_setting_of_the_parts_to_the_byte(count: int) -> None:
    context = ensemble(count)
    assert torch.equal(images(TIDIM(), context), images(ByHand(), context))
    assert not torch.equal(images(TIDIM(), context), images(MIFGSM(), context))


def test_every_network_is_shown_views_of_its_own_or_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    original = AffineViews.see
    monkeypatch.setattr(
        AffineViews, "see", lambda self, photos, draws: seen.append(draws) or original(self, photos, draws)
    )
    for own in (True, False):
        seen.clear()
        images(PGD(steps=2, transfer=Transfer(AffineViews(for_each_network=own))), ensemble())
        first, second, *later = seen
        assert torch.equal(first, second) is not own
        assert len(later) == 2 and not any(torch.equal(one, other) for one in (first, second) for other in later)
        assert len({tuple(row) for row in first.tolist()}) == 6, "two photos have one view"


@pytest.mark.parametrize("count", [2, 3])
def test_the_order_of_networks_does_not_matter(count: int) -> None:
    context = ensemble(count)
    turned = replace(context, networks={NetworkKind.RECOGNISER: context.surrogates[::-1]})
    methods = (EOTEnsemble(transfer=every_part(), steps=6), EOTOPOM(OwnAndCenter(), steps=6, transfer=every_part()))
    for method in methods:
        one, other = images(method, context), images(method, turned)
        assert (one != other).float().mean() < 0.001
        assert (one != images(method, tiny_alone(context))).float().mean() > 0.05


def tiny_alone(context: ProtectContext) -> ProtectContext:
    """The first network, twice."""
    return replace(context, networks={NetworkKind.RECOGNISER: (context.surrogates[0],) * 2})


def test_no_network_outvotes_another_where_gradients_are_normalised() -> None:
    """A loss that is a thousand times as steep for one network changes nothing; in the mean it decides alone."""
    batch, context = tiny_photos(), ensemble()
    anchors = find_anchors("reference", batch, context)
    streams = ItemStreams(batch.image_id, "vote", device=CPU)

    def steep(surrogate: int, embeddings: Tensor) -> Tensor:
        return anchors.loss(surrogate, embeddings) * (1024 if surrogate == 0 else 1)

    for rule, same in ((Transfer(ensemble="normalised"), True), (Transfer(), False)):
        fair, unfair = (
            rule.begin(streams, context.surrogates, batch.images)(batch.images, loss) for loss in (anchors.loss, steep)
        )
        assert torch.equal(fair.sign(), unfair.sign()) is same
    alone = Transfer().begin(streams, tiny_alone(context).surrogates, batch.images)(
        batch.images, lambda _, e: anchors.loss(0, e)
    )
    assert (alone.sign() == unfair.sign()).float().mean() > 0.99


def test_normalised_gradients_have_one_size_for_every_photo_and_network() -> None:
    batch, context = tiny_photos(), tiny_context()
    gradients = Transfer(ensemble="normalised").begin(
        ItemStreams(batch.image_id, "size", device=CPU), context.surrogates, batch.images
    )
    gradient = gradients(batch.images, find_anchors("reference", batch, context).loss)
    torch.testing.assert_close(gradient.abs().mean(dim=(1, 2, 3)), torch.ones(6))


def test_photos_leave_the_sum_of_themselves_and_their_references() -> None:
    batch, context = tiny_photos(), tiny_context()
    (model,) = context.surrogates
    (points,) = find_anchors("own_and_reference", batch, context).points
    for row, image in enumerate(batch.images):
        others = model.embed(batch.require_references()[batch.owner[row]]).mean(dim=0)
        both = model.embed(image.unsqueeze(0))[0] + others
        torch.testing.assert_close(points[row], both / both.norm())
    assert isinstance(find_anchors("own_and_reference", batch, context), Anchors)


def test_a_mask_leaves_the_sum_of_each_photo_and_their_mean() -> None:
    clean = F.normalize(torch.randn(2, 4, 8, generator=generator("clean")), dim=-1)
    masked = F.normalize(torch.randn(2, 4, 8, generator=generator("masked")), dim=-1)
    expected = 0.0
    for person in range(2):
        for photo in range(4):
            both = clean[person, photo] + clean[person].mean(dim=0)
            expected -= float((masked[person, photo] - both / both.norm()).square().sum()) / 4
    assert abs(float(OwnAndCenter().loss(masked, clean, 0)) - expected) < 1e-5


@pytest.mark.parametrize(
    "method",
    [
        PGD(steps=3, transfer=every_part()),
        OPOM(ClassCenter(), steps=3, transfer=every_part()),
        FaceCloakImage(steps=3, transfer=every_part()),
        PGD(steps=3, transfer=Transfer(ResizeAndPad(), GradientFilter("uniform", 3))),
    ],
    ids=["pgd", "opom", "facecloak_image", "pgd resized"],
)
def test_views_of_a_photo_depend_on_no_other_photo(method: Protector) -> None:
    batch = tiny_photos()
    together = images(method)
    turned = method.protect(select_photos(batch, [4, 2, 0, 5, 1, 3], [2, 0, 1]), tiny_context()).images
    assert (turned != together[[4, 2, 0, 5, 1, 3]]).float().mean() < FLIPPED_PIXELS
    alone = method.protect(select_photos(batch, [1, 4], [1]), tiny_context()).images
    assert (alone != together[[1, 4]]).float().mean() < FLIPPED_PIXELS


def test_passes() -> None:
    batch, context = tiny_photos(), ensemble()
    cost = EOTEnsemble(steps=4, transfer=every_part()).protect(batch, context).cost
    # Two networks: 4 steps and nine references; one gradient each.
    assert (cost.forward_images, cost.backward_images) == (2 * (6 * 4 + 9), 2 * 6 * 4)
    too = EOTEnsemble(steps=4, objective="own_and_reference", transfer=every_part()).protect(batch, context).cost
    assert too.forward_images - cost.forward_images == 2 * 6, "each photo itself, too"
    cost = EOTOPOM(OwnAndCenter(), steps=4, transfer=every_part()).protect(batch, context).cost
    assert (cost.forward_images, cost.backward_images) == (2 * 9 * (4 + 1), 2 * 9 * 4)


@pytest.mark.parametrize("method", [EOTEnsemble(), EOTOPOM(OwnAndCenter())])
def test_an_ensemble_of_one_is_refused_in_one_line(method: Protector) -> None:
    with pytest.raises(
        ValueError, match=r"needs an ensemble of at least 2 surrogates, there is 1: name more"
    ) as problem:
        method.protect(tiny_photos(), tiny_context())
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: AffineViews(scale_low=0),
        lambda: AffineViews(scale_low=1.2),
        lambda: AffineViews(mirror_probability=2),
        lambda: AffineViews(shift_share=1),
        lambda: ResizeAndPad(rate=0.9),
        lambda: GradientFilter("round"),  # type: ignore[arg-type]
        lambda: GradientFilter(size_px=4),
        lambda: Transfer(ensemble="sum"),  # type: ignore[arg-type]
    ],
)
def test_wrong_parameters_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r" is .*: it must be "):
        wrong()
