"""An ONNX graph as a torch module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from cloakbench.models.onnx_reader.graph import Program, Values
from cloakbench.models.weight_file import WeightError

if TYPE_CHECKING:
    import onnx


class OnnxNetwork(nn.Module):
    """A graph as a module: prepared images to the outputs asked for, a tensor for one and a tuple for several.

    Floating-point constants are buffers, so they move with the module; whole numbers are shapes and stay on the CPU.

    Args:
        graph: the main graph of a file.
        opset: version of the standard operators.
        image: name of its one input.
        outputs: names of the outputs wanted.
        source: what to call the file in errors.

    Raises:
        WeightError: see `Program`.
    """

    def __init__(self, graph: onnx.GraphProto, opset: int, image: str, outputs: Sequence[str], source: str) -> None:
        super().__init__()
        self._program = Program(graph, opset, outputs, {}, source)
        unknown = sorted(self._program.reads - {image})
        if unknown:
            raise WeightError(f"{source}: nothing gives {unknown[0]!r} before it is used: export it again")
        self._image = image
        self._small: Values = {"": None}
        self._buffer_of: dict[str, str] = {}
        for name, tensor in self._program.constants.items():
            if tensor.is_floating_point() and tensor.ndim:
                self._buffer_of[name] = f"tensor_{len(self._buffer_of)}"  # ONNX names hold dots, which buffers may not
                self.register_buffer(self._buffer_of[name], tensor)
            else:  # a number goes with tensors of every device
                self._small[name] = tensor
        self._program.constants = {}

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        values: Values = {**self._small, self._image: images}
        values.update({name: self._buffers[buffer] for name, buffer in self._buffer_of.items()})
        results = self._program.run(values)
        return results[0] if len(results) == 1 else results
