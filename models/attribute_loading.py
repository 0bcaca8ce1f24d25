"""From a published weight file and a few lines of YAML to a checked, frozen attribute classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.models.attributes import AttributeCard, AttributeModel, AttributeOutput
from cloakbench.models.base import InputSpec
from cloakbench.models.loading import load_network, noise_images
from cloakbench.models.onnx_reader.load import Wanted
from cloakbench.models.weight_file import WeightError, WeightFile


def load_attribute_model(
    name: str,
    weights: WeightFile,
    inputs: InputSpec,
    outputs: Sequence[AttributeOutput],
    card: Mapping[str, Any],
    network: Callable[[], nn.Module] | None = None,
    output_names: Sequence[str] | None = None,
) -> AttributeModel:
    """An attribute classifier from a file on disk or at an address.

    Args:
        name: key of the model in configs, records and tables.
        weights: where the file is, its digest and its layout.
        inputs: size, normalisation and channel order the network was trained with.
        outputs: what the network answers, in the order of its outputs.
        card: the fields of ``AttributeCard`` but name and digest.
        network: builds the architecture of a checkpoint; None for an ONNX file, which carries its own.
        output_names: which outputs of an ONNX file those are, by their names in it; None when it has no others.

    Raises:
        WeightError: the file is missing, corrupt, not the one asked for or would run code; it does not fit the network;
            or what was loaded does not answer as ``outputs`` says, finitely and with a gradient.
    """
    wanted = Wanted("output_names", len(outputs), output_names)
    module, digest = load_network(weights, network, str(card.get("page", "")), inputs, wanted)
    try:
        full_card = AttributeCard(name=name, weights_sha256=digest, **card)
    except TypeError as error:
        raise WeightError(f"the card of attribute model {name} is wrong: {error}") from error
    answers = tuple(replace(output, classes=tuple(output.classes)) for output in outputs)
    model = AttributeModel(module, inputs, answers, full_card)
    _check(model)
    return model


@torch.enable_grad()
def _check(model: AttributeModel) -> None:
    """One forward and backward pass on two images of grey noise."""
    name = model.card.name
    images = noise_images()
    try:
        raw = model.network(model.inputs.prepare(images))
    except (RuntimeError, ValueError, IndexError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightError(
            f"attribute model {name} does not take two images of size {list(model.inputs.size)}: check inputs.size and "
            f"the network ({reason})"
        ) from error
    parts = (raw,) if isinstance(raw, Tensor) else tuple(raw)
    if len(parts) != len(model.outputs):
        raise WeightError(
            f"attribute model {name} has {len(parts)} outputs, and outputs describes {len(model.outputs)}"
        )
    for output, part in zip(model.outputs, parts, strict=True):
        _check_output(name, output, part.flatten(1) if part.ndim > 1 else part)
    for output, logits in model.logits(images).items():
        direction = torch.randn(logits.shape[1], generator=generator("load check", "direction"))
        gradient = None
        if logits.requires_grad:
            (gradient,) = torch.autograd.grad((logits @ direction).sum(), images, retain_graph=True)
        if gradient is None or not gradient.isfinite().all() or not (gradient.flatten(1).abs().amax(1) > 0).all():
            raise WeightError(f"attribute model {name}: {output} has no usable gradient to the input; check the file")


def _check_output(name: str, output: AttributeOutput, part: Tensor) -> None:
    width = len(output.classes) or 1
    if part.shape != (2, width):
        raise WeightError(
            f"attribute model {name}: {output.name} is {list(part.shape)} for two images, not [2, {width}]: correct "
            "the classes or the order of outputs"
        )
    if not part.isfinite().all():
        raise WeightError(f"attribute model {name}: {output.name} is not finite: check the weights and the input scale")
    are_probabilities = bool((part >= 0).all() and torch.allclose(part.sum(1), torch.ones(2), atol=1e-4))
    if width > 1 and are_probabilities != (output.kind == "probabilities"):
        found = "probabilities" if are_probabilities else "no probabilities"
        raise WeightError(f"attribute model {name}: {output.name} gives {found}, but its kind is {output.kind!r}")
