"""Keys of equal inputs are equal on every Python and machine: golden values, measured on 3.11.7, 3.12.1 and 3.13.0."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cloakbench.bench.core.hashing import canonical_json, content_key
from cloakbench.bench.core.random_streams import generator, stream_seed

INPUTS: dict[str, Any] = {
    "method": {"epsilon_255": 8, "steps": 10, "step": 0.1, "tiny": 1e-07, "large": 1e22, "half": 0.5, "none": None},
    "people": ["Zoë", "写真", "a\u2028b\t", "\U0001f600"],
    "nested": [[True, False, -0.0, 1.0, 1], {"b": 1, "a": 2}],
}
TEXT = (
    '{"method":{"epsilon_255":8,"half":0.5,"large":1e+22,"none":null,"step":0.1,"steps":10,"tiny":1e-07},'
    '"nested":[[true,false,-0.0,1.0,1],{"a":2,"b":1}],"people":["Zoë","写真","a\u2028b\\t","\U0001f600"]}'
)


def test_the_text_under_a_key_has_one_spelling() -> None:
    assert canonical_json(INPUTS) == TEXT
    assert canonical_json(dict(reversed(INPUTS.items()))) == TEXT


@pytest.mark.parametrize("version", ["2.0.0", "2.0.0+cpu"])
def test_a_key_is_a_golden_value(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    assert content_key("protected", INPUTS) == "75d0969b2665de79b53dfe1a5f6fedce"


def test_random_streams_are_golden_values() -> None:
    assert stream_seed(0, "pgd", "Zoë/0001.jpg") == 1142789906054014468
    assert torch.randint(1000, (5,), generator=generator("golden")).tolist() == [244, 913, 781, 872, 959]
