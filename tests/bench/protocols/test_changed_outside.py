"""Pixels outside the face that changed: none, all of them, or the share that was painted."""

from __future__ import annotations

import pytest
import torch

from cloakbench.bench.core.ranges import SettingError
from cloakbench.bench.protocols.quality.changed_outside import ChangedOutside, outside_the_face


def test_only_changes_outside_the_face_and_above_the_threshold_count() -> None:
    outside = outside_the_face(112, 112)
    assert not outside[52, 38] and not outside[92, 56] and outside[5, 5] and outside[60, 5] and outside[110, 105]
    clean = torch.full((4, 3, 112, 112), 100, dtype=torch.uint8)
    changed = clean.clone()
    changed[0][:, ~outside] += 50
    changed[1] += 3
    changed[2] += 2
    changed[3, 1, :5] += 9  # one channel of five rows, all of them outside
    values = ChangedOutside().of(clean, changed, ["ok"] * 4)
    assert values[:3].tolist() == [0, 100, 0]
    assert values[3] == pytest.approx(100 * 5 * 112 / int(outside.sum()))
    assert ChangedOutside(1).of(clean, changed, ["ok"] * 4)[2] == 100
    with pytest.raises(SettingError, match="threshold_255 is -1"):
        ChangedOutside(-1)
