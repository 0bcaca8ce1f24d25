"""Detection: rates and area against plain loops; a detector finds a planted mark, and none in photos that have none."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.core.ranges import SettingError
from cloakbench.bench.core.status import OK
from cloakbench.bench.protocols.detection.detector import ProtectionDetector
from cloakbench.bench.protocols.detection.protocol import AUC, DETECTED, FALSE_ALARMS, DetectionProtocol, detected
from cloakbench.models.protection_detectors import ResidualDetector

CPU = torch.device("cpu")


def detector(steps: int = 40) -> ProtectionDetector:
    return ProtectionDetector(partial(ResidualDetector, 4), steps=steps, batch=16, learning_rate=0.01)


def photos(count: int, *name: object) -> Tensor:
    coarse = torch.rand(count, 3, 4, 4, generator=generator("detection", *name))
    return (255 * torch.nn.functional.interpolate(coarse, 32, mode="bilinear")).round().to(torch.uint8)


def marked(clean: Tensor, *name: object) -> Tensor:
    signs = 8 * torch.randint(0, 2, clean.shape, generator=generator("mark", *name)) - 4
    return (clean.int() + signs).clamp(0, 255).to(torch.uint8)


def forget(tensors: object) -> None:
    pass


def test_rates_and_area_are_those_of_loops_and_ties_count_half() -> None:
    protected, clean = torch.tensor([3.0, 1.0, 0.5]), torch.tensor([0.0, 1.0, 2.0, 0.5])[:3]
    strangers = torch.arange(100) / 50
    found = detected(protected, clean, strangers, 0.25)
    threshold = sorted(strangers.tolist())[-26]  # a quarter of them is above
    assert sum(value > threshold for value in strangers.tolist()) == 25
    assert found[DETECTED].tolist() == [float(one > threshold) for one in protected.tolist()]
    assert found[FALSE_ALARMS].tolist() == [float(one > threshold) for one in clean.tolist()]
    area = [np.mean([(a > b) + 0.5 * (a == b) for b in clean.tolist()]) for a in protected.tolist()]
    assert found[AUC] == pytest.approx(area)


def test_fewer_strangers_than_the_rate_needs_set_no_threshold() -> None:
    found = detected(torch.ones(2), torch.zeros(2), torch.zeros(99), 0.01)
    assert set(found) == {"score", AUC}
    protocol = DetectionProtocol({"one": {}})
    nothing = {DETECTED: np.full(2, np.nan), FALSE_ALARMS: np.full(2, np.nan), AUC: np.ones(2)}
    names = {"image_id": ["a", "b"], "identity": ["a", "b"], "status": [OK] * 2, "note": [""] * 2}
    rows = protocol.measurements(protocol.records({**names, **nothing}), 20, 0).set_index("metric")
    assert rows.loc[DETECTED, "note"] == "a false positive rate of 1 % needs 100 distractors to set a threshold"
    assert rows.loc[DETECTED, "status"] == "unavailable" and rows.loc[AUC, "value"] == 1


def test_a_planted_mark_is_found_on_other_photos_and_clean_photos_cannot_be_told_from_themselves() -> None:
    taught, judged, strangers = photos(40, "taught"), photos(30, "judged"), photos(100, "strangers")
    one = detector()
    for protected, area in ((marked(judged, 1), (0.95, 1.0)), (judged, (0.5, 0.5))):
        given = marked(taught, 0) if protected is not judged else taught
        weights = one.learn(given, taught, "test", CPU, None, forget)
        scores = [one.scores(weights, some, CPU) for some in (protected, judged, strangers)]
        found = detected(*scores, 0.05)
        assert area[0] - 1e-9 <= found[AUC].mean() <= area[1] + 1e-9
        if protected is judged:
            assert found[DETECTED].tolist() == found[FALSE_ALARMS].tolist()
        else:
            assert found[DETECTED].mean() > 0.9
        again = one.learn(given, taught, "test", CPU, None, forget)
        assert all(torch.equal(again[name], weights[name]) for name in weights)


@pytest.mark.parametrize(("protected", "clean"), [(0, 3), (3, 0)])
def test_a_detector_of_one_class_is_refused_in_one_line(protected: int, clean: int) -> None:
    said = f"a detector needs photos of both classes: {protected} protected and {clean} clean were given"
    with pytest.raises(ValueError, match=said):
        detector().learn(photos(protected), photos(clean), "test", CPU, None, forget)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"detectors": {}}, "detectors is {}: it must be at least one"),
        ({"folds": 1}, "folds is 1: it must be a whole number of at least 2"),
        ({"false_positive_rate": 1}, "false_positive_rate is 1: it must be a number above 0 and below 1"),
    ],
)
def test_bad_settings_are_one_line(settings: dict[str, object], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        DetectionProtocol(**{"detectors": {"one": {}}, **settings})  # type: ignore[arg-type]
