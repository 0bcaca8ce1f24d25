"""An ONNX graph run node by node in torch, differentiable in its input."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cloakbench.models.onnx_reader.folding import fold_norms
from cloakbench.models.onnx_reader.operators import OPERATORS, operator_of
from cloakbench.models.onnx_reader.operators.elementwise import Operator
from cloakbench.models.onnx_reader.operators.quantised import ROUNDING
from cloakbench.models.onnx_reader.step import Step
from cloakbench.models.onnx_reader.tensors import from_proto, from_sparse
from cloakbench.models.onnx_reader.wording import one_line, printable
from cloakbench.models.weight_file import WeightError

if TYPE_CHECKING:
    import onnx

Values = dict[str, Tensor | None]
"""Values by their ONNX names; the empty name is an input that is left out."""

_SEVERAL = {"Split": 0, "TopK": 2}
"""Operators with more than one output here (0: any number). Others have more in the specification, for training."""


class Program:
    """The nodes of a graph that lead to some of its outputs.

    Args:
        graph: the main graph, or a branch.
        opset: version of the standard operators.
        outputs: names of the values wanted, in their order.
        outer: constants of the graph around a branch.
        source: what to call the file in errors.

    Raises:
        WeightError: an operator or attribute is not known, or a constant cannot be read.
    """

    def __init__(
        self,
        graph: onnx.GraphProto,
        opset: int,
        outputs: Sequence[str],
        outer: Mapping[str, Tensor],
        source: str,
    ) -> None:
        self.outputs = list(outputs)
        self.constants: dict[str, Tensor] = dict(outer)
        self.steps: list[Step] = []
        self._opset, self._source = opset, source
        wanted = _ancestors(graph, outputs)
        for tensor in graph.initializer:
            if tensor.name in wanted:
                self.constants[tensor.name] = self._read(tensor.name, tensor)
        for sparse in graph.sparse_initializer:
            if sparse.values.name in wanted:
                self.constants[sparse.values.name] = self._read(sparse.values.name, sparse)
        for place, node in enumerate(graph.node):
            if wanted.intersection(filter(None, node.output)):
                self._add(node, f"node {node.name!r}" if node.name else f"node {place}", wanted)
        self.steps = fold_norms(self.steps, self.constants, self.outputs)
        used = {name for step in self.steps for name in step.inputs} | set(self.outputs)
        self.constants = {name: tensor for name, tensor in self.constants.items() if name in used}
        _mark_last_uses(self.steps, {*self.outputs, *self.constants})

    @property
    def reads(self) -> set[str]:
        """Names that neither a node before their use nor a constant of this graph gives."""
        made, read = {"", *self.constants}, set[str]()
        for step in self.steps:
            read.update(name for name in step.inputs if name not in made)
            made.update(step.outputs)
        return read | {name for name in self.outputs if name not in made}

    def run(self, values: Values) -> tuple[Tensor, ...]:
        """The outputs; ``values`` holds the constants and what the graph reads, and is used up.

        Errors of an operator carry a note that names the node.
        """
        for step in self.steps:
            try:
                results = step.run(*[values[name] for name in step.inputs], **step.attributes)
            except Exception as error:
                error.add_note(step.label)
                raise
            if isinstance(results, Tensor):
                values[step.outputs[0]] = results
            else:
                values.update(zip(step.outputs, results, strict=True))
            for name in step.last_use:
                del values[name]
        return tuple(values[name] for name in self.outputs)  # pyright: ignore[reportReturnType]

    def _add(self, node: onnx.NodeProto, place: str, wanted: Collection[str]) -> None:
        kind = ".".join(printable(part) for part in (node.domain, node.op_type) if part)
        label = f"{kind} of opset {self._opset} ({printable(place)})"
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            self.constants[node.output[0]] = self._constant(node, label)
            return
        attributes = {item.name: self._attribute(item, label) for item in node.attribute}
        if node.op_type == "If" and node.domain in ("", "ai.onnx"):
            self._add_choice(node, label)
            return
        operator = operator_of(node.op_type, self._opset) if node.domain in ("", "ai.onnx") else None
        if operator is None:
            raise WeightError(f"{self._source} stops the ONNX reader at {label}, {_why_unknown(node)}")
        outputs = list(node.output)
        if node.op_type == "Split" and len(node.input) < 2 and "split" not in attributes:
            attributes["num_outputs"] = len(outputs)
        if node.op_type == "BatchNormalization" and self._opset < 14 and sum(map(bool, outputs)) > 1:
            attributes["training_mode"] = 1  # before it was an attribute, the outputs told
        known = _SEVERAL.get(node.op_type, 1)
        if known:
            extra = [name for name in outputs[known:] if name in wanted]
            if extra:
                raise WeightError(
                    f"{self._source} stops the ONNX reader at {label}: its output {extra[0]!r}, beside the first, "
                    "is not known: export the network in eval mode"
                )
            outputs = outputs[:known]
        _check_call(operator, node, attributes, f"{self._source} stops the ONNX reader at {label}")
        self._append(Step(operator, list(node.input), outputs, attributes, label))

    def _append(self, step: Step) -> None:
        """Runs a node of constants at once, keeps any other."""
        if not all(name == "" or name in self.constants for name in step.inputs):
            self.steps.append(step)
            return
        try:
            with torch.no_grad():
                results = step.run(*[self.constants.get(name) for name in step.inputs], **step.attributes)
        except Exception as error:
            raise WeightError(f"{self._source} stops the ONNX reader at {step.label}: {one_line(error)}") from error
        results = (results,) if isinstance(results, Tensor) else results
        self.constants.update(zip(step.outputs, results, strict=True))

    def _add_choice(self, node: onnx.NodeProto, label: str) -> None:
        """An ``If``: the branch it takes where the condition is a constant, both where it depends on the input."""
        branches = {item.name: item.g for item in node.attribute}

        def program(name: str) -> Program:
            branch = branches[name]
            return Program(branch, self._opset, [value.name for value in branch.output], self.constants, self._source)

        condition = node.input[0]
        if condition in self.constants:
            taken = program("then_branch" if bool(self.constants[condition]) else "else_branch")
            renamed = self._take_over(taken, node.output[0])
            for inner, outer in zip(taken.outputs, node.output, strict=True):
                self._append(Step(OPERATORS["Identity"], [renamed.get(inner, inner)], [outer], {}, label))
            return
        branches_run = []
        for which in ("then_branch", "else_branch"):
            branch = program(which)
            own = self._keep(branch, f"{node.output[0]}/{which}")
            reads = sorted(branch.reads | branch.constants.keys())
            branches_run.append((branch, reads, [own.get(name, name) for name in reads]))
        given = [name for _, _, names in branches_run for name in names]

        def run(chosen: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
            at = dict(zip(given, values, strict=True))
            branch, reads, names = branches_run[0 if bool(chosen) else 1]
            return branch.run({"": None, **{read: at[name] for read, name in zip(reads, names, strict=True)}})

        self.steps.append(Step(run, [condition, *given], list(node.output), {}, label))

    def _keep(self, branch: Program, prefix: str) -> dict[str, str]:
        """Takes the constants of a branch under names of their own: two branches may call different ones the same."""
        renamed = {
            name: f"{prefix}/{name}"
            for name, value in branch.constants.items()
            if self.constants.get(name) is not value
        }
        self.constants.update({new: branch.constants[name] for name, new in renamed.items()})
        return renamed

    def _take_over(self, branch: Program, prefix: str) -> dict[str, str]:
        """Puts the nodes of a branch in place of a choice that is always the same; inner names to their new ones."""
        renamed = self._keep(branch, prefix)
        renamed |= {name: f"{prefix}/{name}" for step in branch.steps for name in step.outputs}
        for step in branch.steps:
            step.inputs = [renamed.get(name, name) for name in step.inputs]
            step.outputs = [renamed[name] for name in step.outputs]
            self.steps.append(step)
        return renamed

    def _constant(self, node: onnx.NodeProto, label: str) -> Tensor:
        item = node.attribute[0]
        if item.name == "value":
            return self._read(label, item.t)
        if item.name == "sparse_value":
            return self._read(label, item.sparse_tensor)
        if item.name in ("value_int", "value_ints"):
            return torch.tensor(self._attribute(item, label), dtype=torch.int64)
        if item.name in ("value_float", "value_floats"):
            return torch.tensor(self._attribute(item, label), dtype=torch.float32)
        raise WeightError(f"{self._source} stops the ONNX reader at {label}: it holds text, not numbers")

    def _attribute(self, item: onnx.AttributeProto, label: str) -> Any:
        from onnx import helper

        value = helper.get_attribute_value(item)
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        if item.type == item.TENSOR:
            return self._read(label, item.t)
        return list(value) if isinstance(value, Sequence) else value

    def _read(self, name: str, proto: onnx.TensorProto | onnx.SparseTensorProto) -> Tensor:
        try:
            return from_sparse(proto) if hasattr(proto, "indices") else from_proto(proto)  # pyright: ignore
        except Exception as error:  # numbers that do not fill the declared shape, unknown types, places outside
            raise WeightError(
                f"{self._source}: the constant {name} cannot be read ({one_line(error)}): fetch or export it again"
            ) from error


def _ancestors(graph: onnx.GraphProto, outputs: Sequence[str]) -> set[str]:
    """Names of all values that the outputs depend on, themselves included."""
    maker = {name: node for node in graph.node for name in node.output if name}
    found, todo = set(outputs), list(outputs)
    while todo:
        node = maker.get(todo.pop())
        for name in _all_inputs(node) if node is not None else ():
            if name not in found:
                found.add(name)
                todo.append(name)
    return found


def _all_inputs(node: onnx.NodeProto) -> set[str]:
    """Inputs of a node, with what its branches read from around them."""
    names = set(filter(None, node.input))
    for item in node.attribute:
        for inner in [item.g] if item.HasField("g") else item.graphs:
            names.update(value.name for value in inner.output)
            for part in inner.node:
                names |= _all_inputs(part)
    return names


def _mark_last_uses(steps: Sequence[Step], kept: Collection[str]) -> None:
    """Lets a value go once its last reader has run: an unused activation is the most memory there is."""
    seen = set(kept) | {""}
    for step in reversed(steps):
        step.last_use = sorted({*step.inputs, *step.outputs} - seen)
        seen.update(step.last_use)


def _check_call(operator: Operator, node: onnx.NodeProto, attributes: Collection[str], place: str) -> None:
    """Every attribute and input has a meaning here, or the file is refused."""
    try:
        signature = inspect.signature(operator)
    except ValueError:  # a function of torch itself; those taken here know no attribute
        signature = inspect.Signature([inspect.Parameter("x", inspect.Parameter.POSITIONAL_ONLY)])
    unknown = sorted(set(attributes) - set(signature.parameters))
    if unknown:
        raise WeightError(f"{place}, whose attribute {printable(unknown[0])} it does not know: export it without")
    try:
        signature.bind(*node.input, **dict.fromkeys(attributes))
    except TypeError as error:
        raise WeightError(f"{place}, which is not complete ({error}): export it again") from error


def _why_unknown(node: onnx.NodeProto) -> str:
    if node.op_type in ROUNDING:
        return "which rounds to whole numbers: a quantised network has no gradient; use the file it was made from"
    if node.domain not in ("", "ai.onnx"):
        return "which is not of the ONNX standard: export it again without an optimiser that brings its own operators"
    if node.op_type in ("Loop", "Scan"):
        return "which repeats a part of the graph: export it with a fixed number of steps, so that it is written out"
    return "which it does not know: export it without that operator, or load the checkpoint it was made from"
