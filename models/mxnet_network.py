"""MXNet face networks, a graph (``name-symbol.json``) and its parameters, as differentiable torch modules.

MXNet is retired, and its wheels need an old numpy, so the graph is run here: the operators InsightFace's training code
built its networks from (``fresnet``, ``fmobilenet``, ``finception_resnet_v2`` and their like), with MXNet 1.x's
defaults. Written from the operators' documentation and tested against torch on graphs of our own; no published file was
at hand, so look at the clean row first.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.models.base import InputSpec, Recogniser
from cloakbench.models.loading import assemble
from cloakbench.models.mxnet_file import read_params
from cloakbench.models.weight_file import WeightError, WeightFile

Pair = Sequence[int]


def load_mxnet(
    name: str, weights: WeightFile, symbol: WeightFile, output: str, inputs: InputSpec, card: Mapping[str, Any]
) -> Recogniser:
    """A recogniser from an MXNet checkpoint.

    Args:
        name: key of the model in configs, records and tables.
        weights: the ``.params`` file.
        symbol: the ``-symbol.json`` file of the same checkpoint; its digest enters the card's together with the other.
        output: layer that gives the embedding; what comes after it (the training classifier) is left out.
        inputs, card: see `cloakbench.models.loading.load_recogniser`.

    Raises:
        WeightError: a file is missing or damaged, the graph uses an operator that is not in ``OPERATORS``, or what was
            loaded does not give finite embeddings ``[N, D]`` with a gradient.
    """
    page = str(card.get("page", ""))
    path, digest = weights.resolve(page)
    graph_path, graph_digest = symbol.resolve(page)
    try:
        graph = json.loads(graph_path.read_text(encoding="utf-8"))
    except ValueError as error:  # not UTF-8, or not JSON
        raise WeightError(f"{graph_path} is not an MXNet graph ({error}): fetch it again") from error
    module = MxnetNetwork(graph, read_params(path), output, str(graph_path))
    both = hashlib.sha256(f"{digest} {graph_digest}".encode()).hexdigest()
    return assemble(name, module, both, inputs, card)


class MxnetNetwork(nn.Module):
    """Runs the part of an MXNet graph that leads to one layer.

    Args:
        graph: content of the ``-symbol.json`` file.
        parameters: content of the ``.params`` file; entries this part does not use are left out.
        output: name of the layer whose output is wanted.
        source: what to call the graph in errors.

    Raises:
        WeightError: no such layer, a parameter is missing, or an operator or setting is unknown.
    """

    def __init__(self, graph: Mapping[str, Any], parameters: Mapping[str, Tensor], output: str, source: str) -> None:
        super().__init__()
        nodes = graph.get("nodes", [])
        places = [place for place, node in enumerate(nodes) if node["name"] == output]
        if len(places) != 1:
            last = ", ".join(node["name"] for node in nodes[-6:])
            raise WeightError(f"{source} has no layer {output!r}: set output to the embedding; it ends with {last}")
        self._output = places[0]
        self._input = -1
        self._buffer_of: dict[int, str] = {}
        self._steps: list[tuple[Callable[..., Tensor], list[int], int, dict[str, Any]]] = []
        for place in _ancestors(nodes, self._output):
            node = nodes[place]
            if node["op"] != "null":
                operator, settings = _operator(node, source)
                self._steps.append((operator, [entry[0] for entry in node["inputs"]], place, settings))
            elif (tensor := _parameter(parameters, node["name"])) is not None:
                self._buffer_of[place] = f"tensor_{place}"  # MXNet allows names that buffers may not have
                self.register_buffer(self._buffer_of[place], tensor)
            elif self._input < 0:
                self._input = place
            else:
                raise WeightError(f"{source} needs {node['name']}, which the parameter file does not hold")
        if self._input < 0:
            raise WeightError(f"{source} has no input for images: fetch it again")

    def forward(self, images: Tensor) -> Tensor:
        values = {self._input: images}
        values |= {place: self.get_buffer(name) for place, name in self._buffer_of.items()}
        for operator, inputs, place, settings in self._steps:
            values[place] = operator(*(values[entry] for entry in inputs), **settings)
        return values[self._output]


def _ancestors(nodes: Sequence[Mapping[str, Any]], place: int) -> list[int]:
    """Nodes that ``place`` depends on, itself included, in the file's order, which is a running order."""
    needed, todo = {place}, [place]
    while todo:
        for entry in nodes[todo.pop()]["inputs"]:
            if entry[0] not in needed:
                needed.add(entry[0])
                todo.append(entry[0])
    return sorted(needed)


def _parameter(parameters: Mapping[str, Tensor], name: str) -> Tensor | None:
    return next((parameters[key] for key in (f"arg:{name}", f"aux:{name}", name) if key in parameters), None)


