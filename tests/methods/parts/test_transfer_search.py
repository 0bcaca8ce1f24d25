"""What the search for transfer looks at beside views, filters and ensembles: features, dropout, colours, budgets."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.base import Protector
from cloakbench.methods.conformance import FLIPPED_PIXELS
from cloakbench.methods.eot_ensemble import EOTEnsemble
from cloakbench.methods.opom import OPOM
from cloakbench.methods.parts.contrast_budget import ContrastBudget
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.objectives import find_anchors
from cloakbench.methods.parts.opom_objectives import ClassCenter
from cloakbench.methods.parts.tiny_world import select_photos, tiny_context, tiny_photos
from cloakbench.methods.parts.transfer.colours import ColourViews, CutOut
from cloakbench.methods.parts.transfer.convolutions import Convolution, after_convolutions
from cloakbench.methods.parts.transfer.dropout import SurrogateDropout
from cloakbench.methods.parts.transfer.ensemble import Transfer
from cloakbench.methods.parts.transfer.feature_loss import FeatureLoss
from cloakbench.methods.parts.transfer.views import AffineViews
from cloakbench.methods.pgd import PGD

CPU = torch.device("cpu")


def images(method: Protector) -> Tensor:
    return method.protect(tiny_photos(), tiny_context()).images


def eot(transfer: Transfer | None = None, **settings: Any) -> EOTEnsemble:
    return EOTEnsemble(**{"steps": 3, "least_surrogates": 1, **settings}, transfer=transfer)


class Calls(nn.Module):
    """The convolutions of a network of modules, as calls of functions: what an ONNX graph is."""

    def __init__(self, modules: nn.Module) -> None:
        super().__init__()
        for number, module in enumerate(modules):
            self.register_buffer(f"weight_{number}", module.weight.detach())
        self.groups = [module.groups for module in modules]

    def forward(self, x: Tensor) -> Tensor:
        for number, groups in enumerate(self.groups):
            x = F.conv2d(x, self.get_buffer(f"weight_{number}"), None, 1, 1, 1, groups).relu()
        return x


def mobile() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = (nn.Conv2d(3, 4, 3, bias=False, padding=1), nn.Conv2d(4, 4, 3, bias=False, padding=1, groups=4))
        return nn.Sequential(*layers, nn.Conv2d(4, 6, 1, bias=False, padding=1))


def test_convolutions_of_modules_and_of_calls_are_the_same_ones_in_their_order() -> None:
    layers, pixels = mobile(), torch.rand(2, 3, 8, 8, generator=generator("calls"))
    modules = nn.Sequential(*[part for layer in layers for part in (layer, nn.ReLU())])
    answers, seen = [], []
    for network in (modules, Calls(layers)):
        found: list[tuple[Convolution, Tensor]] = []

        def halve(convolution: Convolution, maps: Tensor, found: Any = found) -> Tensor:
            found.append((convolution, maps))
            return maps / 2

        with after_convolutions(network, halve):
            answers.append(network(pixels))
        seen.append(found)
        assert not torch.allclose(network(pixels), answers[-1]), "something stayed behind"
    assert torch.equal(*answers)
    kinds = [Convolution(3, False), Convolution(3, True), Convolution(1, False)]
    assert [[kind for kind, _ in found] for found in seen] == [kinds, kinds]
    assert all(torch.equal(one[1], other[1]) for one, other in zip(*seen, strict=True))


@pytest.mark.parametrize(
    ("after", "dropped"),
    [("spatial", [1, 1, 0]), ("spatial_dense", [1, 0, 0]), ("dense", [1, 0, 1]), ("every", [1, 1, 1])],
)
def test_dropout_is_where_it_says_and_keeps_the_mean(after: Any, dropped: list[int]) -> None:
    layers, rule = mobile(), SurrogateDropout(0.25, after)
    streams, photos = ItemStreams(["one", "two"], "dropout", device=CPU), torch.rand(2, 3, 40, 40)
    maps: list[Tensor] = []

    def keep(convolution: Convolution, found: Tensor) -> Tensor:
        maps.append(found)
        return found

    with torch.no_grad(), rule.active(layers, streams), after_convolutions(layers, keep):
        layers(photos)
    shares = [float((found[..., 2:-2, 2:-2] == 0).float().mean()) for found in maps]  # 1x1 ones leave a frame
    assert shares == pytest.approx([0.25 * one for one in dropped], abs=0.03)
    with torch.no_grad(), after_convolutions(layers, keep):
        layers(photos)
    ratio = maps[0].abs().mean() / maps[3].abs().mean()
    assert 0.95 < float(ratio) < 1.05


def test_parts_without_strength_give_pgd_to_the_byte() -> None:
    class Named(EOTEnsemble):
        name = "pgd"  # the same draws

    none = Transfer(
        colours=ColourViews(0, 0, 0),
        cut_outs=CutOut(0),
        dropout=SurrogateDropout(0),
        features=FeatureLoss(feature_share=0),
    )
    flat = ContrastBudget(1, 1)
    plain = Named(steps=10, objective="own", momentum_decay=0, least_surrogates=1, transfer=none, perceptual=flat)
    assert torch.equal(images(plain), images(PGD()))


@pytest.mark.parametrize(
    "transfer",
    [
        Transfer(features=FeatureLoss("distance"), views=AffineViews()),
        Transfer(features=FeatureLoss("importance", copies=3)),
        Transfer(dropout=SurrogateDropout(0.2)),
        Transfer(colours=ColourViews(), views=AffineViews(), cut_outs=CutOut(1.0), views_per_step=2),
    ],
    ids=["distance", "importance", "dropout", "views"],
)
def test_no_photo_hangs_on_another(transfer: Transfer) -> None:
    batch, method = tiny_photos(), eot(transfer, perceptual=ContrastBudget())
    together = images(method)
    assert torch.equal(together, images(method))
    assert (together != images(eot())).float().mean() > 0.05
    turned = method.protect(select_photos(batch, [4, 2, 0, 5, 1, 3], [2, 0, 1]), tiny_context()).images
    assert (turned != together[[4, 2, 0, 5, 1, 3]]).float().mean() < FLIPPED_PIXELS
    assert OPOM(ClassCenter(), steps=2, transfer=transfer).protect(batch, tiny_context()).status == ("ok",) * 6


@pytest.mark.parametrize("kind", ["distance", "importance"])
def test_a_feature_loss_moves_maps_further_than_the_objective_does(kind: Any) -> None:
    batch, context = tiny_photos(), tiny_context()
    (model,) = context.surrogates

    def maps(photos: Tensor) -> Tensor:
        found: list[Tensor] = []
        with after_convolutions(model.model, lambda _, one: found.append(one) or one), torch.no_grad():
            model.embed(photos)
        return found[round(0.5 * (len(found) - 1))]

    clean = maps(batch.images)
    if kind == "distance":
        moved = [
            (maps(images(eot(transfer, steps=8)).float() / 255) - clean).square().mean()
            for transfer in (Transfer(features=FeatureLoss(kind)), None)
        ]
        assert moved[0] > 1.1 * moved[1]
        return
    # What FIA's weights are for: without dropped pixels and at the photos themselves they are the objective's gradient.
    anchors = find_anchors("reference", batch, context)
    streams = ItemStreams(batch.image_id, "importance", device=CPU)
    rule = Transfer(features=FeatureLoss(kind, depth=1, copies=1, kept_share=1))
    slope = rule.begin(streams, context.surrogates, batch.images)(batch.images, anchors.loss)
    exact = Transfer().begin(streams, context.surrogates, batch.images)(batch.images, anchors.loss)
    cosine = F.cosine_similarity(slope.flatten(1), exact.flatten(1), dim=1)
    assert (cosine > 0.999).all()


def test_passes_of_features_and_views() -> None:
    batch, context = tiny_photos(), tiny_context()
    expected = {  # six photos, four steps, and nine references
        Transfer(views_per_step=3): (6 * 12 + 9, 6 * 12),
        Transfer(features=FeatureLoss("distance")): (6 * 8 + 9, 6 * 4),
        Transfer(features=FeatureLoss("importance", copies=5)): (6 * (4 + 5 + 1) + 9, 6 * (4 + 5)),
    }
    for transfer, passes in expected.items():
        cost = eot(transfer, steps=4).protect(batch, context).cost
        assert (cost.forward_images, cost.backward_images) == passes


def test_colours_and_cut_outs_are_what_they_say() -> None:
    photos = torch.full((2, 3, 20, 20), 0.75)
    photos[1] = 0.5
    bright, low = ColourViews(0.1, 0.2, 0).see(photos, torch.tensor([[1.0, 1, 0, 0, 0], [0, 0, 1, 1, 1]]))
    torch.testing.assert_close(bright, torch.full((3, 20, 20), 0.5 + 0.25 * 1.2 + 0.1))
    torch.testing.assert_close(low, torch.full((3, 20, 20), 0.4))
    tinted = ColourViews(0, 0, 0.1).see(photos[:1], torch.tensor([[0.5, 0.5, 1, 0.5, 0]]))[0, :, 0, 0]
    torch.testing.assert_close(tinted, 0.5 + 0.25 * torch.tensor([1.1, 1.0, 0.9]))
    cut = CutOut(0.5, 0.2, 0.2).see(
        photos[:1].repeat(3, 1, 1, 1), torch.tensor([[0.4, 0, 0, 1], [0.4, 0, 1, 0.5], [0.6, 0, 0, 0]])
    )
    assert torch.equal(cut[0] == 0.5, _square(0, 16)) and torch.equal(cut[1] == 0.5, _square(16, 8))
    assert not (cut[2] == 0.5).any()


def _square(top: int, left: int) -> Tensor:
    whole = torch.zeros(3, 20, 20, dtype=torch.bool)
    whole[:, top : top + 4, left : left + 4] = True
    return whole


def test_a_contrast_budget_keeps_its_mean_and_follows_the_deviation() -> None:
    photos = torch.full((2, 3, 32, 32), 0.5)
    photos[0, :, :, 16:] = torch.rand(32, 16, generator=generator("busy"))
    rule = ContrastBudget(0.6, 0.2, 3)
    shares = rule.shares(photos)
    torch.testing.assert_close(shares.mean(dim=(1, 2, 3)), torch.tensor([0.6, 0.6]))
    assert float(shares[0, 0, :, :14].max()) == pytest.approx(0.2) and float(shares[0, 0, :, 18:].mean()) > 0.95
    torch.testing.assert_close(shares[1], torch.full((1, 32, 32), 0.6))
    torch.testing.assert_close(ContrastBudget(0.75, 0.75).shares(photos), torch.full((2, 1, 32, 32), 0.75))
    change = (images(eot(perceptual=ContrastBudget(0.5, 0.1))) / 255 - tiny_photos().images).abs() * 255
    assert float((change - 8 * ContrastBudget(0.5, 0.1).shares(tiny_photos().images)).max()) <= 0.501
    assert 6 < float(change.max()) <= 8.001


def test_schedules_have_the_mean_step_and_fall() -> None:
    for schedule in ("constant", "linear", "cosine"):
        sizes = [eot(steps=10, step_255=2, step_schedule=schedule).step_at(number) for number in range(10)]
        assert sum(sizes) / 10 == pytest.approx(2) and sizes == sorted(sizes, reverse=True)
        assert (sizes[0] == sizes[-1]) is (schedule == "constant")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: FeatureLoss("depth"),  # type: ignore[arg-type]
        lambda: FeatureLoss(depth=1.5),
        lambda: FeatureLoss(copies=0),
        lambda: SurrogateDropout(1),
        lambda: SurrogateDropout(after="1x1"),  # type: ignore[arg-type]
        lambda: ColourViews(contrast=1),
        lambda: CutOut(side_low=0.5),
        lambda: ContrastBudget(0.2, 0.3),
        lambda: ContrastBudget(window_px=4),
        lambda: Transfer(views_per_step=0),
        lambda: EOTEnsemble(step_schedule="halved"),  # type: ignore[arg-type]
    ],
)
def test_wrong_parameters_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r" is .*: it must be ") as problem:
        wrong()
    assert "\n" not in str(problem.value)


def test_a_feature_loss_is_refused_where_no_recogniser_is_attacked() -> None:
    method = PGD(steps=2, objective="attributes", transfer=Transfer(features=FeatureLoss()))
    with pytest.raises(ValueError, match=r"^a feature loss is for objectives of recognisers: set "):
        images(method)
