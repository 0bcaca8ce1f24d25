"""From an ONNX file to a frozen module that takes any number of prepared photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.models.base import InputSpec
from cloakbench.models.onnx_reader.batching import Outputs, for_any_batch
from cloakbench.models.onnx_reader.file import read_model
from cloakbench.models.onnx_reader.network import OnnxNetwork
from cloakbench.models.onnx_reader.tensors import FLOATING, type_name
from cloakbench.models.onnx_reader.wording import one_line, printable
from cloakbench.models.weight_file import WeightError

if TYPE_CHECKING:
    import onnx

Order = tuple[int, ...]
_FIRST: Order = (0, 1, 2, 3)
_LAST: Order = (0, 2, 3, 1)
"""Where channels stand, as an order of the axes ``[N, 3, H, W]``."""


@dataclass(frozen=True)
class Wanted:
    """Which outputs of a file are asked for.

    Attributes:
        setting: what the user calls ``names``.
        count: how many there have to be; None takes any number.
        names: their names in the file, in order; None takes all.
    """

    setting: str = "output"
    count: int | None = None
    names: Sequence[str] | None = None


def load_onnx(path: Path, inputs: InputSpec, wanted: Wanted = Wanted()) -> nn.Module:
    """A frozen module in eval mode: prepared images ``[N, 3, H, W]`` to one output ``[N, ...]``, or a tuple of several.

    What it gives for a photo does not depend on the other photos, whatever batch the file was exported for.

    Args:
        path: the file.
        inputs: what the network is given.
        wanted: which of its outputs.

    Raises:
        WeightError: the file is not ONNX, damaged, not whole, made for other inputs, uses an operator that is not
            known, has not the outputs wanted, or fails on a photo.
    """
    model, opset = read_model(path)
    image = _image_input(model.graph, path)
    _check_type(image, path)
    names = _chosen(model.graph, wanted, path)
    sizes = _declared(image)
    try:
        network = OnnxNetwork(model.graph, opset, image.name, names, str(path))
    except WeightError:
        raise
    except Exception as error:  # bytes that the format allows and no exporter writes
        raise WeightError(f"{path} is not valid ONNX ({one_line(error)}): fetch or export it again") from error
    network.requires_grad_(False).eval()
    photos = inputs.prepare(_photos())
    failures: list[Exception] = []
    for order in _layouts(sizes, inputs, path):
        try:
            return for_any_batch(_Arranged(network, order, len(sizes) or 4), photos).requires_grad_(False).eval()
        except (RuntimeError, ValueError, IndexError, TypeError, KeyError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            failures.append(error)
    raise WeightError(_failure(path, failures[0], sizes, inputs)) from failures[0]


class _Arranged(nn.Module):
    """A network whose images have another order of axes, or no axis of photos."""

    def __init__(self, network: nn.Module, order: Sequence[int], axes: int) -> None:
        super().__init__()
        self.network = network
        self.order, self.axes = tuple(order), axes

    def forward(self, images: Tensor) -> Outputs:
        if self.order != _FIRST:
            images = images.permute(self.order)
        if self.axes == 3:  # one photo without an axis of its own
            images = images.squeeze(0)
        return self.network(images)


def _photos() -> Tensor:
    """Four photos ``[4, 3, 112, 112]`` of noise, the same each time: dark, light, coloured and dull."""
    noise = torch.rand(4, 3, 112, 112, generator=generator("onnx batch check"))
    contrast, light = torch.tensor([0.3, 0.5, 0.9, 0.1]), torch.tensor([0.05, 0.45, 0.05, 0.4])
    return contrast.view(-1, 1, 1, 1) * noise + light.view(-1, 1, 1, 1)


def _image_input(graph: onnx.GraphProto, path: Path) -> onnx.ValueInfoProto:
    given = {tensor.name for tensor in graph.initializer} | {part.values.name for part in graph.sparse_initializer}
    images = [value for value in graph.input if value.name not in given]  # old files list their weights as inputs
    if len(images) != 1:
        names = ", ".join(printable(value.name) for value in images) or "none"
        raise WeightError(
            f"{path} takes {len(images)} inputs ({names}); a face network takes one, its photos: export it with the "
            "others as constants"
        )
    return images[0]


def _check_type(image: onnx.ValueInfoProto, path: Path) -> None:
    kind = type_name(image.type.tensor_type.elem_type)
    if kind not in FLOATING and kind != "UNDEFINED":
        raise WeightError(f"{path} takes {kind} images, which have no gradient: export it with a FLOAT input")


def _declared(image: onnx.ValueInfoProto) -> list[int]:
    """Sizes of the input's axes, 0 where they are free; empty when the file says nothing."""
    return [max(axis.dim_value, 0) for axis in image.type.tensor_type.shape.dim]


