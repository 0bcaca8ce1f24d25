"""Batch norms of an ONNX graph, folded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from cloakbench.models.frozen import steps as frozen
from cloakbench.models.frozen.steps import Layer, Norm
from cloakbench.models.onnx_reader.operators import OPERATORS
from cloakbench.models.onnx_reader.step import Step

_NORM, _CONVOLUTION, _PRODUCT = (OPERATORS[name] for name in ("BatchNormalization", "Conv", "Gemm"))


def fold_norms(steps: Sequence[Step], constants: dict[str, Tensor], outputs: Sequence[str]) -> list[Step]:
    """The steps with every batch norm folded into the layer before it, or turned into one multiply-add.

    Args:
        steps: of a program or a branch; they are changed in place.
        constants: tensors by name; folded ones are added.
        outputs: names of the values that the steps are run for.
    """

    def tensors(step: Step) -> list[Tensor | None] | None:
        """What a step is given beside its first input, if all of it is constant; None for an input left out."""
        names = step.inputs[1:]
        known = all(name in constants or not name for name in names)
        return [constants.get(name) for name in names] if known else None

    def norm_of(step: Step) -> Norm | None:
        given = tensors(step) if step.run is _NORM and not step.attributes.get("training_mode") else None
        if given is None or len(given) != 4 or any(part is None or part.ndim != 1 for part in given):
            return None
        scale, shift, mean, variance = given
        assert mean is not None and variance is not None
        return Norm(mean, variance, step.attributes.get("epsilon", 1e-5), scale, shift)

    def layer_of(step: Step) -> Layer | None:
        given = tensors(step) if step.run in (_CONVOLUTION, _PRODUCT) else None
        if not given or given[0] is None:
            return None
        weight, bias = given[0], given[1] if len(given) > 1 else None
        if step.run is _PRODUCT:
            said = step.attributes
            if said.get("transA") or said.get("alpha", 1) != 1 or said.get("beta", 1) != 1:
                return None
            weight = weight if said.get("transB") else weight.T
            bias = bias.flatten() if bias is not None and bias.numel() == len(weight) else bias
        return None if bias is not None and bias.shape != weight.shape[:1] else Layer(weight, bias)

    def set_layer(step: Step, layer: Layer) -> None:
        assert layer.bias is not None
        named = (("weight", layer.weight), ("bias", layer.bias))
        step.inputs = [step.inputs[0], *(add_constant(step.outputs[0], word, part) for word, part in named)]
        if step.run is _PRODUCT:
            step.attributes = {"transB": 1}

    def add_constant(value: Any, word: str, tensor: Tensor) -> str:
        name = f"{value}/folded {word}"
        constants[name] = tensor
        return name

    return frozen.fold_norms(steps, outputs, norm_of, layer_of, set_layer, add_constant)
