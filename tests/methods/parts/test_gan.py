"""The game of generator and discriminator: nothing leaks from one into the other, and what each minimises."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.parts.gan.adversarial import GameBatch, GameRules, MaskGame
from cloakbench.methods.parts.gan.networks import MaskGenerator, PatchDiscriminator, drawn, with_weights
from cloakbench.methods.parts.tiny_world import tiny_context, tiny_photos

RULES = GameRules(width=4, discriminator_width=4, hinge=3.0, soft_labels=False)


def game(rules: GameRules = RULES) -> MaskGame:
    return MaskGame.drawn(rules, 1e-3, tiny_context())


def batch(photos: Tensor | None = None, shares: tuple[int, ...] | None = None, weight: float = 10.0) -> GameBatch:
    (model,) = tiny_context().surrogates
    photos = tiny_photos().images if photos is None else photos
    clean = model.embed(photos).detach()
    return GameBatch(photos, shares, lambda protected: weight * (model.embed(protected) * clean).sum(dim=1).mean())


def play(one: MaskGame, given: GameBatch | None = None) -> Tensor:
    return one.step(given or batch(), generator("labels"))


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_mask_has_the_size_of_its_photo_also_where_that_is_no_multiple_of_four() -> None:
    network = MaskGenerator(4)
    for shape in ((2, 3, 32, 32), (1, 3, 30, 37)):
        masks = network(torch.zeros(shape))
        assert masks.shape == shape and masks.abs().max() <= 1


def test_no_mask_depends_on_its_batch_and_with_batch_norm_it_does() -> None:
    photos = tiny_photos().images
    for norms, depends in (("instance_layer", False), ("batch", True)):
        network = drawn(lambda norms=norms: MaskGenerator(4, 1, norms), "test")  # type: ignore[misc]
        with torch.no_grad():
            apart = (network(photos)[:1] - network(photos[:1])).abs().max()
        assert bool(apart > 1e-4) is depends


def test_patches_are_judged_one_by_one() -> None:
    network = PatchDiscriminator(4)
    assert network(torch.zeros(2, 3, 112, 112)).shape == (2, 1, 3, 3)
    assert [type(layer) for layer in network].count(nn.Conv2d) == 6
    assert not dict(network.named_buffers()), "its norms keep no statistics, so a step on one is no step on another"


def test_equal_streams_draw_equal_weights_and_trained_ones_are_frozen() -> None:
    one, other, third = (drawn(lambda: MaskGenerator(4), name).state_dict() for name in ("a", "a", "b"))
    assert equal(one, other) and not equal(one, third)
    network = with_weights(lambda: MaskGenerator(4), one)
    assert not network.training and not any(weight.requires_grad for weight in network.parameters())


def test_the_generators_loss_is_fooling_plus_identity_plus_hinge() -> None:
    """Written out; the second is that of the discriminator on constants, after the generator's step."""
    one, given = game(), batch()
    before = copy.deepcopy(one)
    losses = play(one, given)
    photos = given.photos
    with torch.no_grad():
        masks = before.generator(2 * photos - 1)
        protected = (photos + masks).clamp(0, 1)
        fooled = F.softplus(-before.discriminator(2 * protected - 1)).mean()
        hinge = masks.flatten(1).norm(dim=1).clamp(min=3).mean()
        torch.testing.assert_close(losses[0], fooled + given.identity(protected) + hinge)
        real = F.softplus(-before.discriminator(2 * photos - 1)).mean()
        fake = F.softplus(before.discriminator(2 * protected - 1)).mean()
        torch.testing.assert_close(losses[1], real + fake)


class Spy(torch.optim.SGD):
    """Keeps the gradients that its own network and the other one had when it was asked to step."""

    def __init__(self, own: nn.Module, other: nn.Module) -> None:
        super().__init__(own.parameters(), lr=0.1)
        self.networks = own, other
        self.seen: list[list[Tensor | None]] = []

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        self.seen = [
            [None if weight.grad is None else weight.grad.clone() for weight in network.parameters()]
            for network in self.networks
        ]
        super().step()


def test_no_gradient_of_the_generators_loss_reaches_the_discriminator_and_none_of_its_own_the_generator() -> None:
    one = game()
    first, second = Spy(one.generator, one.discriminator), Spy(one.discriminator, one.generator)
    one.optimisers = [first, second]  # type: ignore[list-item]
    play(one)
    own, of_discriminator = first.seen
    assert of_discriminator == [None] * len(of_discriminator), "when the generator steps"
    _, of_generator = second.seen
    for before, after in zip(own, of_generator, strict=True):
        assert before is not None and after is not None and torch.equal(before, after), "when the discriminator steps"
    assert all(weight.requires_grad for weight in one.discriminator.parameters())


def test_surrogates_get_no_gradients() -> None:
    context = tiny_context()
    (model,) = context.surrogates
    photos = tiny_photos().images
    game().step(GameBatch(photos, None, lambda seen: model.embed(seen).sum()), generator("labels"))
    assert all(weight.grad is None for weight in model.parameters())


def test_a_mask_shared_by_equal_photos_is_the_mask_of_the_photo() -> None:
    photos = tiny_photos().images[:1].repeat(4, 1, 1, 1)
    alone, shared = (play(game(), batch(photos, shares)) for shares in (None, (4,)))
    torch.testing.assert_close(alone, shared)
    own, mean = (play(game(), batch(tiny_photos().images, shares))[0] for shares in (None, (3, 3)))
    assert not torch.isclose(own, mean), "photos that differ have a mean of their own"


@pytest.mark.parametrize("soft", [False, True])
def test_labels_are_hard_or_soft_with_the_last_of_a_batch_swapped(soft: bool) -> None:
    one = game(GameRules(4, 4, 3.0, soft))
    answers = torch.zeros(40, 1, 2, 2)
    real, fake = (one._labels(answers, kind, generator("labels")) for kind in (True, False))
    if not soft:
        assert bool((real == 1).all()) and bool((fake == 0).all())
        return
    for labels, low, high in ((real, 0.9, 1.0), (fake, 0.0, 0.1)):
        plain, swapped = labels[:38], labels[38:]
        assert plain.min() >= low and plain.max() <= high and float(plain.std()) > 0.01
        assert swapped.min() >= 0.9 - low - 1e-6 and swapped.max() <= 1.0 - low + 1e-6
        assert bool(((swapped > 0.5) != (plain.mean() > 0.5)).all())


def test_playing_on_from_what_an_earlier_game_left_leaves_that_as_it_was() -> None:
    left = game().weights()
    before = {name: value.clone() for name, value in left.items()}
    on = MaskGame.of(RULES, 1e-3, left)
    play(on)
    assert equal(before, left) and not equal(before, on.weights())
    assert {name.partition(".")[0] for name in left} == {"generator", "discriminator"}
