"""ONNX files as differentiable torch modules.

``onnx2torch`` converts first. It stops at some exports of face networks, above all those whose exporter shares one
initialiser between layers through ``Identity``; those run in ``OnnxNetwork``, a small interpreter of the operators
that InsightFace-style recognisers use (operator semantics: ONNX operator specification, opsets 8 to 17).

A file exported for one image (a batch axis of 1, or a reshape to ``[1, ...]`` that the tracer wrote down) means what it
says for one image. It is run image by image, by ``torch.vmap``, which does all of them in the same passes.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.models.weight_file import WeightError

if TYPE_CHECKING:
    import onnx

log = logging.getLogger(__name__)


def load_onnx(path: Path) -> nn.Module:
    """A frozen module in eval mode that maps the file's one input to its output, or to a sequence of its outputs.

    Raises:
        WeightError: the ``onnx`` extra is not installed, the file is not ONNX, keeps its weights in other files (which
            its digest would not cover), or uses an operator that neither converter knows.
    """
    try:
        import onnx
        from onnx.external_data_helper import uses_external_data
        from onnx2torch import convert
    except ImportError as error:
        raise WeightError(f"reading {path} needs the onnx extra: pip install 'cloakbench[onnx]'") from error
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # corrupt bytes make the parser fail in several ways
        raise WeightError(f"{path} is not a readable ONNX file: fetch or export it again") from error
    if not model.graph.node:
        raise WeightError(f"{path} holds no ONNX graph: fetch or export it again")
    if any(uses_external_data(tensor) for tensor in model.graph.initializer):
        raise WeightError(f"{path} keeps its weights in other files: save it as one file (onnx.save does)")
    if _is_for_one_image(model):
        return PerImage(OnnxNetwork(model, str(path))).requires_grad_(False).eval()
    try:
        network = convert(model)
    except Exception as error:  # a missing operator, attribute or shared initialiser, each its own type
        log.info("onnx2torch cannot convert %s (%r); interpreting it", path, error)
        network = OnnxNetwork(model, str(path))
    return network.requires_grad_(False).eval()


def _is_for_one_image(model: onnx.ModelProto) -> bool:
    """Whether the file fixes its batch to one: at its input, or in a reshape of anything that depends on the input."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    constants |= {
        node.output[0]: item.t
        for node in model.graph.node
        for item in node.attribute
        if node.op_type == "Constant" and item.name == "value"
    }
    batches = [value.type.tensor_type.shape.dim[:1] for value in model.graph.input if value.name not in constants]
    if any(axis.dim_value == 1 for axes in batches for axis in axes):
        return True
    shapes = [
        numpy_helper.to_array(constants[node.input[1]]).tolist()
        for node in model.graph.node
        if node.op_type == "Reshape" and node.input[0] not in constants and node.input[1] in constants
    ]
    return any(len(shape) > 1 and shape[0] == 1 for shape in shapes)