def _chosen(graph: onnx.GraphProto, wanted: Wanted, path: Path) -> list[str]:
    there = {printable(value.name): value for value in graph.output}
    names = list(there) if wanted.names is None else list(wanted.names)
    missing = [name for name in names if name not in there]
    if missing:
        raise WeightError(f"{path} has no output {missing[0]!r}: set {wanted.setting} to one of {', '.join(there)}")
    if wanted.count is not None and len(names) != wanted.count:
        shapes = ", ".join(f"{name} {_shape(_declared(value))}" for name, value in there.items())
        told = f"{path} has {len(there)} outputs ({shapes}), and {wanted.count} must be taken"
        if len(there) < wanted.count:
            raise WeightError(f"{told}: describe those there are")
        raise WeightError(f"{told}: set {wanted.setting} to the name of {'the one' if wanted.count == 1 else 'each'}")
    return names


def _layouts(sizes: Sequence[int], inputs: InputSpec, path: Path) -> list[Order]:
    """Orders of axes to try, after what the file says of its input.

    Raises:
        WeightError: the file is made for another number of channels or another size.
    """
    if not sizes:
        return [_FIRST, _LAST]
    if len(sizes) not in (3, 4):
        raise WeightError(f"{path} takes an input with {len(sizes)} axes, {_shape(sizes)}, not photos [N, 3, H, W]")
    first, last = sizes[-3], sizes[-1]
    if first in (0, 3) and last == first == 0:
        layouts = [_FIRST, _LAST]
    elif first in (0, 3) and not (first == 0 and last == 3):
        layouts = [_FIRST]
    elif last == 3:
        layouts = [_LAST]
    else:
        channels = min(first, last) if last else first
        raise WeightError(
            f"{path} takes images of {channels} channels, {_shape(sizes)}, and is given red, green and blue: export it "
            "behind a layer that takes three"
        )
    wanted = sizes[-3:-1] if layouts == [_LAST] else sizes[-2:]
    if any(size and size != given for size, given in zip(wanted, inputs.size, strict=True)):
        size = [declared or given for declared, given in zip(wanted, inputs.size, strict=True)]
        raise WeightError(
            f"{path} takes images of size {size}, and inputs.size is {list(inputs.size)}: set it to {size}"
        )
    return layouts


def _shape(sizes: Sequence[int]) -> str:
    return f"[{', '.join(str(size) if size else 'any' for size in sizes)}]" if sizes else "[...]"


def _failure(path: Path, error: Exception, sizes: Sequence[int], inputs: InputSpec) -> str:
    place = (getattr(error, "__notes__", None) or ["its input"])[0]
    reason = one_line(error)
    told = f"{path} fails on a photo of size {list(inputs.size)} at {place}: {reason}"
    if "export" in reason:  # it says itself what to do
        return told
    if len(sizes) == 4 and sizes[0] > 1:
        return f"{told}; it was exported for batches of {sizes[0]}: export it for one photo, or with a free batch axis"
    free = not sizes or not all(sizes[-3:])
    return f"{told}; {'check inputs.size, which the file leaves free' if free else 'export it again'}"
