"""Operators that pick and place elements by their numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from cloakbench.models.onnx_reader.operators.elementwise import Operator
from cloakbench.models.onnx_reader.tensors import axis_of, numbers, together

_REDUCE = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _from_the_front(indices: Tensor, size: int) -> Tensor:
    indices = indices.long()
    return torch.where(indices < 0, indices + size, indices)


def _gather(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    place = axis_of(x, axis)
    if indices.ndim == 0 and indices.device.type == "cpu":
        return x.select(place, int(indices))
    x, indices = together(x, indices)
    picked = x.index_select(place, _from_the_front(indices, x.shape[place]).reshape(-1))
    return picked.reshape((*x.shape[:place], *indices.shape, *x.shape[place + 1 :]))


def _gather_elements(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    x, indices = together(x, indices)
    return x.gather(axis, _from_the_front(indices, x.shape[axis]))


def _gather_nd(x: Tensor, indices: Tensor, *, batch_dims: int = 0) -> Tensor:
    x, indices = together(x, indices)
    places = [_from_the_front(part, x.shape[batch_dims + i]) for i, part in enumerate(indices.unbind(-1))]
    grid = []
    for axis in range(batch_dims):
        count = torch.arange(x.shape[axis], device=x.device)
        grid.append(count.reshape([-1 if i == axis else 1 for i in range(indices.ndim - 1)]))
    return x[(*grid, *places)]


def _scatter_elements(x: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none") -> Tensor:
    x, indices, updates = together(x, indices, updates)
    places = _from_the_front(indices, x.shape[axis])
    if reduction == "none":
        return x.scatter(axis, places, updates)
    return x.scatter_reduce(axis, places, updates, _REDUCE[reduction])


def _scatter_nd(x: Tensor, indices: Tensor, updates: Tensor, *, reduction: str = "none") -> Tensor:
    x, indices, updates = together(x, indices, updates)
    depth = indices.shape[-1]
    if reduction in ("none", "add"):
        places = tuple(_from_the_front(part, x.shape[i]) for i, part in enumerate(indices.unbind(-1)))
        return x.index_put(places, updates, accumulate=reduction == "add")
    inner = x.shape[depth:].numel()
    flat = torch.zeros(indices.shape[:-1], dtype=torch.int64, device=x.device)
    for i, part in enumerate(indices.unbind(-1)):
        flat = flat * x.shape[i] + _from_the_front(part, x.shape[i])
    rows = flat.reshape(-1, 1).expand(-1, inner)
    changed = x.reshape(-1, inner).scatter_reduce(0, rows, updates.reshape(-1, inner), _REDUCE[reduction])
    return changed.reshape(x.shape)


def _one_hot(indices: Tensor, depth: Tensor, values: Tensor, *, axis: int = -1) -> Tensor:
    indices, values = together(indices, values)
    count = numbers(depth)[0]
    classes = torch.arange(count, device=indices.device)
    place = axis % (indices.ndim + 1)
    hit = indices.long().remainder(count).unsqueeze(place) == classes.reshape([-1, *[1] * (indices.ndim - place)])
    outside = ((indices < -count) | (indices >= count)).unsqueeze(place)
    return torch.where(hit & ~outside, values[1], values[0])


INDEXING: dict[str, Operator] = {
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "NonZero": lambda x: x.nonzero().T,
    "OneHot": _one_hot,
    "Scatter": _scatter_elements,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
}
