"""Named streams."""

from __future__ import annotations

import torch

from cloakbench.bench.core.random_streams import generator, layers_draw_from, stream_seed, uniform_per_item


def test_streams_depend_on_their_name_only() -> None:
    first = torch.rand(4, generator=generator(0, "mask", "a"))
    torch.rand(100, generator=generator(0, "mask", "b"))
    assert torch.equal(torch.rand(4, generator=generator(0, "mask", "a")), first)
    assert not torch.equal(torch.rand(4, generator=generator(1, "mask", "a")), first)


def test_names_are_not_glued_together() -> None:
    assert stream_seed("ab", "c") != stream_seed("a", "bc")
    assert stream_seed(1) == stream_seed("1")
    assert 0 <= stream_seed("x") < 2**63


def test_items_get_the_same_noise_in_any_batch() -> None:
    whole = uniform_per_item(["a", "b", "c"], (2, 3), -1.0, 1.0, 5, "start")
    part = uniform_per_item(["c", "a"], (2, 3), -1.0, 1.0, 5, "start")
    assert torch.equal(part, whole[[2, 0]])
    assert whole.min() >= -1 and whole.max() < 1
    assert not torch.equal(whole[0], whole[1])


def test_layers_draw_from_a_named_stream_and_leave_the_global_state_alone() -> None:
    before = torch.random.get_rng_state()
    drawn = []
    for name in (("a", 1), ("a", 1), ("a", 2)):
        with layers_draw_from(*name):
            layer = torch.nn.Linear(3, 2)
            drawn.append(torch.nn.functional.dropout(layer.weight, 0.5))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(before, torch.random.get_rng_state())


def _words(*name: object) -> list[int]:
    return generator(*name).get_state()[24 : 24 + 8 * 624].view(torch.int64).tolist()


def _follow_from_the_first(words: list[int]) -> bool:
    """Whether a state is what a Mersenne twister makes of 32 bits (Matsumoto and Nishimura, 2002)."""
    made = [words[0]]
    for place in range(1, len(words)):
        made.append((1812433253 * (made[-1] ^ (made[-1] >> 30)) + place) & 0xFFFFFFFF)
    return made == words


def test_a_secret_fills_the_whole_state_of_a_stream_and_a_seed_32_bits_of_it() -> None:
    assert _follow_from_the_first(_words(2**64 - 1, "veil", "owner"))
    secret = _words(2**64, "veil", "owner")
    assert not _follow_from_the_first(secret) and min(secret) >= 0 and 2**31 < max(secret) < 2**32
    assert len({tuple(_words(2**100 + one, "veil", "owner")) for one in range(3)} | {tuple(secret)}) == 4
    drawn = [torch.rand(20000, generator=generator(2**100, "veil", "owner")) for _ in range(2)]
    assert torch.equal(*drawn)
    ends = drawn[0].sort().values - torch.linspace(0, 1, 20000)
    assert float(ends.abs().max()) < 0.02
