"""APF: the phone's gradient, the server that sees noise only, the universal part; B1 to B4 are exact."""

from __future__ import annotations

import inspect
from dataclasses import replace

import pytest
import torch

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.apf import APF
from cloakbench.methods.base import Workbench
from cloakbench.methods.parts.apf_enhancer import DRAWS, Enhancer, diversify
from cloakbench.methods.tiny_world import SIDE, tiny_people, tiny_resources

SHAPE = (3, SIDE, SIDE)
EPSILON = 8 / 255
FAST = {"width": 4, "epochs": 2, "batch": 6}


def noise(*shape: int) -> torch.Tensor:
    return EPSILON * (2 * torch.rand(*shape, generator=generator("apf noise")) - 1)


def test_without_another_photo_and_without_a_random_start_the_phone_sends_nothing() -> None:
    """B1: at the photo itself the distance to its own embedding has no gradient."""
    people, bench = tiny_people(), Workbench.of(tiny_resources())
    method = APF(8, **FAST)
    # Without the random changes of light and size the embedding stays exactly where it was.
    known = bench.surrogates[0].embed(people.images).detach()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cloakbench.methods.apf.diversify", lambda photos, draws: photos)
        sent = method.device_noise(people.images, people.image_id, known, bench.surrogates[0], bench)
    assert not sent.any()
    with pytest.raises(ValueError, match="random_start"):
        APF(8, anchor="own")
    assert APF(8, anchor="own", random_start=True).needs == {"surrogates", "auxiliary"}


def test_a_silent_network_and_an_identity_mix_publish_the_clipped_universal_perturbation() -> None:
    """B2."""
    server = Enhancer.drawn(4, SHAPE, EPSILON, "test")
    universal = 2 * noise(1, *SHAPE)
    with torch.no_grad():
        server.up[-1].weight.zero_()
        server.up[-1].bias.zero_()
        server.get_buffer("universal").copy_(universal)
        published = server(noise(2, *SHAPE))
    torch.testing.assert_close(published, universal.clamp(-EPSILON, EPSILON).expand(2, *SHAPE))


def test_what_the_server_publishes_lies_within_the_budget() -> None:
    """B3, for a server whose weights are far too large."""
    server = Enhancer.drawn(4, SHAPE, EPSILON, "test")
    with torch.no_grad():
        for weights in server.parameters():
            weights.mul_(50)
        published = server(noise(3, *SHAPE))
    assert published.abs().max() <= EPSILON
    assert (published.abs() == EPSILON).any()


def test_the_server_takes_noise_and_nothing_else() -> None:
    """B4: its signature has no room for a photo."""
    assert list(inspect.signature(Enhancer.forward).parameters) == ["self", "noise"]
    with pytest.raises(TypeError):
        Enhancer.drawn(4, SHAPE, EPSILON, "test")(noise(1, *SHAPE), torch.zeros(1, *SHAPE))


def test_passes_are_ten_of_the_probe_per_photo_and_training_is_counted_apart() -> None:
    people, resources = tiny_people(), tiny_resources()
    method = APF(8, **FAST)
    learnt = method.learn(resources)
    assert resources.auxiliary is not None
    photos = len(resources.auxiliary)
    universal = photos
    assert learnt.cost.backward_images == photos * (10 + 2) + universal
    cost = method.protect(people, replace(resources, learnt=learnt.tensors)).cost
    assert cost.backward_images == 10 * len(people.images)
    assert cost.forward_images == 10 * len(people.images) + len(people.identities)


def test_training_moves_photos_further_than_the_untrained_server() -> None:
    people, resources = tiny_people(), tiny_resources()
    model = resources.surrogates[0]
    with torch.no_grad():
        clean = model.embed(people.images)

    def similarity(epochs: int, learning_rate: float) -> float:
        method = APF(8, universal_255=0, width=8, epochs=epochs, batch=6, learning_rate=learning_rate)
        learnt = method.learn(resources).tensors
        images = method.protect(people, replace(resources, learnt=learnt)).images.float() / 255
        with torch.no_grad():
            return float((model.embed(images) * clean).sum(1).mean())

    assert similarity(30, 3e-3) < similarity(1, 1e-12) - 0.02


def test_equal_seeds_train_equal_servers() -> None:
    method = APF(8, **FAST)
    one, other = (method.learn(tiny_resources()).tensors for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    third = method.learn(replace(tiny_resources(), seed=1)).tensors
    assert not torch.equal(one["up.0.weight"], third["up.0.weight"])


def test_training_needs_people_with_two_photos() -> None:
    resources = tiny_resources()
    assert resources.auxiliary is not None
    single = resources.auxiliary.select([0, 2, 4])
    with pytest.raises(ValueError, match="at least two photos"):
        APF(8).learn(replace(resources, auxiliary=single))


@pytest.mark.parametrize(("chosen", "moves"), [(0.9, False), (0.1, True)])
def test_each_change_happens_with_probability_one_half(chosen: float, moves: bool) -> None:
    photos = tiny_people().images[:2]
    draws = torch.full((2, DRAWS), 0.8)
    draws[:, [0, 2, 6]] = chosen
    difference = (diversify(photos, draws) - photos).abs().amax()
    assert bool(difference > 0.05) is moves
