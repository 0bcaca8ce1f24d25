"""Tie groups: what the letters say is what was decided, and the groups are networkx's largest cliques."""

from __future__ import annotations

import networkx
import numpy as np
import pytest

from cloakbench.bench.statistics.tie_groups import tie_groups


def separated(count: int, *pairs: tuple[int, int]) -> np.ndarray:
    apart = np.zeros((count, count), dtype=bool)
    for one, other in pairs:
        apart[one, other] = apart[other, one] = True
    return apart


@pytest.mark.parametrize(
    ("apart", "letters"),
    [
        (separated(3), ["a", "a", "a"]),
        (separated(3, (0, 1), (0, 2), (1, 2)), ["a", "b", "c"]),
        (separated(3, (0, 2)), ["a", "ab", "b"]),
        (separated(4, (0, 2), (0, 3), (1, 3)), ["a", "ab", "bc", "c"]),
        (separated(3, (0, 1)), ["a", "b", "ab"]),
        (separated(1), ["a"]),
        (separated(0), []),
    ],
)
def test_small_rankings_have_the_letters_one_writes_by_hand(apart: np.ndarray, letters: list[str]) -> None:
    assert tie_groups(apart) == letters


@pytest.mark.parametrize("seed", range(20))
def test_letters_are_the_largest_sets_without_a_decision(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 12))
    apart = np.triu(rng.random((count, count)) < rng.random(), 1)
    apart |= apart.T
    letters = tie_groups(apart)
    shared = np.array([[bool(set(one) & set(other)) for other in letters] for one in letters])
    assert (shared == ~apart).all()
    ties = networkx.from_numpy_array((~apart & ~np.eye(count, dtype=bool)).astype(int))
    cliques = {frozenset(clique) for clique in networkx.find_cliques(ties)}
    groups = {frozenset(i for i, own in enumerate(letters) if mark in own) for mark in set("".join(letters))}
    assert groups == cliques


def test_a_long_ranking_has_marks_after_the_alphabet() -> None:
    letters = tie_groups(~np.eye(60, dtype=bool))
    assert letters[25:27] == ["z", "A"]
    assert letters[52] == "(53)"
    assert len(set(letters)) == 60


@pytest.mark.parametrize("apart", [np.zeros((2, 3)), np.eye(2), np.triu(np.ones((3, 3)), 1)])
def test_what_is_no_comparison_of_all_pairs_is_refused(apart: np.ndarray) -> None:
    with pytest.raises(ValueError, match="symmetric"):
        tie_groups(apart)
