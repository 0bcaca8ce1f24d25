"""What a config brings into a key: other code or numbers give another key, other spellings do not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cloakbench.bench.config.networks import build_recogniser, fingerprint
from cloakbench.bench.config.node_keys import node_code, node_settings
from cloakbench.bench.core import code_digests as provenance

NET = """from torch import nn
from my_layers import activation


class Net(nn.Module):
    def __init__(self, name: str = "a", path: str = ""):
        super().__init__()
        self.c, self.f = nn.Conv2d(3, 4, 8, 8), nn.Linear(4 * 14 * 14, 8)

    def forward(self, x):
        return self.f(activation(self.c(x)).flatten(1))
"""
LAYERS = "def activation(x):\n    return x.relu()\n"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A recogniser of a network of one's own, as ``model=checkpoint`` composes it."""
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("my_net", "my_layers"):  # as in a process of its own
        monkeypatch.delitem(sys.modules, module, raising=False)
    (tmp_path / "my_net.py").write_text(NET)
    (tmp_path / "my_layers.py").write_text(LAYERS)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = {
            **{f"c.{key}": value for key, value in nn.Conv2d(3, 4, 8, 8).state_dict().items()},
            **{f"f.{key}": value for key, value in nn.Linear(4 * 14 * 14, 8).state_dict().items()},
        }
    torch.save(state, tmp_path / "net.pt")
    provenance.forget_sources()
    return {
        "_target_": "cloakbench.models.loading.load_recogniser",
        "_convert_": "all",
        "name": "mine",
        "weights": {"_target_": "cloakbench.models.weight_file.WeightFile", "path": str(tmp_path / "net.pt")},
        "network": {"_target_": "my_net.Net", "_partial_": True},
        "inputs": {"_target_": "cloakbench.models.base.InputSpec", "mean": 0, "std": 0.00392156862745098},
        "card": {"family": "x", "backbone": "x", "head": "x", "training_set": "x"},
    }


def key(config: dict[str, Any], **changes: Any) -> str:
    """Fingerprint of a model with other entries in its config; ``network_name`` stands for ``network.name``."""
    changed = {name: dict(value) if isinstance(value, dict) else value for name, value in config.items()}
    for name, value in changes.items():
        group, _, entry = name.partition("_")
        if entry:
            changed[group][entry] = value
        else:
            changed[group] = value
    provenance.forget_sources()
    return fingerprint(changed, build_recogniser(changed, "mine"))


@pytest.mark.parametrize("module", ["my_net", "my_layers"])
def test_editing_a_network_of_ones_own_or_what_it_imports_gives_another_key(
    config: dict[str, Any], module: str, tmp_path: Path
) -> None:
    before = key(config)
    path = tmp_path / f"{module}.py"
    path.write_text(path.read_text() + "# a comment\n")
    assert key(config) == before
    path.write_text(path.read_text() + "LIMIT = 2\n")
    assert key(config) != before


def test_settings_of_ones_own_network_count_whatever_they_are_called(config: dict[str, Any]) -> None:
    keys = {key(config), key(config, network_name="b"), key(config, network_path="else"), key(config, inputs_crop=None)}
    assert len(keys) == 3, "name and path are the network's own here; crop: null is the default"


def test_a_file_that_a_network_is_given_counts_by_its_content(config: dict[str, Any], tmp_path: Path) -> None:
    table = tmp_path / "table.txt"
    keys = set()
    for text in ("one", "two", "one"):
        table.write_text(text)
        keys.add(key(config, network_path=str(table)))
    assert len(keys) == 2


def test_names_and_places_of_weights_do_not_count(config: dict[str, Any], tmp_path: Path) -> None:
    copy = tmp_path / "copy.pt"
    copy.write_bytes((tmp_path / "net.pt").read_bytes())
    assert key(config, name="other", card_family="y", weights_path=str(copy)) == key(config)


@pytest.mark.parametrize("zero", [0, 0.0, -0.0, [0, 0, 0], [0.0, 0, 0.0]])
def test_numbers_of_the_input_rule_are_one_setting_however_spelt(config: dict[str, Any], zero: object) -> None:
    assert key(config, inputs_mean=zero) == key(config)


def test_another_input_rule_is_another_key(config: dict[str, Any]) -> None:
    changes = ({"inputs_mean": [0, 0, 0.5]}, {"inputs_std": 0.0039}, {"inputs_channel_order": "bgr"})
    assert len({key(config), *(key(config, **change) for change in changes)}) == 4


def test_code_and_settings_of_any_plug_in_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "my_parts.py"
    config = {"a": {"_target_": "my_parts.Blur", "strength": 2, "inner": [{"_target_": "torch.nn.Identity"}]}}
    codes, settings = [], []
    for text in ("class Blur:\n    pass\n", "class Blur:\n    radius = 2\n"):
        module.write_text(text)
        provenance.forget_sources()
        codes.append(node_code(config))
        settings.append(node_settings(config))
    assert codes[0] != codes[1]
    assert settings[0] != settings[1], "the target is given by the content of its module"
    assert settings[0]["a"]["strength"] == 2
    assert "my_parts" not in str(settings)


def test_a_target_without_a_source_is_named() -> None:
    assert node_settings({"_target_": "builtins.dict"}) == {"_target_": "builtins.dict"}
    assert node_code({"_target_": "builtins.dict"}) == node_code()
