"""Embedding passes: as planned on a CPU; with a card, as large as its memory allows and halved once, with a word."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import cloakbench_test_plugins as plugins
import pytest
import torch
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.engine.device.embedding import Card, EmbeddingPasses
from cloakbench.bench.engine.worker import to_float
from cloakbench.models.base import Recogniser, embed_in_batches

CPU = torch.device("cpu")
PLANNED = 4


class Watched(Recogniser):
    """Notes the size of each pass, and has no memory for more than ``most`` photos."""

    def __init__(self, most: int = 10_000) -> None:
        inner = plugins.tiny("one", 1, "a")
        super().__init__(inner.network, inner.inputs, inner.card)
        self.most, self.seen = most, []

    def embed(self, images: Tensor) -> Tensor:
        self.seen.append(len(images))
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().embed(images)


def photos(count: int) -> Tensor:
    return torch.randint(256, (count, 3, 32, 32), generator=generator("embedding"), dtype=torch.uint8)


def passes(card: Card | None) -> EmbeddingPasses:
    return EmbeddingPasses(PLANNED, CPU, card, partial(to_float, device=CPU))


def card(total_bytes: int, each: int) -> Card:
    """A card on which every photo of a pass takes so many bytes."""

    def peak_bytes(work: Callable[[], object]) -> int:
        work()
        return each * PLANNED

    return Card(total_bytes, peak_bytes)


def test_on_a_cpu_passes_are_as_planned_and_nothing_is_said() -> None:
    model, images = Watched(), photos(10)
    found, note = passes(Card.of(CPU)).embed("one", model, images)
    assert model.seen == [4, 4, 2]
    assert note == {}
    assert torch.equal(found, embed_in_batches(plugins.tiny("one", 1, "a"), images, PLANNED, CPU))


def test_with_a_card_passes_are_doubled_until_they_fill_a_share_of_its_memory() -> None:
    model, images = Watched(), photos(40)
    sized = passes(card(total_bytes=5000, each=100))  # a share of 0.4 has room for 20 photos
    found, note = sized.embed("one", model, images)
    assert model.seen == [4, 16, 16, 8]  # the first finds out, and is thrown away
    assert note == {"photos_per_pass": 16}
    torch.testing.assert_close(found, embed_in_batches(plugins.tiny("one", 1, "a"), images, 40, CPU))
    model.seen.clear()
    sized.embed("one", model, images)
    assert model.seen == [16, 16, 8]


def test_few_photos_and_a_small_card_make_the_planned_passes() -> None:
    model = Watched()
    assert passes(card(10**9, 100)).embed("one", model, photos(3))[1] == {}
    assert passes(card(100, 100)).embed("one", model, photos(6))[1] == {}
    assert model.seen == [3, 4, 4, 2]


def test_no_memory_halves_the_passes_of_that_network_once_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sized, model, images = passes(card(5000, 100)), Watched(most=8), photos(40)
    found, note = sized.embed("one", model, images)
    assert model.seen == [4, 16, 8, 8, 8, 8, 8]
    assert note == {"photos_per_pass": 8}
    assert len(found) == 40
    [line] = caplog.messages
    assert line.startswith("one: no memory on cpu for passes of 16 photos: 8 from here on")
    model.seen.clear()
    assert sized.embed("one", model, images[:20])[1] == {"photos_per_pass": 8}
    assert model.seen == [8, 8, 4]
    assert sized.embed("another", Watched(), images)[1] == {"photos_per_pass": 16}


def test_half_of_too_many_may_still_be_too_many() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        passes(card(5000, 100)).embed("one", Watched(most=4), photos(40))


def test_a_planned_pass_that_does_not_fit_is_halved_too() -> None:
    found, note = passes(card(10**9, 100)).embed("one", Watched(most=2), photos(5))
    assert note == {"photos_per_pass": 2}
    assert len(found) == 5


def test_no_photos_have_no_embeddings() -> None:
    found, note = passes(card(5000, 100)).embed("one", Watched(), photos(0))
    assert found.shape == (0, 64)
    assert note == {}
