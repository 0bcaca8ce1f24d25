"""Named streams."""

from __future__ import annotations

import torch

from cloakbench.datasets.randomness import generator, stream_seed, uniform_per_item


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
