"""Which networks are one network, and that an attacked one is white-box whatever is said about it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from real_pack import PACK, requires_pack
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cloakbench.models.base import InputSpec, ModelCard, Recogniser
from cloakbench.models.loading import load_recogniser
from cloakbench.models.same_weights import are_same, same_weights, sketch_network
from cloakbench.models.weight_file import WeightFile
from cloakbench.models.zoo import WEIGHTS

CONF = Path(__file__).resolve().parents[2] / "conf"
CARD = {"family": "x", "backbone": "x", "head": "x", "training_set": "x"}


def composed(name: str):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(overrides=[f"+model={name}"]).model


def embedded(name: str) -> Recogniser:
    return instantiate(composed(name), _convert_="all")


def stored(name: str, path: Path, **layout: object) -> Recogniser:
    """The embedded weights from another file, as somebody's own checkpoint under another crop and scale."""
    network = instantiate(composed(name).network, _convert_="all")
    return load_recogniser(
        "mine", WeightFile(str(path), **layout), InputSpec(mean=0.4, std=0.3, crop=(4, 4, 100, 100)), CARD, network
    )


def _as_checkpoint(state: dict[str, Tensor], path: Path) -> None:
    torch.save({"net": {f"module.{key}": value.double() for key, value in state.items()}}, path)


def _as_half(state: dict[str, Tensor], path: Path) -> None:
    halves = {k: v.bfloat16() if v.is_floating_point() else v for k, v in state.items()}
    torch.save({"net": {f"module.{key}": value for key, value in halves.items()}}, path)


def _as_safetensors(state: dict[str, Tensor], path: Path) -> None:
    save_file({f"module.{key}": value for key, value in state.items()}, path, metadata={"note": "other bytes"})


@pytest.mark.parametrize(
    ("name", "write", "layout"),
    [
        ("mine.pth", _as_checkpoint, {"state_key": "net", "strip_prefix": "module."}),
        ("mine.pth", _as_half, {"state_key": "net", "strip_prefix": "module."}),
        ("mine.safetensors", _as_safetensors, {"strip_prefix": "module."}),
    ],
)
def test_the_same_weights_in_another_file_are_the_same(
    name: str, write: Callable[[dict[str, Tensor], Path], None], layout: dict[str, object], tmp_path: Path
) -> None:
    write(load_file(WEIGHTS / "arcface_mobilefacenet.safetensors"), tmp_path / name)
    models = {
        "theirs": embedded("arcface_mobilefacenet"),
        "other": embedded("cosface_mobilefacenet"),
        "mine": stored("arcface_mobilefacenet", tmp_path / name, **layout),
    }
    assert models["mine"].card.weights_sha256 != models["theirs"].card.weights_sha256
    found = same_weights(models)
    assert found["mine"] == found["theirs"] == {"mine", "theirs"}
    assert found["other"] == {"other"}


def test_members_of_the_zoo_are_not_each_other() -> None:
    names = ["arcface_ir", "cosface_ir", "softmax_ir", "hardened_ir"]  # one architecture, trained four times
    found = same_weights({name: embedded(name) for name in names})
    assert found == {name: {name} for name in names}


class Folded(nn.Module):
    """A convolution and a linear layer, with a batch norm between or with that norm inside the convolution."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.conv, self.norm, self.out = nn.Conv2d(3, 16, 5), nn.BatchNorm2d(16), nn.Linear(16, 32)
            nn.init.normal_(self.norm.weight)  # of either sign


def test_folding_transposing_and_a_wrapper_change_nothing() -> None:
    whole = Folded(0)
    folded = copy.deepcopy(whole)
    folded.conv.weight.data *= whole.norm.weight.data[:, None, None, None]
    folded.out.weight = nn.Parameter(folded.out.weight.data.T.contiguous())
    inside = nn.ModuleDict({"first": Folded(1), "second": folded})
    assert are_same(sketch_network(whole), sketch_network(folded))
    assert are_same(sketch_network(whole), sketch_network(inside))
    assert not are_same(sketch_network(whole), sketch_network(Folded(1)))


def test_networks_without_weights_are_told_apart_by_the_digest_on_their_cards() -> None:
    def bare(digest: str) -> Recogniser:
        return Recogniser(nn.Flatten(), InputSpec(), ModelCard("x", "x", "x", "x", "x", 8, digest))

    found = same_weights({"a": bare("one"), "b": bare("one"), "c": bare("two")})
    assert found == {"a": {"a", "b"}, "b": {"a", "b"}, "c": {"c"}}


@requires_pack
def test_an_export_to_onnx_is_the_checkpoint_it_was_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx2torch")
    monkeypatch.setenv("CLOAKBENCH_WEIGHTS", str(PACK / "weights"))
    names = ["mobilefacenet_casia", "mobilefacenet_casia_onnx", "mobilefacenet_y1"]
    found = same_weights({name: embedded(name) for name in names})
    assert found["mobilefacenet_casia"] == {"mobilefacenet_casia", "mobilefacenet_casia_onnx"}
    assert found["mobilefacenet_y1"] == {"mobilefacenet_y1"}
