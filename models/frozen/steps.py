"""Batch norms of networks that are run as a list of steps over named values, folded into the step in front of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from torch import Tensor
from torch.nn.utils.fusion import fuse_conv_bn_weights

from cloakbench.models.frozen.layers import channel_affine, norm_as_affine


class FoldableStep(Protocol):
    """``run(*inputs, **attributes)`` gives ``outputs``; a value's name is a string or a number."""

    run: Callable[..., Any]
    inputs: list[Any]
    outputs: list[Any]
    attributes: dict[str, Any]


AnyStep = TypeVar("AnyStep", bound=FoldableStep)


@dataclass(frozen=True)
class Norm:
    """A batch norm in eval mode: statistics and weights ``[C]``; a weight that is None is one, a shift zero."""

    mean: Tensor
    variance: Tensor
    epsilon: float
    scale: Tensor | None
    shift: Tensor | None


@dataclass(frozen=True)
class Layer:
    """A convolution or a product with a matrix: weight ``[O, ...]``, bias ``[O]`` or None."""

    weight: Tensor
    bias: Tensor | None

    def with_norm(self, norm: Norm) -> Layer:
        """The layer with the norm behind it in it."""
        fused = fuse_conv_bn_weights(
            self.weight, self.bias, norm.mean, norm.variance, norm.epsilon, norm.scale, norm.shift
        )
        return Layer(*(part.detach() for part in fused))


def fold_norms(
    steps: Sequence[AnyStep],
    outputs: Iterable[Any],
    norm_of: Callable[[AnyStep], Norm | None],
    layer_of: Callable[[AnyStep], Layer | None],
    set_layer: Callable[[AnyStep, Layer], None],
    add_constant: Callable[[Any, str, Tensor], Any],
) -> list[AnyStep]:
    """The steps without those norms that the step in front of them takes up, and the others as one multiply-add.

    Args:
        steps: in running order; they are changed in place.
        outputs: names of the values that are read at the end.
        norm_of: the norm that a step is; None for other steps and for norms that are to stay.
        layer_of: the layer that a step is, if its weights are constants and its output has channels at axis 1.
        set_layer: gives a step other weights.
        add_constant: keeps a tensor under a name made of a step's output and a word, which it returns.
    """
    readers = Counter([name for step in steps for name in step.inputs] + list(outputs))
    maker: dict[Any, AnyStep] = {}
    kept = []
    for step in steps:
        norm = norm_of(step)
        if norm is not None:
            source = step.inputs[0]
            before = maker.get(source) if readers[source] == 1 else None
            layer = None if before is None else layer_of(before)
            if before is not None and layer is not None and len(layer.weight) == len(norm.mean):
                set_layer(before, layer.with_norm(norm))
                before.outputs = list(step.outputs)
                maker[step.outputs[0]] = before
                continue
            pair = norm_as_affine(norm.mean, norm.variance, norm.epsilon, norm.scale, norm.shift)
            own = [add_constant(step.outputs[0], *named) for named in zip(("scale", "shift"), pair, strict=True)]
            step.run, step.inputs, step.attributes = channel_affine, [source, *own], {}
        maker |= dict.fromkeys(step.outputs, step)
        kept.append(step)
    return kept
