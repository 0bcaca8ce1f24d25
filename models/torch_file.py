"""Reading what ``torch.save`` wrote, without running code.

A torch checkpoint is a pickle, which can name any function to call while it is read. ``weights_only=True`` refuses
everything but tensors and plain containers, and with that the numpy numbers that training loops save beside them, and
newer pickle protocols. Such a file is read again by an unpickler of this module, which looks every global up in a
closed table. What the table gives are functions of our own: they can be called, and neither changed nor subclassed.
Nothing is registered with torch, so no other code of the process sees a global it did not see before.
"""

from __future__ import annotations

import math
import pickle
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import torch

_NUMBER = re.compile(r"(b1|\?|[iu][1248]|f(2|4|8|16)|c(8|16|32))")
_DTYPES = (
    *("float64", "float32", "float16", "bfloat16", "complex64", "complex128"),
    *("uint8", "int8", "int16", "int32", "int64", "bool"),
)


class RefusedError(pickle.UnpicklingError):
    """A pickle asks for something that is not data; ``what`` names it."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


def load_data(path: Path) -> Any:
    """The content of a torch file: tensors on the CPU, numpy arrays of numbers, plain values and containers.

    Raises:
        RefusedError: it asks for anything else; nothing was run.
        Exception: the file is damaged, or another format; torch raises many kinds.
    """
    with path.open("rb") as file:  # a path that ends in .safetensors would be read as such
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            file.seek(0)
        # Archives of TorchScript and of torch 0.1 are refused above, by other errors, and never get here.
        reader: Any = SimpleNamespace(__name__=__name__, Unpickler=_Unpickler, load=_load)
        return _unwrapped(torch.load(file, map_location="cpu", weights_only=False, pickle_module=reader))


class _Unpickler(pickle.Unpickler):
    """Knows the globals of ``_GLOBALS`` and no other; modules are compared as a whole and never imported."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        known = _GLOBALS.get((module_name, global_name))
        if known is None:
            raise RefusedError(f"{module_name}.{global_name}")
        return known


def _load(file: Any, **settings: Any) -> Any:
    return _Unpickler(file, **settings).load()


class _Function:
    """Something a pickle may call. It has no attributes that a pickle could set."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        object.__setattr__(self, "_call", call)

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise RefusedError(f"setting {name} of a function")


class _Dtype:
    """A numpy number type while it is read: a code such as ``f8``, and then a byte order."""

    __slots__ = ("_code", "_order")

    def __init__(self, code: object, align: object = False, copy: object = True) -> None:
        if not isinstance(code, str) or not _NUMBER.fullmatch(code):
            raise RefusedError(f"a numpy value of type {code}")
        self._code = code
        self._order: Any = "="

    def __setstate__(self, state: Any) -> None:
        order, parts = state[1], state[2:5]
        if order not in ("<", ">", "=", "|") or any(part is not None for part in parts):
            raise RefusedError("a numpy value of several fields")
        self._order = order

    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self._code).newbyteorder(self._order)


class _Array:
    """A numpy array of numbers while it is read."""

    __slots__ = ("value",)

    def __init__(self, value: np.ndarray | None = None) -> None:
        self.value = value

    def __setstate__(self, state: Any) -> None:
        shape, dtype, columns_first, data = state[-4:]
        self.value = _array(data, dtype, shape, "F" if columns_first else "C")


def _array(data: Any, dtype: Any, shape: Any, order: Any = "C") -> np.ndarray:
    if type(dtype) is not _Dtype or not isinstance(data, bytes | bytearray):
        raise RefusedError("a numpy array of objects")
    kind, sides = dtype.numpy(), tuple(int(side) for side in shape)
    if math.prod(sides) * kind.itemsize != len(data) or order not in ("C", "F"):
        raise ValueError("a numpy array of another size than it says")
    values = np.frombuffer(bytearray(data), kind).reshape(sides, order=order)
    return np.ascontiguousarray(values.astype(kind.newbyteorder("="), copy=False)).reshape(sides)


def _reconstruct(kind: object, shape: object, code: object) -> _Array:
    """An empty array, which the next step of the pickle fills; subclasses of ``ndarray`` are not known."""
    if kind is not _NDARRAY:
        raise RefusedError("a numpy array of another class")
    return _Array()


def _scalar(dtype: Any, data: Any) -> Any:
    return _array(data, dtype, ()).item()


def _encode(text: str, encoding: str) -> bytes:
    """How pickle protocol 2 spells bytes."""
    if encoding != "latin1":
        raise RefusedError(f"text in {encoding}")
    return text.encode("latin1")


def _unwrapped(value: Any) -> Any:
    """``value`` with every array in its own place, in new containers."""
    if isinstance(value, _Array):
        if value.value is None:
            raise ValueError("a numpy array without values")
        return value.value
    if isinstance(value, _Dtype):
        return str(value.numpy())
    if isinstance(value, Mapping):
        return {key: _unwrapped(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_unwrapped(item) for item in value)
    return value


_NDARRAY = object()
_UTILS: Any = getattr(torch, "_utils")  # noqa: B009 - the names that torch files are made of

_GLOBALS: Mapping[tuple[str, str], Any] = {
    ("_codecs", "encode"): _Function(_encode),
    ("collections", "Counter"): _Function(Counter),
    ("collections", "OrderedDict"): _Function(OrderedDict),
    ("torch", "Size"): _Function(torch.Size),
    ("torch", "device"): _Function(torch.device),
    ("torch._utils", "_rebuild_parameter"): _Function(_UTILS._rebuild_parameter),
    ("torch._utils", "_rebuild_tensor"): _Function(_UTILS._rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Function(_UTILS._rebuild_tensor_v2),
    ("numpy", "dtype"): _Function(_Dtype),
    ("numpy", "ndarray"): _NDARRAY,
    **{("torch", name): getattr(torch, name) for name in _DTYPES},
    **{
        (f"numpy.{core}.{module}", name): _Function(call)
        for core in ("core", "_core")
        for module, name, call in (
            ("multiarray", "_reconstruct", _reconstruct),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", lambda *parts: _Array(_array(*parts))),
        )
    },
    **{
        (builtins, kind.__name__): _Function(kind)
        for builtins in ("builtins", "__builtin__")
        for kind in (bytearray, bytes, complex, set)
    },
}
"""Everything a file may name; ``torch.FloatStorage`` and its like are known to torch's own reader."""
