"""Small ONNX recognisers, and the judgement of onnxruntime on them, one photo at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cloakbench.models.base import InputSpec
from cloakbench.models.onnx_reader.load import Wanted, load_onnx
from cloakbench.models.weight_file import WeightError

SIZE = 32
INPUTS = InputSpec(size=(SIZE, SIZE), mean=0.5, std=0.5)


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(kind, list(inputs), list(outputs), **attributes)


def weight(*shape: int, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng((seed, *shape))
    return (draw.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


WEIGHTS = {"w1": weight(8, 3, 3, 3), "w2": weight(16, 8, 3, 3), "w3": weight(16, 16)}


def conv(before: str, name: str, after: str, **options: Any) -> Any:
    options = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]} | options
    return node("Conv", [before, name], [after], **{key: value for key, value in options.items() if value is not None})


FIRST = conv("input", "w1", "a")
"""``input`` to ``a`` ``[N, 8, 16, 16]``."""
MIDDLE = [conv("b", "w2", "c"), node("Relu", ["c"], ["d"]), node("GlobalAveragePool", ["d"], ["e"])]
"""``b`` ``[N, 8, h, w]`` to ``e`` ``[N, 16, 1, 1]``."""
LAST = node("Gemm", ["f", "w3"], ["embedding"], transB=1)
"""``f`` ``[N, 16]`` to ``embedding`` ``[N, 16]``."""
END = [node("Flatten", ["e"], ["f"]), LAST]
RELU = node("Relu", ["a"], ["b"])
BODY = [FIRST, RELU, *MIDDLE]
PLAIN = [*BODY, *END]
"""``input`` to ``e``, and to ``embedding``."""


def model(
    nodes: Sequence[Any],
    constants: Mapping[str, Any] | None = None,
    *,
    opset: int = 17,
    shape: Sequence[int | str] | None = ("n", 3, SIZE, SIZE),
    outputs: Sequence[str] = ("embedding",),
    kind: str = "FLOAT",
    functions: Sequence[Any] = (),
) -> Any:
    """A model from ``input`` to ``outputs`` with the weights it uses."""
    from onnx import TensorProto, helper, numpy_helper

    element = getattr(TensorProto, kind)
    tensors = {**WEIGHTS, **(constants or {})}
    used = _names(nodes)
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items() if name in used]
    graph = helper.make_graph(
        list(nodes),
        "face",
        [helper.make_tensor_value_info("input", element, None if shape is None else list(shape))],
        [helper.make_tensor_value_info(name, element, None) for name in outputs],
        stored,
    )
    domains = {item.domain for item in functions}
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    made = helper.make_model(graph, opset_imports=imports, functions=list(functions))
    made.ir_version = 3 if opset < 9 else 8 if opset < 20 else 10
    if opset < 9:  # old files list their weights among the inputs
        made.graph.input.extend(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)) for tensor in stored
        )
    return made


def _names(nodes: Sequence[Any]) -> set[str]:
    names = {name for part in nodes for name in part.input}
    for part in nodes:
        for item in part.attribute:
            if item.HasField("g"):
                names |= _names(item.g.node)
    return names


def photos(count: int = 3, size: int = SIZE) -> Tensor:
    """Prepared photos ``[count, 3, size, size]`` in [-1, 1], unlike each other."""
    noise = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(7))
    return (2 * noise - 1) * torch.linspace(0.3, 1, count).view(-1, 1, 1, 1)


def judged(made: Any, images: Tensor, output: str = "embedding") -> Tensor:
    """What onnxruntime gives for each photo alone, ``[N, D]``."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name, kind = session.get_inputs()[0].name, session.get_inputs()[0].type
    cast = {"tensor(float16)": np.float16, "tensor(double)": np.float64}.get(kind, np.float32)
    rows = [session.run([output], {name: image[None].numpy().astype(cast)})[0] for image in images.detach()]
    return torch.stack([torch.from_numpy(np.asarray(row).astype(np.float32)).flatten() for row in rows])


def saved(made: Any, folder: Path, name: str = "net.onnx") -> Path:
    path = folder / name
    path.write_bytes(made.SerializeToString())
    return path


def loaded(made: Any, folder: Path, wanted: Wanted | None = None, inputs: InputSpec = INPUTS) -> nn.Module:
    return load_onnx(saved(made, folder), inputs, wanted or Wanted("output", 1))


def refusal(made: Any, folder: Path, wanted: Wanted | None = None, inputs: InputSpec = INPUTS) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(WeightError) as error:
        loaded(made, folder, wanted, inputs)
    told = str(error.value)
    assert "\n" not in told
    return told


def assert_like_onnxruntime(
    made: Any, folder: Path, wanted: Wanted | None = None, output: str = "embedding", cosine: float = 0.99999
) -> nn.Module:
    """The file loads, equals onnxruntime photo by photo, and has a finite gradient that stays with its photo."""
    network, images = loaded(made, folder, wanted), photos().requires_grad_()
    expected, found = judged(made, images, output), network(images)
    assert found.shape[0] == len(images)
    assert found.flatten(1).shape == expected.shape
    similarity = torch.cosine_similarity(found.detach().flatten(1), expected)
    assert similarity.min() > cosine, similarity
    scale = float(expected.abs().max())
    torch.testing.assert_close(found.detach().flatten(1), expected, rtol=0, atol=max(1e-4, 1 - cosine) * 10 * scale)
    (gradient,) = torch.autograd.grad(found[0].sin().sum(), images)
    assert gradient.isfinite().all()
    assert gradient[0].abs().max() > 0
    assert (gradient[1:] == 0).all(), "a photo's answer has a slope to another photo"
    return network
