"""From an ONNX file to a checked model: what it is, whether its digest covers all of it, and which opset it speaks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloakbench.models.file_format import not_weights
from cloakbench.models.onnx_reader.operators import NEWEST, OLDEST, OPERATORS
from cloakbench.models.onnx_reader.wording import one_line, printable
from cloakbench.models.weight_file import WeightError

if TYPE_CHECKING:
    import onnx

_STANDARD = ("", "ai.onnx")
_OTHERS = {
    b"PK\x03\x04": "a zip archive, such as a PyTorch checkpoint, not ONNX: use model=checkpoint, or unpack it",
    b"\x80": "a pickle, such as an old PyTorch checkpoint, not ONNX: use model=checkpoint",
}
"""First bytes of files of weights that are saved as .onnx by mistake."""


def read_model(path: Path) -> tuple[onnx.ModelProto, int]:
    """The model of a file, its own functions written out, and the version of its standard operators.

    Raises:
        WeightError: the ``onnx`` extra is not installed, the file is not ONNX or damaged, keeps numbers in other files
            (which its digest would not cover), or is written in an opset that is not read.
    """
    try:
        import onnx
    except ImportError as error:
        raise WeightError(f"reading {path} needs the onnx extra: pip install 'cloakbench[onnx]'") from error
    if odd := not_weights(path):
        raise WeightError(f"{path} is {odd}")
    content = path.read_bytes()
    for first, meaning in _OTHERS.items():
        if content.startswith(first):
            raise WeightError(f"{path} is {meaning}")
    try:
        model = onnx.ModelProto.FromString(content)
    except Exception as error:  # corrupt bytes make the parser fail in several ways
        raise WeightError(f"{path} is not a readable ONNX file: fetch or export it again") from error
    if not model.graph.node:
        raise WeightError(f"{path} holds no ONNX graph: fetch or export it again")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(model)):
        raise WeightError(f"{path} keeps its weights in other files: save it as one file (onnx.save does)")
    versions = [entry.version for entry in model.opset_import if entry.domain in _STANDARD]
    opset = versions[0] if versions else 1
    if not OLDEST <= opset <= NEWEST:
        raise WeightError(
            f"{path} is written in opset {opset}, and opsets {OLDEST} to {NEWEST} are read: export it in one of them"
        )
    return _written_out(model, path), opset


def _tensors(message: Any) -> Iterator[onnx.TensorProto]:
    """Every stored tensor of a message, however deep: constants, sparse ones, branches, functions."""
    import onnx

    if isinstance(message, onnx.TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for part in [value] if hasattr(value, "ListFields") else value:
                yield from _tensors(part)


def _written_out(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """The model without functions of its own, and standard operators that are not known here in terms of others."""
    from onnx import defs, helper, inliner

    try:
        if model.functions:
            model = inliner.inline_local_functions(model)
        used = {node.op_type for node in _nodes(model.graph) if node.domain in _STANDARD} - OPERATORS.keys()
        schemas = [defs.get_schema(name) for name in sorted(used) if defs.has(name)]
        compound = {form.name: form for form in schemas if _has_body(form)}
        if compound:
            for node in _nodes(model.graph):
                _write_defaults(node, compound.get(node.op_type) if node.domain in _STANDARD else None)
            known = [
                helper.make_tensor_value_info(part.name, part.data_type, part.dims) for part in model.graph.initializer
            ]
            model.graph.value_info.extend(known)  # some functions are written by the types of what they are given
            model = inliner.inline_selected_functions(
                model, [("", name) for name in compound], inline_schema_functions=True
            )
    except Exception as error:  # a function that is not there, or of another opset
        raise WeightError(
            f"{path}: its functions cannot be written out ({one_line(error)}): export it again"
        ) from error
    left = [
        function for function in model.functions if any(node.domain == function.domain for node in _nodes(model.graph))
    ]
    if left:
        name = printable(f"{left[0].domain}.{left[0].name}")
        raise WeightError(f"{path}: its function {name} is written in another opset than its graph: export it in one")
    return model


def _has_body(schema: Any) -> bool:
    return schema.has_function or schema.has_context_dependent_function


def _write_defaults(node: onnx.NodeProto, schema: Any | None) -> None:
    """Gives a node the defaults of the attributes it leaves out; the inliner leaves holes in their place."""
    written = {item.name for item in node.attribute}
    for name, attribute in schema.attributes.items() if schema is not None else ():
        if name not in written and attribute.default_value.name:
            node.attribute.append(attribute.default_value)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of its branches."""
    for node in graph.node:
        yield node
        for item in node.attribute:
            if item.HasField("g"):
                yield from _nodes(item.g)
