"""Checkpoints as people save them: heads, nesting, wrappers, numpy values. Data is data, code is refused."""

from __future__ import annotations

import argparse
import functools
import io
import logging
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cloakbench.models.loading import load_network
from cloakbench.models.state_dict import read_state_dict
from cloakbench.models.weight_file import WeightError, WeightFile

STATE = {"conv.weight": torch.arange(54.0).reshape(2, 3, 3, 3), "conv.bias": torch.tensor([1.0, 2.0])}


class Net(nn.Module):
    """The network that ``STATE`` is of."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)


class Normed(Net):
    """The same with a batch norm, whose counter plays no part."""

    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.pth"


def load(path: Path, **layout: object) -> dict[str, Tensor]:
    """What a network gets out of a file, through everything a user's command goes through."""
    module, _ = load_network(WeightFile(str(path), **layout), Net)
    return module.state_dict()


def refused(path: Path, **layout: object) -> str:
    with pytest.raises(WeightError) as error:
        load(path, **layout)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_a_head_is_named_with_the_setting_that_leaves_it_out(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save({**STATE, "fc.weight": torch.zeros(2), "head.0.bias": torch.zeros(1)}, path)
    message = refused(path)
    assert "unexpected: fc.weight, head.0.bias" in message
    assert "weights.ignore=[fc.,head.]" in message
    with caplog.at_level(logging.INFO):
        assert load(path, ignore=["fc.", "head."]).keys() == STATE.keys()
    assert "fc.weight" in caplog.text
    assert "head.0.bias" in caplog.text


def test_a_head_with_a_number_for_its_name_is_left_out_as_the_message_says(path: Path) -> None:
    torch.save({**STATE, "9.weight": torch.zeros(2)}, path)  # in brackets a command line makes a number of it
    assert "with weights.ignore=9., or" in refused(path)
    assert load(path, ignore="9.").keys() == STATE.keys()
    assert "'fcc.'" in refused(path, ignore=["fcc."])


def test_with_a_prefix_only_what_has_it_is_taken(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wrapped = {f"model.{key}": value for key, value in STATE.items()}
    torch.save({"state_dict": {**wrapped, "head.kernel": torch.zeros(2)}}, path)
    with caplog.at_level(logging.INFO):
        assert load(path, state_key="state_dict", strip_prefix="model.").keys() == STATE.keys()
    assert "head.kernel" in caplog.text


@pytest.mark.parametrize("layout", [{"ignore": ["conv.b"]}, {"strip_prefix": "conv."}])
def test_a_missing_tensor_stays_an_error(path: Path, layout: dict[str, object]) -> None:
    torch.save(STATE, path)
    assert "missing: conv." in refused(path, **layout)


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "_orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_wrapper_is_named_as_the_prefix_to_strip(tmp_path: Path, prefix: str, suffix: str) -> None:
    path = tmp_path / f"net{suffix}"
    wrapped = {f"{prefix}{key}": value for key, value in STATE.items()} | {"fc.weight": torch.zeros(2)}
    save_file(wrapped, path) if suffix == ".safetensors" else torch.save(wrapped, path)
    assert refused(path).endswith(f"set weights.strip_prefix={prefix}")
    assert load(path, strip_prefix=prefix).keys() == STATE.keys()


@pytest.mark.parametrize("key", [None, "model", "ema", "model.em"])
def test_the_advice_names_the_whole_path(path: Path, key: str | None) -> None:
    optimiser = {"state": {0: {"step": torch.ones(1)}}}
    torch.save({"model": {"ema": STATE, "step": 3}, "optimizer": optimiser, "best": torch.tensor(0.9)}, path)
    assert refused(path, state_key=key).endswith("set weights.state_key to one of model.ema")
    assert load(path, state_key="model.ema").keys() == STATE.keys()


def test_paths_go_through_names_with_dots_and_through_lists(path: Path) -> None:
    torch.save({"net.ema": {"a.b": STATE}, "all": [3, STATE]}, path)
    assert load(path, state_key="net.ema.a.b").keys() == load(path, state_key="all.1").keys() == STATE.keys()


def test_numbers_among_the_tensors_are_passed_over(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save({**STATE, "epoch": 3, "arch": "r50", "extra": {"a": 1}}, path)
    with caplog.at_level(logging.INFO):
        assert load(path).keys() == STATE.keys()
    assert "left out epoch, arch, extra (no tensors)" in caplog.text


def test_a_file_without_tensors_says_what_it_holds(path: Path) -> None:
    torch.save({"epoch": 3, "arch": "r50"}, path)
    assert "it holds epoch, arch" in refused(path)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "value",
    [
        np.float64(0.99),
        np.float32(0.5),
        np.int64(3),
        np.bool_(True),
        np.complex128(1j),
        np.zeros(3),
        np.zeros((2, 0)),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(3, dtype=">i4"),
        np.dtype("float32"),
    ],
    ids=repr,
)
def test_numpy_values_beside_tensors_are_data(path: Path, value: object, legacy: bool) -> None:
    before = torch.serialization.get_safe_globals()
    torch.save({"state_dict": OrderedDict(STATE), "best": [value]}, path, _use_new_zipfile_serialization=not legacy)
    assert load(path, state_key="state_dict").keys() == STATE.keys()
    assert torch.serialization.get_safe_globals() == before
    with pytest.raises(pickle.UnpicklingError):  # other code of the process sees no new global
        torch.load(path, weights_only=True)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_state_dict_of_arrays_becomes_tensors(path: Path, protocol: int) -> None:
    arrays = {key: value.numpy() for key, value in STATE.items()}
    torch.save({**arrays, "half": np.ones(2, np.float16), "big": np.ones(2, ">f8")}, path, pickle_protocol=protocol)
    state = read_state_dict(path)
    assert all(torch.equal(state[key], value) for key, value in STATE.items())
    assert state["half"].dtype == state["big"].dtype == torch.float32
    assert state["big"].tolist() == [1, 1]


def test_an_npz_file_is_a_state_dict(tmp_path: Path) -> None:
    np.savez(tmp_path / "net.npz", **{key: value.numpy() for key, value in STATE.items()})
    assert torch.equal(load(tmp_path / "net.npz")["conv.weight"], STATE["conv.weight"])
    np.savez(tmp_path / "code.npz", a=np.array([argparse.Namespace()], dtype=object))
    assert "not readable as arrays of numbers" in refused(tmp_path / "code.npz")


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (argparse.Namespace(lr=1), "argparse.Namespace"),
        (functools.partial(print, "x"), "functools.partial"),
        (np.array([print], dtype=object), "numpy value of type O8"),
        (np.array(["a"]), "numpy value of type U1"),
        (np.zeros(1, [("a", "f8")]), "numpy value of type V8"),
        (np.array([(1.0,)], [("a", "f8")]).view(np.recarray), "numpy"),
        (np.random.default_rng(0), "numpy.random"),
    ],
    ids=["namespace", "partial", "objects", "strings", "fields", "subclass", "generator"],
)
def test_everything_else_stays_refused_beside_numpy_values(path: Path, value: object, named: str) -> None:
    torch.save({"state_dict": STATE, "best": np.float64(0.5), "other": value}, path)
    message = refused(path, state_key="state_dict")
    assert "would run code" in message
    assert named in message
    assert "torch.save(network.state_dict()" in message


