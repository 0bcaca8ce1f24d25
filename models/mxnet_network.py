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
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from cloakbench.models.base import InputSpec, Recogniser
from cloakbench.models.frozen.steps import Layer, Norm, fold_norms
from cloakbench.models.loading import assemble
from cloakbench.models.mxnet_file import read_params
from cloakbench.models.mxnet_operators import (
    EPSILON,
    IGNORED,
    OPERATORS,
    batch_norm,
    convolution,
    fully_connected,
)
from cloakbench.models.weight_file import WeightError, WeightFile


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
        constants: dict[int | str, Tensor] = {}
        self._steps: list[_Step] = []
        for place in _ancestors(nodes, self._output):
            node = nodes[place]
            if node["op"] != "null":
                operator, settings = _operator(node, source)
                self._steps.append(_Step(operator, [entry[0] for entry in node["inputs"]], [place], settings))
            elif (tensor := _parameter(parameters, node["name"])) is not None:
                constants[place] = tensor
            elif self._input < 0:
                self._input = place
            else:
                raise WeightError(f"{source} needs {node['name']}, which the parameter file does not hold")
        if self._input < 0:
            raise WeightError(f"{source} has no input for images: fetch it again")
        self._steps = _folded(self._steps, constants, self._output)
        used = {entry for step in self._steps for entry in step.inputs} & constants.keys()
        # MXNet allows names that buffers may not have.
        self._buffer_of = {entry: f"tensor_{number}" for number, entry in enumerate(sorted(used, key=str))}
        for entry, name in self._buffer_of.items():
            self.register_buffer(name, constants[entry])

    def forward(self, images: Tensor) -> Tensor:
        values: dict[int | str, Tensor] = {self._input: images}
        values |= {entry: self.get_buffer(name) for entry, name in self._buffer_of.items()}
        for step in self._steps:
            values[step.outputs[0]] = step.run(*(values[entry] for entry in step.inputs), **step.attributes)
        return values[self._output]


@dataclass
class _Step:
    """One node: ``run(*inputs, **attributes)`` gives its one output. Values are named by their place in the file, and
    constants that folding made by a text."""

    run: Callable[..., Tensor]
    inputs: list[int | str]
    outputs: list[int | str]
    attributes: dict[str, Any]


def _folded(steps: Sequence[_Step], constants: dict[int | str, Tensor], output: int) -> list[_Step]:
    """The steps with batch norms folded; ``constants`` gets the folded tensors."""

    def norm_of(step: _Step) -> Norm | None:
        of_channels = step.run is batch_norm and step.attributes.get("axis", 1) == 1
        if not of_channels or not constants.keys() >= set(step.inputs[1:]):
            return None
        gamma, beta, mean, variance = (constants[entry] for entry in step.inputs[1:])
        fixed = step.attributes.get("fix_gamma", True)
        return Norm(mean, variance, step.attributes.get("eps", EPSILON), None if fixed else gamma, beta)

    def layer_of(step: _Step) -> Layer | None:
        if step.run not in (convolution, fully_connected) or not constants.keys() >= set(step.inputs[1:]):
            return None
        if step.run is fully_connected and not step.attributes.get("flatten", True):
            return None
        weight, *bias = (constants[entry] for entry in step.inputs[1:])
        return Layer(weight, bias[0] if bias else None)

    def set_layer(step: _Step, layer: Layer) -> None:
        named = (("weight", layer.weight), ("bias", layer.bias))
        step.inputs = [step.inputs[0], *(add_constant(step.outputs[0], word, part) for word, part in named)]

    def add_constant(value: int | str, word: str, tensor: Tensor | None) -> str:
        assert tensor is not None
        constants[f"{value} {word}"] = tensor
        return f"{value} {word}"

    return fold_norms(steps, [output], norm_of, layer_of, set_layer, add_constant)


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
