"""The largest gap between groups: its size against a loop, its p value where there is a gap and where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from cloakbench.bench.statistics.group_gap import largest_gap

PEOPLE, PHOTOS = 24, 6
IDENTITY = np.repeat(np.arange(PEOPLE), PHOTOS)


def test_a_planted_gap_between_people_is_found_with_its_ends() -> None:
    rng = np.random.default_rng(0)
    group = IDENTITY % 3
    values = rng.random(len(IDENTITY)) + 0.5 * (group == 1)
    gap = largest_gap(values, group, IDENTITY, 0)
    assert gap is not None and (gap.highest, gap.p) == (1, 0.001)
    means = [values[group == number].mean() for number in range(3)]
    assert gap.value == pytest.approx(max(means) - min(means)) and gap.lowest == int(np.argmin(means))
    assert largest_gap(values, group, IDENTITY, 0) == gap


def test_people_who_differ_are_no_gap_between_groups_of_people() -> None:
    """Photos of a person move together: shuffling photos instead would call this a gap nearly always."""
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        values = rng.normal(size=PEOPLE)[IDENTITY] + 0.01 * rng.normal(size=len(IDENTITY))
        gap = largest_gap(values, IDENTITY % 2, IDENTITY, seed)
        assert gap is not None
        found.append(gap.p)
    assert np.mean(np.asarray(found) < 0.05) <= 0.2 and 0.3 < np.mean(found) < 0.7


def test_labels_of_photos_are_shuffled_within_people() -> None:
    """Everybody's second half of photos is in the other group and a little higher, below differences of people."""
    group = np.tile(np.arange(PHOTOS) >= PHOTOS // 2, PEOPLE).astype(int)
    rng = np.random.default_rng(3)
    values = 10 * rng.normal(size=PEOPLE)[IDENTITY] + 0.1 * rng.normal(size=len(IDENTITY)) + 0.2 * group
    gap = largest_gap(values, group, IDENTITY, 0)
    assert gap is not None and gap.p == 0.001 and gap.value == pytest.approx(0.2, abs=0.05)
    none = largest_gap(values - 0.2 * group, group, IDENTITY, 0)
    assert none is not None and none.p > 0.05


def test_what_is_in_no_group_or_has_no_value_does_not_count() -> None:
    group = np.where(IDENTITY < 4, -1, IDENTITY % 2)
    values = np.where(IDENTITY < 4, 1e6, 0.0)
    values[-1] = np.nan
    gap = largest_gap(values, group, IDENTITY, 0)
    assert gap is not None and (gap.value, gap.p) == (0.0, 1.0)
    assert largest_gap(values, np.zeros(len(IDENTITY), dtype=int), IDENTITY, 0) is None