def rewritten(path: Path, old: bytes, new: bytes) -> None:
    """The file with other bytes in its pickle."""
    torch.save({"state_dict": STATE, "best": np.float64(0.5)}, path)
    content = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(content, "w") as target:
        for item in source.infolist():
            data = source.read(item)
            target.writestr(item.filename, data.replace(old, new) if item.filename.endswith("data.pkl") else data)
    path.write_bytes(content.getvalue())


@pytest.mark.parametrize(
    "new",
    [
        b"cnumpy\n_core.multiarray.scalar\n",
        b"cnumpy._core\nmultiarray.scalar\n",
        b"cmy.numpy._core.multiarray\nscalar\n",
        b"cnumpy._core.multiarray\nscalar2\n",
        b"cnumpy._core.multiarray\n__class__\n",
        b"cnumpy._core.umath\nscalar\n",
        b"cos\nsystem\n",
    ],
)
def test_a_numpy_name_through_another_module_stays_refused(path: Path, new: bytes) -> None:
    rewritten(path, b"cnumpy._core.multiarray\nscalar\n", new)
    assert "would run code" in refused(path, state_key="state_dict")


@pytest.mark.parametrize(
    "payload",
    [
        b"cnumpy._core.multiarray\nscalar\n(N}X\x05\x00\x00\x00_callcos\nsystem\nstb",  # change a function
        b"cnumpy._core.multiarray\nscalar\nN}X\x05\x00\x00\x00_callK\x01s\x86b",
        b"cnumpy\ndtype\n(X\x02\x00\x00\x00f8\x89\x88tR(K\x03X\x01\x00\x00\x00<K\x01NNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
        b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85X\x01\x00\x00\x00btR(K\x01K\x03\x85K\x07\x89X\x01\x00\x00\x00atb",
    ],
)
def test_tricks_with_what_is_known_are_refused(path: Path, payload: bytes) -> None:
    rewritten(path, b"cnumpy._core.multiarray\nscalar\n", payload + b"0cnumpy._core.multiarray\nscalar\n")
    assert "would run code" in (message := refused(path, state_key="state_dict")) or "not readable" in message


def test_a_whole_network_says_how_to_save_its_weights(path: Path) -> None:
    torch.save(nn.Conv2d(3, 2, 3), path)
    message = refused(path)
    assert "holds a whole network" in message
    assert "weights_only=False).state_dict()" in message


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_script_says_how_to_save_its_weights(path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Conv2d(3, 2, 3), torch.zeros(1, 3, 8, 8)), str(path))
    assert "is a TorchScript archive" in refused(path)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_any_floating_point_becomes_single_precision(path: Path, kind: torch.dtype) -> None:
    torch.save({key: value.to(kind) for key, value in STATE.items()}, path)
    assert {value.dtype for value in load(path).values()} == {torch.float32}


