"""Oracle B13, and which photos the discrepancy ties together."""

from __future__ import annotations

import pytest
import torch

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.parts.mmd import CODE_BANDWIDTHS, Naturalness, median_squared_distance, mmd

CLEAN = torch.rand(16, 3, 16, 16, generator=generator("naturalness"))
NOISY = (CLEAN + 0.1 * torch.randn(CLEAN.shape, generator=generator("naturalness", "noise"))).clamp(0, 1)


@pytest.mark.parametrize("sets", ["patches", "photos", "pair"])
def test_clean_photos_are_natural_and_nothing_pulls_at_them(sets: str) -> None:
    natural = Naturalness(sets, CLEAN)  # type: ignore[arg-type]
    assert not natural(CLEAN).any() and not natural.gradient(CLEAN).any()
    assert (natural(NOISY) > 0).all() and natural.gradient(NOISY).isfinite().all()


def test_the_pair_of_the_released_code_saturates_at_38() -> None:
    assert len(CODE_BANDWIDTHS) == 19
    natural = Naturalness("pair", CLEAN)
    one_level = (CLEAN + 1 / 255 * torch.randn(CLEAN.shape, generator=generator("naturalness", "small"))).clamp(0, 1)
    small, large = natural(one_level), natural(1 - CLEAN)
    # 768 values here, 37632 at 112 px, where one grey level already gives 34.
    assert (small > 28).all() and (large <= 38).all() and (large > 37).all()


def test_mmd_is_its_definition() -> None:
    ours, theirs = torch.rand(2, 2, 5, 3, generator=generator("mmd"), dtype=torch.float64)
    bandwidths = torch.tensor([[0.5, 2.0]], dtype=torch.float64)

    def kernel(a: torch.Tensor, b: torch.Tensor) -> float:
        return sum(float((-(a - b).square().sum() / (2 * s)).exp()) for s in bandwidths[0])

    for i, value in enumerate(mmd(ours, theirs, bandwidths).tolist()):
        pairs = [(1, ours[i], ours[i]), (1, theirs[i], theirs[i]), (-2, ours[i], theirs[i])]
        assert value == pytest.approx(sum(w * kernel(a, b) / 25 for w, x, y in pairs for a in x for b in y))


def test_bandwidth_is_the_median_over_pairs_and_never_zero() -> None:
    points = torch.tensor([[[0.0], [1.0], [3.0], [30.0]], [[5.0], [5.0], [5.0], [5.0]]])
    # The squares of 1, 2, 3, 27, 29 and 30: of the two in the middle the lower one.
    assert median_squared_distance(points).tolist() == [9.0, 1.0]


def test_photos_are_their_own_with_patches_and_depend_on_the_chunk_with_photos() -> None:
    for sets, alone in (("patches", True), ("pair", True), ("photos", False)):
        natural = Naturalness(sets, CLEAN)  # type: ignore[arg-type]
        moved = NOISY.clone()
        moved[1:] = CLEAN[1:]
        same = torch.allclose(natural.gradient(NOISY)[0], natural.gradient(moved)[0], rtol=1e-4, atol=0)
        assert same == alone


def test_sets_of_photos_need_sixteen() -> None:
    with pytest.raises(ValueError, match="at least 16, this chunk has 15"):
        Naturalness("photos", CLEAN[:15])
