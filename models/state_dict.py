"""From a weight file to parameters by name: which entry of a checkpoint, which of its tensors, called what."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cloakbench.models.file_format import is_npz, is_safetensors, is_torch_script, is_zip, listed, plain_text, printable
from cloakbench.models.torch_file import RefusedError, load_data
from cloakbench.models.weight_file import WeightError, WeightFile

_DEPTH = 6
"""How deep a state dict may lie."""
_SAVE = "torch.save(network.state_dict(), 'weights.pth')"

log = logging.getLogger(__name__)


def read_state_dict(
    path: Path, state_key: str | None = None, strip_prefix: str = "", ignore: Sequence[str] = ()
) -> dict[str, Tensor]:
    """Parameter name to CPU tensor, floating point as float32, of a safetensors, torch or ``.npz`` file.

    Numpy arrays become tensors. What is no tensor, lacks the prefix or is to be ignored is left out, and logged.

    Args:
        path: a digest-checked local file.
        state_key, strip_prefix, ignore: see `cloakbench.models.weight_file.WeightFile`.

    Raises:
        WeightError: reading would run code, the file is corrupt, or there is no state dict where it should be.
    """
    content = _content(path)
    entry = content if state_key is None else _entry(path, content, state_key)
    own = _tensors(entry)
    if not own or (state_key is None and len(own) <= _largest_inside(content)):
        what = f"{path} is not a state dict itself" if state_key is None else f"{path}: {state_key} is no state dict"
        raise WeightError(f"{what}: {_advice(content)}")
    left_out = {"no tensors": [str(name) for name in entry if name not in own]} if isinstance(entry, Mapping) else {}
    taken = {name.removeprefix(strip_prefix): tensor for name, tensor in own.items() if name.startswith(strip_prefix)}
    if not taken:
        raise WeightError(
            f"no parameter in {path} starts with {strip_prefix!r} (the first is {printable(next(iter(own)))!r}): "
            "correct weights.strip_prefix"
        )
    left_out[f"without {strip_prefix}"] = [name for name in own if not name.startswith(strip_prefix)]
    for prefix in ignore:
        ignored = [name for name in taken if name.startswith(prefix)]
        if not ignored:
            raise WeightError(
                f"no parameter in {path} starts with {prefix!r} (the first is {printable(next(iter(taken), ''))!r}): "
                "correct weights.ignore"
            )
        left_out[f"ignored {prefix}"] = ignored
        taken = {name: tensor for name, tensor in taken.items() if name not in set(ignored)}
    if not taken:
        raise WeightError(f"weights.ignore leaves no parameter of {path}: take out what it should keep")
    for why, names in left_out.items():
        if names:
            log.info("%s: left out %s (%s)", path, listed(names, 6), why)
    return {name: _plain(tensor) for name, tensor in taken.items()}


def state_of(weights: WeightFile) -> tuple[Path, dict[str, Tensor]]:
    """The local file and its state dict, fetched first when it is missing and has an address; see `read_state_dict`.

    Raises:
        WeightError: the file is missing, damaged or another one, would run code, or has no state dict.
    """
    path, digest = weights.resolve(remember=False)
    state = read_state_dict(path, weights.state_key, weights.strip_prefix, weights.ignore)
    weights.keep_to(path, digest)
    return path, state


def _plain(tensor: Tensor) -> Tensor:
    """A dense tensor; floating point in single precision."""
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    return tensor.detach().float() if tensor.is_floating_point() else tensor.detach()


def _content(path: Path) -> Any:
    if is_safetensors(path) or (path.suffix == ".safetensors" and not is_zip(path)):
        return _read_safetensors(path)
    if is_torch_script(path):
        raise WeightError(
            f"{path} is a TorchScript archive, which is code: where you trust it, save its weights alone: "
            f"torch.save(torch.jit.load({path.name!r}).state_dict(), 'weights.pth')"
        )
    if path.suffix == ".onnx":
        raise WeightError(f"{path} is an ONNX file, which brings its own network: use model=onnx without a network")
    if odd := plain_text(path):
        raise WeightError(f"{path} is {odd}")
    return _read_npz(path) if is_npz(path) else _read_torch(path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, ValueError, KeyError) as error:
        raise WeightError(f"{path} is not readable as safetensors ({_first_line(error)}): fetch it again") from error


def _read_npz(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:  # corrupt bytes make the reader fail in many ways; objects are refused
        raise WeightError(f"{path} is not readable as arrays of numbers ({_first_line(error)})") from error


def _read_torch(path: Path) -> Any:
    try:
        return load_data(path)
    except RefusedError as error:
        what = printable(error.what)
        if what.startswith("torch.nn."):
            raise WeightError(
                f"{path} holds a whole network, which would run code ({what}); nothing was run: where you trust it, "
                f"save its weights alone: torch.save(torch.load({path.name!r}, weights_only=False).state_dict(), "
                "'weights.pth'), or get it as .safetensors"
            ) from error
        raise WeightError(
            f"reading {path} would run code ({what}); nothing was run: where you trust it, save the network's weights "
            f"alone: {_SAVE}, or get it as .safetensors"
        ) from error
    except Exception as error:  # corrupt bytes make the reader fail in many ways
        reason = _first_line(error)
        raise WeightError(
            f"{path} is not readable as a torch file ({reason}): fetch it again, or get it as .safetensors"
        ) from error


def _entry(path: Path, content: Any, state_key: str) -> Any:
    """What lies at a dotted path; a name that itself holds dots is found, too."""
    places = [(content, state_key)]
    while places:
        here, rest = places.pop()
        if not rest:
            return here
        parts = rest.split(".")
        for count in range(1, len(parts) + 1):
            found = _child(here, ".".join(parts[:count]))
            if found is not None:
                places.append((found, ".".join(parts[count:])))
    raise WeightError(f"{path} has no entry {state_key!r}: {_advice(content)}")


def _child(content: Any, name: str) -> Any:
    return next((item for key, item in _children(content) if key == name), None)


def _children(content: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(content, Mapping):
        yield from ((str(key), item) for key, item in content.items())
    elif isinstance(content, list | tuple):
        yield from ((str(number), item) for number, item in enumerate(content))


def _tensors(content: Any) -> dict[str, Tensor]:
    """The tensors that a mapping holds by name, arrays of numbers among them."""
    found: dict[str, Tensor] = {}
    for name, value in content.items() if isinstance(content, Mapping) else ():
        if isinstance(name, str) and isinstance(value, Tensor):
            found[name] = value
        elif isinstance(name, str) and isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
            found[name] = _tensor(value)
    return found


def _tensor(array: np.ndarray) -> Tensor:
    wide = array.astype(np.float64) if array.dtype == np.longdouble else array
    return torch.from_numpy(np.array(wide, dtype=wide.dtype.newbyteorder("=")))


def _state_dicts(content: Any, path: str = "", depth: int = 0) -> Iterator[tuple[int, str]]:
    """Number of tensors and dotted path of every state dict below ``content``.

    Entries that a mapping numbers are an optimiser's, not a network's.
    """
    numbered = isinstance(content, Mapping) and any(isinstance(key, int) for key in content)
    for name, value in _children(content) if depth < _DEPTH and not numbered else ():
        place = f"{path}.{name}" if path else name
        count = sum(isinstance(item, Tensor | np.ndarray) for _, item in _children(value))
        if count and isinstance(value, Mapping):
            yield count, place
        yield from _state_dicts(value, place, depth + 1)


def _largest_inside(content: Any) -> int:
    return max((count for count, _ in _state_dicts(content)), default=0)


def _advice(content: Any) -> str:
    """Which entries to name, the fullest first; small ones beside a full one are an optimiser's."""
    found = sorted(_state_dicts(content), key=lambda item: -item[0])
    names = [place for count, place in found if 4 * count >= found[0][0]]
    if names:
        return f"set weights.state_key to one of {listed(names, 5)}"
    if _tensors(content):
        return "leave out weights.state_key: the file itself is one"
    held = [name for name, _ in _children(content)]
    return f"no entry holds one (it holds {listed(held) if held else type(content).__name__})"


def _first_line(error: Exception) -> str:
    return printable((str(error).splitlines() or [type(error).__name__])[0].strip(), 160)