def test_counters_of_batch_norms_may_be_missing_or_left_over(path: Path) -> None:
    torch.save({**STATE, "conv.num_batches_tracked": torch.tensor(3)}, path)
    assert load(path).keys() == STATE.keys()
    norm = {f"bn.{key}": value for key, value in nn.BatchNorm2d(2).state_dict().items()}
    torch.save({**STATE, **{key: value.float() for key, value in norm.items()}}, path)
    path.with_name("weights.lock.json").unlink()
    module, _ = load_network(WeightFile(str(path)), Normed)
    assert module.state_dict()["bn.num_batches_tracked"].dtype == torch.int64


def test_whole_numbers_in_place_of_weights_are_named(path: Path) -> None:
    torch.save({**STATE, "conv.bias": torch.tensor([1, 2])}, path)
    assert "wrong kind: conv.bias (torch.int64 in the file" in refused(path)


def test_weights_without_values_are_named(path: Path) -> None:
    torch.save({**STATE, "conv.bias": torch.empty(2, device="meta")}, path)
    assert "without values: conv.bias" in refused(path)


def test_a_network_that_computes_while_it_is_built_is_filled(path: Path) -> None:
    class Computes(Net):
        def __init__(self) -> None:
            super().__init__()
            self.rates = [rate.item() for rate in torch.linspace(0, 1, 3)]

    torch.save(STATE, path)
    module, _ = load_network(WeightFile(str(path)), Computes)
    assert torch.equal(module.state_dict()["conv.weight"], STATE["conv.weight"])


@pytest.mark.parametrize("suffix", [".pth", ".bin", ".safetensors"])
def test_the_format_is_told_by_content(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"net{suffix}"
    save_file(STATE, path) if suffix != ".safetensors" else torch.save(STATE, path)
    assert load(path).keys() == STATE.keys()


def test_a_file_that_could_not_be_read_is_not_kept_to(path: Path) -> None:
    path.write_bytes(b"\x80\x02 half of a download")
    assert "not readable as a torch file" in refused(path)
    torch.save(STATE, path)
    assert load(path).keys() == STATE.keys()