def _operator(node: Mapping[str, Any], source: str) -> tuple[Callable[..., Tensor], dict[str, Any]]:
    """The function of a node and its settings."""
    operator = OPERATORS.get(node["op"])
    if operator is None:
        raise WeightError(
            f"{source} uses the MXNet operator {node['op']}, which is not one of {', '.join(sorted(OPERATORS))}: "
            "export the network to ONNX and use model=onnx"
        )
    if any(entry[1] for entry in node["inputs"]):
        raise WeightError(f"{source}: {node['name']} takes a second output, which the interpreter does not have")
    written = {**node.get("param", {}), **node.get("attr", {}), **node.get("attrs", {})}  # by age of the file
    settings = {key: _value(text) for key, text in written.items() if key not in IGNORED and key[:2] != "__"}
    try:
        inspect.signature(operator).bind(*node["inputs"], **settings)
    except TypeError as error:
        raise WeightError(f"{source}: the interpreter cannot run {node['op']} {node['name']}: {error}") from error
    return operator, settings


def _value(text: str) -> Any:
    """``(3, 3)``, ``True`` and ``0.5`` as what they are, ``prelu`` as a string."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _pair(value: Pair, default: int) -> tuple[int, int]:
    """Height and width; MXNet writes an empty tuple for the default."""
    return (value[0], value[1]) if value else (default, default)


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    kernel: Pair,
    stride: Pair = (),
    pad: Pair = (),
    dilate: Pair = (),
    num_group: int = 1,
    no_bias: bool = False,
) -> Tensor:
    """2-D convolution; ``kernel`` and ``no_bias`` repeat what the parameters say."""
    return F.conv2d(x, weight, bias, _pair(stride, 1), _pair(pad, 0), _pair(dilate, 1), num_group)


def _batch_norm(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    eps: float = 1e-3,
    fix_gamma: bool = True,
    axis: int = 1,
) -> Tensor:
    """Inference form. ``fix_gamma``, on by default, means that the stored scale is not used."""
    if axis != 1:
        raise WeightError(f"batch norm over axis {axis} is not supported: export the network to ONNX")
    return F.batch_norm(x, mean, variance, None if fix_gamma else gamma, beta, training=False, eps=eps)


def _leaky_relu(x: Tensor, gamma: Tensor | None = None, *, act_type: str = "leaky", slope: float = 0.25) -> Tensor:
    if act_type == "prelu" and gamma is not None:
        return F.prelu(x, gamma)
    if act_type == "leaky":
        return F.leaky_relu(x, slope)
    raise WeightError(f"LeakyReLU of type {act_type!r} is not supported: export the network to ONNX")


def _activation(x: Tensor, *, act_type: str) -> Tensor:
    functions = {"relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}
    if act_type not in functions:
        raise WeightError(f"activation {act_type!r} is not supported: export the network to ONNX")
    return functions[act_type](x)


def _fully_connected(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, no_bias: bool = False, flatten: bool = True
) -> Tensor:
    return F.linear(x.flatten(1) if flatten else x, weight, bias)


def _pooling(
    x: Tensor,
    *,
    kernel: Pair = (),
    stride: Pair = (),
    pad: Pair = (),
    pool_type: str = "max",
    global_pool: bool = False,
    pooling_convention: str = "valid",
    count_include_pad: bool = True,
) -> Tensor:
    """Average or maximum; sizes round down (``valid``)."""
    if pool_type not in ("max", "avg") or (pooling_convention != "valid" and not global_pool):
        raise WeightError(f"pooling {pool_type!r}, {pooling_convention!r} is not supported: export the network to ONNX")
    if global_pool:
        return x.mean((2, 3), keepdim=True) if pool_type == "avg" else x.amax((2, 3), keepdim=True)
    sizes = _pair(kernel, 1), _pair(stride, 1), _pair(pad, 0)
    if pool_type == "max":
        return F.max_pool2d(x, *sizes)
    return F.avg_pool2d(x, *sizes, count_include_pad=count_include_pad)


def _concat(*parts: Tensor, dim: int = 1) -> Tensor:
    return torch.cat(parts, dim)


def _add(a: Tensor, b: Tensor) -> Tensor:
    return a + b


def _multiply(a: Tensor, b: Tensor) -> Tensor:
    return a * b


def _minus_scalar(x: Tensor, *, scalar: float) -> Tensor:
    return x - scalar


def _times_scalar(x: Tensor, *, scalar: float) -> Tensor:
    return x * scalar


def _same(x: Tensor) -> Tensor:
    return x


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Activation": _activation,
    "BatchNorm": _batch_norm,
    "BlockGrad": _same,
    "Concat": _concat,
    "Convolution": _convolution,
    "Dropout": _same,
    "Flatten": lambda x: x.flatten(1),
    "FullyConnected": _fully_connected,
    "LeakyReLU": _leaky_relu,
    "Pooling": _pooling,
    "_Plus": _add,
    "_copy": _same,
    "_minus_scalar": _minus_scalar,
    "_mul_scalar": _times_scalar,
    "_plus": _add,
    "broadcast_add": _add,
    "broadcast_mul": _multiply,
    "elemwise_add": _add,
    "elemwise_mul": _multiply,
    "identity": _same,
}
"""What the interpreter runs; a setting that is not named in a function is refused, never ignored."""

IGNORED = frozenset(
    {
        *("cudnn_off", "cudnn_tune", "lr_mult", "mode", "momentum", "num_args"),
        *("num_filter", "num_hidden", "p", "use_global_stats", "wd_mult", "workspace"),
    }
)
"""Settings that matter to training or to speed only, or that repeat the shape of a parameter."""
