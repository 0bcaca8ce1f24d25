"""APF: the phone's gradient, the server that sees noise only, the universal part; B1 to B4 are exact."""

from __future__ import annotations

import inspect
from dataclasses import replace

import pytest
import torch

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.apf import APF
from cloakbench.methods.context import Kept, MemoryCheckpoint, Need
from cloakbench.methods.parts.apf_enhancer import DRAWS, NoiseEnhancer, diversify
from cloakbench.methods.parts.tiny_world import SIDE, tiny_context, tiny_photos

SHAPE = (3, SIDE, SIDE)
EPSILON = 8 / 255
FAST = {"width": 4, "epochs": 2, "batch": 6}


def noise(*shape: int) -> torch.Tensor:
    return EPSILON * (2 * torch.rand(*shape, generator=generator("apf noise")) - 1)


def test_without_another_photo_and_without_a_random_start_the_phone_sends_nothing() -> None:
    """B1: at the photo itself the distance to its own embedding has no gradient."""
    batch, context = tiny_photos(), tiny_context()
    method = APF(8, **FAST)
    # Without the random changes of light and size the embedding stays exactly where it was.
    known = context.surrogates[0].embed(batch.images).detach()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cloakbench.methods.parts.apf_training.diversify", lambda photos, draws: photos)
        sent = method.phone.of(batch.images, batch.image_id, known, context.surrogates[0], context)
    assert not sent.any()
    with pytest.raises(ValueError, match="random_start"):
        APF(8, anchor="own")
    assert APF(8, anchor="own", random_start=True).needs == {Need.SURROGATES, Need.AUXILIARY}


def test_a_silent_network_and_an_identity_mix_publish_the_clipped_universal_perturbation() -> None:
    """B2."""
    server = NoiseEnhancer.drawn(4, SHAPE, EPSILON, "test")
    universal = 2 * noise(1, *SHAPE)
    with torch.no_grad():
        server.up[-1].weight.zero_()
        server.up[-1].bias.zero_()
        server.get_buffer("universal").copy_(universal)
        published = server(noise(2, *SHAPE))
    torch.testing.assert_close(published, universal.clamp(-EPSILON, EPSILON).expand(2, *SHAPE))


def test_what_the_server_publishes_lies_within_the_budget() -> None:
    """B3, for a server whose weights are far too large."""
    server = NoiseEnhancer.drawn(4, SHAPE, EPSILON, "test")
    with torch.no_grad():
        for weights in server.parameters():
            weights.mul_(50)
        published = server(noise(3, *SHAPE))
    assert published.abs().max() <= EPSILON
    assert (published.abs() == EPSILON).any()


def test_the_server_takes_noise_and_nothing_else() -> None:
    """B4: its signature has no room for a photo."""
    assert list(inspect.signature(NoiseEnhancer.forward).parameters) == ["self", "noise"]
    with pytest.raises(TypeError):
        NoiseEnhancer.drawn(4, SHAPE, EPSILON, "test")(noise(1, *SHAPE), torch.zeros(1, *SHAPE))


def test_passes_are_ten_of_the_probe_per_photo_and_training_is_counted_apart() -> None:
    batch, context = tiny_photos(), tiny_context()
    method = APF(8, **FAST)
    trained = method.run_training(context)
    photos = len(context.require_auxiliary())
    universal = photos
    assert trained.cost.backward_images == photos * (10 + 2) + universal
    cost = method.protect(batch, replace(context, trained=trained.tensors)).cost
    assert cost.backward_images == 10 * len(batch.images)
    assert cost.forward_images == 10 * len(batch.images) + len(batch.identities)


@pytest.mark.slow
def test_training_moves_photos_further_than_the_untrained_server() -> None:
    batch, context = tiny_photos(), tiny_context()
    model = context.surrogates[0]
    with torch.no_grad():
        clean = model.embed(batch.images)

    def similarity(epochs: int, learning_rate: float) -> float:
        method = APF(8, universal_255=0, width=8, epochs=epochs, batch=6, learning_rate=learning_rate)
        trained = method.run_training(context).tensors
        images = method.protect(batch, replace(context, trained=trained)).images.float() / 255
        with torch.no_grad():
            return float((model.embed(images) * clean).sum(1).mean())

    assert similarity(30, 3e-3) < similarity(1, 1e-12) - 0.02


def test_equal_seeds_train_equal_servers() -> None:
    method = APF(8, **FAST)
    one, other = (method.run_training(tiny_context()).tensors["server"] for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    third = method.run_training(replace(tiny_context(), seed=1)).tensors["server"]
    assert not torch.equal(one["up.0.weight"], third["up.0.weight"])


def test_training_needs_people_with_two_photos() -> None:
    context = tiny_context()
    single = context.require_auxiliary().select([0, 2, 4])
    with pytest.raises(ValueError, match="at least two photos"):
        APF(8).run_training(replace(context, auxiliary=single))


@pytest.mark.parametrize(("chosen", "moves"), [(0.9, False), (0.1, True)])
def test_each_change_happens_with_probability_one_half(chosen: float, moves: bool) -> None:
    photos = tiny_photos().images[:2]
    draws = torch.full((2, DRAWS), 0.8)
    draws[:, [0, 2, 6]] = chosen
    difference = (diversify(photos, draws) - photos).abs().amax()
    assert bool(difference > 0.05) is moves


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


@pytest.mark.parametrize("step", [1, 8, 11])
def test_a_server_that_was_killed_goes_on_and_ends_with_equal_weights_and_passes(step: int) -> None:
    """Two epochs of 8 batches each: within the first, at its end, within the second."""
    method, context = APF(8, **FAST), tiny_context()
    universal, server = method.stages()
    context = replace(context, trained=method.run_stage(universal, context).tensors)
    whole = method.run_stage(server, context)
    killed = Killed(step)
    with pytest.raises(KeyboardInterrupt):
        method.run_stage(server, replace(context, checkpoint=killed))
    told: list[tuple[int, int]] = []
    resumed = method.run_stage(
        server, replace(context, checkpoint=killed, progress=lambda done, total: told.append((done, total)))
    )
    assert told == [(done, 16) for done in range(step + 1, 17)], "what was done is not done again"
    assert all(torch.equal(tensor, resumed.tensors["server"][name]) for name, tensor in whole.tensors["server"].items())
    assert (resumed.cost.forward_images, resumed.cost.backward_images) == (
        whole.cost.forward_images,
        whole.cost.backward_images,
    )


def test_the_universal_stage_is_equal_for_all_budgets_and_the_server_for_all_anchors() -> None:
    small, large = APF(4, **FAST).stages(), APF(16, **FAST).stages()
    assert small[0] == large[0] and small[1] != large[1]
    other = APF(4, anchor="own", random_start=True, **FAST), APF(4, random_start=True, **FAST)
    assert other[0].stages() == other[1].stages()