class PerImage(nn.Module):
    """A network for one image, ``[1, 3, H, W]`` to ``[1, ...]``, as one for any number of them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        results = torch.vmap(lambda image: self.network(image[None]))(images)
        return tuple(part.flatten(0, 1) for part in results) if isinstance(results, tuple) else results.flatten(0, 1)


class OnnxNetwork(nn.Module):
    """Runs an ONNX graph node by node in torch, differentiable in the input.

    Floating-point initialisers are buffers, so they move with the module; integer ones are shapes and stay on the CPU.

    Args:
        model: a model with one input.
        source: what to call it in errors.

    Raises:
        WeightError: an operator, or an attribute of one, is not in ``OPERATORS``.
    """

    def __init__(self, model: onnx.ModelProto, source: str) -> None:
        super().__init__()
        from onnx import helper, numpy_helper

        self._buffer_of: dict[str, str] = {}
        self._shapes: dict[str, Tensor] = {}
        for tensor in model.graph.initializer:
            self._store(tensor.name, numpy_helper.to_array(tensor))
        self._nodes: list[tuple[Callable[..., Tensor], list[str], str, dict[str, Any]]] = []
        for node in model.graph.node:
            attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
            attributes = {name: value for name, value in attributes.items() if NEUTRAL.get(name) != value}
            if node.op_type == "Constant" and "value" in attributes:  # a tensor; exporters write no other kind
                self._store(node.output[0], numpy_helper.to_array(attributes["value"]))
                continue
            operator = OPERATORS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
            if operator is None:
                raise WeightError(
                    f"{source} uses the ONNX operator {node.op_type}, which neither onnx2torch nor the interpreter "
                    f"can run here: export it with one of {', '.join(sorted(OPERATORS))}"
                )
            unknown = sorted(set(attributes) - set(inspect.signature(operator).parameters))
            if unknown or len(node.output) != 1:
                raise WeightError(
                    f"{source} uses {node.op_type} with {', '.join(unknown) or 'several outputs'}, which the "
                    "interpreter does not know: export it again with a newer opset"
                )
            self._nodes.append((operator, list(node.input), node.output[0], attributes))
        inputs = [value.name for value in model.graph.input if value.name not in self._buffer_of.keys() | self._shapes]
        if len(inputs) != 1:
            raise WeightError(f"{source} takes {len(inputs)} inputs; a face network takes one image batch")
        self._input = inputs[0]
        self._outputs = [value.name for value in model.graph.output]

    def _store(self, name: str, array: np.ndarray) -> None:
        tensor = torch.from_numpy(array.copy())
        if tensor.is_floating_point():
            self._buffer_of[name] = f"tensor_{len(self._buffer_of)}"  # ONNX names hold dots, which buffers may not
            self.register_buffer(self._buffer_of[name], tensor.float())
        else:
            self._shapes[name] = tensor

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        values: dict[str, Tensor | None] = {"": None, self._input: images, **self._shapes}  # "" is an absent input
        values |= {name: self.get_buffer(buffer) for name, buffer in self._buffer_of.items()}
        for operator, inputs, output, attributes in self._nodes:
            values[output] = operator(*(values[name] for name in inputs), **attributes)
        results = tuple(values[name] for name in self._outputs)
        return results[0] if len(results) == 1 else results  # pyright: ignore[reportReturnType]


def _conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilations: Sequence[int] = (1, 1),
    group: int = 1,
    kernel_shape: Sequence[int] = (),
) -> Tensor:
    """2-D convolution; ``kernel_shape`` repeats the shape of ``weight``."""
    top, left, bottom, right = pads
    if (top, left) == (bottom, right):
        return F.conv2d(x, weight, bias, tuple(strides), (top, left), tuple(dilations), group)
    return F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias, tuple(strides), 0, tuple(dilations), group)


def _batch_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
) -> Tensor:
    """Inference form; ``momentum`` only matters in training."""
    return F.batch_norm(x, mean, variance, scale, bias, training=False, eps=epsilon)


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x > 0, x, slope * x)


def _flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def _reshape(x: Tensor, shape: Tensor, *, allowzero: int = 0) -> Tensor:
    """``0`` copies the size of the input unless ``allowzero``."""
    sizes = [x.shape[i] if size == 0 and not allowzero else size for i, size in enumerate(shape.tolist())]
    return x.reshape(sizes)


def _gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803 - ONNX's name
    transB: int = 0,  # noqa: N803
) -> Tensor:
    product = alpha * ((a.T if transA else a) @ (b.T if transB else b))
    return product if c is None else product + beta * c


def _concat(*parts: Tensor, axis: int) -> Tensor:
    return torch.cat(parts, axis)


def _gather(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    """As exporters use it, to pick sizes out of a shape."""
    picked = x.index_select(axis, indices.reshape(-1).to(x.device))
    return picked.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def _unsqueeze(x: Tensor, where: Tensor | None = None, *, axes: Sequence[int] = ()) -> Tensor:
    """``axes`` is an attribute up to opset 12 and an input from 13."""
    for axis in sorted(axes if where is None else where.tolist()):
        x = x.unsqueeze(axis)
    return x


def _dropout(x: Tensor, share: Tensor | None = None, training: Tensor | None = None, *, ratio: float = 0.5) -> Tensor:
    """Nothing: these networks are judged, not trained."""
    return x


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Add": lambda a, b: a + b,
    "BatchNormalization": _batch_norm,
    "Concat": _concat,
    "Conv": _conv,
    "Div": lambda a, b: a / b,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda x: x.mean((2, 3), keepdim=True),
    "Identity": lambda x: x,
    "MatMul": lambda a, b: a @ b,
    "Mul": lambda a, b: a * b,
    "PRelu": _prelu,
    "Relu": lambda x: x.relu(),
    "Reshape": _reshape,
    "Shape": lambda x: torch.tensor(x.shape),
    "Sigmoid": lambda x: x.sigmoid(),
    "Sub": lambda a, b: a - b,
    "Unsqueeze": _unsqueeze,
}
"""What the interpreter runs, beside ``Constant``; a parameter that is not named here is refused, never ignored."""

NEUTRAL: dict[str, Any] = {"auto_pad": b"NOTSET", "spatial": 1, "training_mode": 0}
"""Attributes that exporters write out although these values ask for nothing."""
