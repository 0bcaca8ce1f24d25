"""Resizing and sampling: each axis is one small matrix, as the specification has it, so every mode has a gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.models.onnx_reader.operators.elementwise import Operator
from cloakbench.models.onnx_reader.tensors import axes_of, numbers


def _resize(
    x: Tensor,
    second: Tensor | None = None,
    third: Tensor | None = None,
    sizes: Tensor | None = None,
    *,
    mode: str = "nearest",
    coordinate_transformation_mode: str = "half_pixel",
    nearest_mode: str = "round_prefer_floor",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    keep_aspect_ratio_policy: str = "stretch",
) -> Tensor:
    """Inputs from opset 11: region of interest, scales, sizes.

    Raises:
        ValueError: ``tf_crop_and_resize``, which reads a region of interest.
    """
    if coordinate_transformation_mode == "tf_crop_and_resize":
        raise ValueError("coordinate_transformation_mode tf_crop_and_resize is not supported")
    places = list(range(x.ndim)) if axes is None else axes_of(x, axes)
    before = [x.shape[place] for place in places]
    if sizes is not None and sizes.numel():
        after = numbers(sizes)
        scales = [wanted / size for wanted, size in zip(after, before, strict=True)]
        if keep_aspect_ratio_policy != "stretch":
            chosen = min(scales) if keep_aspect_ratio_policy == "not_larger" else max(scales)
            after = [math.floor(size * chosen + 0.5) for size in before]
            scales = [chosen] * len(after)
    elif third is not None and third.numel():
        scales = [float(value) for value in third.reshape(-1).tolist()]
        after = [math.floor(size * scale) for size, scale in zip(before, scales, strict=True)]
    else:
        raise ValueError("it gives neither scales nor sizes")
    rule = _Rule(
        mode, coordinate_transformation_mode, nearest_mode, cubic_coeff_a, bool(exclude_outside), bool(antialias)
    )
    if after == before:  # as onnxruntime, whatever the scales are
        return x
    for place, scale, size in zip(places, scales, after, strict=True):
        if size != x.shape[place] or (scale != 1 and not antialias):
            x = rule.resize(x, place, scale, size)
    return x


def _resize_10(x: Tensor, scales: Tensor, *, mode: str = "nearest") -> Tensor:
    """Opset 10, and `Upsample` of opset 9: scales alone, counted from the corner."""
    return _resize(x, None, scales, mode=mode, coordinate_transformation_mode="asymmetric", nearest_mode="simple")


def _upsample(x: Tensor, given: Tensor | None = None, *, mode: str = "nearest", scales: Sequence[float] = ()) -> Tensor:
    """Scales are an attribute in opset 7 and 8, an input in 9."""
    return _resize_10(x, torch.tensor(list(scales)) if given is None else given, mode=mode)


class _Rule:
    """How places of the result map to places of the source, and what each takes from its neighbours."""

    def __init__(
        self, mode: str, coordinates: str, nearest: str, coefficient: float, exclude_outside: bool, antialias: bool
    ) -> None:
        if mode not in ("nearest", "linear", "cubic"):
            raise ValueError(f"mode {mode!r} is not supported")
        self.mode, self.coordinates, self.nearest, self.coefficient = mode, coordinates, nearest, coefficient
        self.exclude_outside, self.antialias = exclude_outside, antialias

    def resize(self, x: Tensor, axis: int, scale: float, size: int) -> Tensor:
        places = self._sources(x.shape[axis], scale, size)
        if self.mode == "nearest":
            return x.index_select(axis, self._rounded(places, scale).clamp(0, x.shape[axis] - 1).to(x.device))
        weights = self._weights(places, x.shape[axis], scale).to(x.device, x.dtype)
        return (x.movedim(axis, -1) @ weights.T).movedim(-1, axis)

    def _sources(self, before: int, scale: float, size: int) -> Tensor:
        """Coordinate in the source of each place of the result; float32, as onnxruntime rounds it."""
        places = torch.arange(size, dtype=torch.float32)
        if self.coordinates == "asymmetric":
            return places / scale
        if self.coordinates == "align_corners":
            return places * (before - 1) / (size - 1) if size > 1 else places * 0
        if self.coordinates == "pytorch_half_pixel" and size <= 1:
            return places * 0
        if self.coordinates == "half_pixel_symmetric":
            wanted = before * scale
            return before / 2 * (1 - size / wanted) + (places + 0.5) / scale - 0.5
        if self.coordinates not in ("half_pixel", "pytorch_half_pixel"):
            raise ValueError(f"coordinate_transformation_mode {self.coordinates!r} is not supported")
        return (places + 0.5) / scale - 0.5

    def _rounded(self, places: Tensor, scale: float) -> Tensor:
        rounding = {
            "simple": torch.ceil if scale < 1 else torch.floor,  # what onnxruntime does where nothing is said
            "round_prefer_floor": lambda x: torch.ceil(x - 0.5),
            "round_prefer_ceil": lambda x: torch.floor(x + 0.5),
            "floor": torch.floor,
            "ceil": torch.ceil,
        }
        return rounding[self.nearest](places).long()

    def _weights(self, places: Tensor, before: int, scale: float) -> Tensor:
        """Float64 ``[size, before]``: what each place takes from each source. Beyond the edge stands the edge."""
        stretch = max(1.0, 1 / scale) if self.antialias else 1.0
        reach = math.ceil((2 if self.mode == "cubic" else 1) * stretch)
        offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
        sources = places.double().floor()[:, None] + offsets
        weights = self._kernel((sources - places[:, None]).abs() / stretch)
        if self.exclude_outside:
            weights = weights * ((sources >= 0) & (sources < before))
        weights = weights / weights.sum(1, keepdim=True)
        matrix = torch.zeros(len(places), before, dtype=torch.float64)
        return matrix.scatter_add_(1, sources.clamp(0, before - 1).long(), weights)

    def _kernel(self, distance: Tensor) -> Tensor:
        if self.mode == "linear":
            return (1 - distance).clamp(min=0)
        a = self.coefficient
        near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        far = ((distance - 5) * distance + 8) * distance * a - 4 * a
        return torch.where(distance <= 1, near, torch.where(distance < 2, far, torch.zeros_like(far)))


def _grid_sample(
    x: Tensor, grid: Tensor, *, mode: str = "linear", padding_mode: str = "zeros", align_corners: int = 0
) -> Tensor:
    """Modes are called ``bilinear`` and ``bicubic`` up to opset 19."""
    names = {"linear": "bilinear", "cubic": "bicubic"}
    return F.grid_sample(x, grid, names.get(mode, mode), padding_mode, bool(align_corners))


RESAMPLING: dict[str, Operator] = {"GridSample": _grid_sample, "Resize": _resize, "Upsample": _upsample}
BEFORE_11: dict[str, Operator] = {"Resize": _resize_10}
"""Operators whose inputs were others up to opset 10."""
