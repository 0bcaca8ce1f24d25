"""Reductions over axes, which are an attribute in old opsets and an input in new ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cloakbench.models.onnx_reader.operators.elementwise import Operator
from cloakbench.models.onnx_reader.tensors import axes_of, axis_of, is_whole, numbers

Reduction = Callable[[Tensor, list[int], bool], Tensor]


def _over_axes(reduction: Reduction) -> Operator:
    """All axes are reduced when none are named, unless ``noop_with_empty_axes``."""

    def run(
        x: Tensor,
        where: Tensor | None = None,
        *,
        axes: Sequence[int] | None = None,
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> Tensor:
        named = list(axes or ()) if where is None else numbers(where)
        kind = x.dtype
        x = x.double() if is_whole(x) else x  # torch has no mean and no norm of whole numbers, and widens their sum
        if not named and noop_with_empty_axes:
            return reduction(x.unsqueeze(-1), [x.ndim], False).to(kind)  # each element is a sum of its own
        places = axes_of(x, named) if named else list(range(x.ndim))
        result = reduction(x, places, bool(keepdims)) if places else reduction(x.unsqueeze(0), [0], False)
        return result.to(kind)

    return run


def _norm(order: int) -> Reduction:
    return lambda x, axes, keep: torch.linalg.vector_norm(x, order, axes, keepdim=keep)


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


def _logarithm_of_exponentials(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return torch.logsumexp(x, axes, keepdim=keep)


def _place_of(largest: bool) -> Operator:
    def run(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
        place = axis_of(x, axis)
        searched = x.flip(place) if select_last_index else x
        # Of equals the first counts, which torch's own argmax does not promise.
        order = torch.sort(searched, dim=place, descending=largest, stable=True)[1]
        found = order.select(place, 0).unsqueeze(place)
        found = x.shape[place] - 1 - found if select_last_index else found
        return found if keepdims else found.squeeze(place)

    return run


def _top_k(
    x: Tensor,
    count: Tensor | None = None,
    *,
    k: int | None = None,
    axis: int = -1,
    largest: int = 1,
    sorted: int = 1,
) -> tuple[Tensor, Tensor]:
    number = k if count is None else numbers(count)[0]
    if number is None:
        raise ValueError("it does not say how many values it wants")
    values, places = torch.sort(x, dim=axis, descending=bool(largest), stable=True)
    return values.narrow(axis, 0, number), places.narrow(axis, 0, number)


def _cumulative_sum(x: Tensor, where: Tensor, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    axis = axis_of(x, numbers(where)[0])
    flipped = x.flip(axis) if reverse else x
    total = flipped.cumsum(axis, dtype=x.dtype)
    total = total - flipped if exclusive else total
    return total.flip(axis) if reverse else total


REDUCTION: dict[str, Operator] = {
    "ArgMax": _place_of(largest=True),
    "ArgMin": _place_of(largest=False),
    "CumSum": _cumulative_sum,
    "ReduceL1": _over_axes(_norm(1)),
    "ReduceL2": _over_axes(_norm(2)),
    "ReduceLogSum": _over_axes(lambda x, axes, keep: x.sum(axes, keepdim=keep).log()),
    "ReduceLogSumExp": _over_axes(_logarithm_of_exponentials),
    "ReduceMax": _over_axes(lambda x, axes, keep: x.amax(axes, keepdim=keep)),
    "ReduceMean": _over_axes(lambda x, axes, keep: x.mean(axes, keepdim=keep)),
    "ReduceMin": _over_axes(lambda x, axes, keep: x.amin(axes, keepdim=keep)),
    "ReduceProd": _over_axes(_product),
    "ReduceSum": _over_axes(lambda x, axes, keep: x.sum(axes, keepdim=keep)),
    "ReduceSumSquare": _over_axes(lambda x, axes, keep: x.square().sum(axes, keepdim=keep)),
    "TopK": _top_k,
}
