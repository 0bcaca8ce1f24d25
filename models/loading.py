"""From a published weight file and a few lines of YAML to a checked, frozen recogniser."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.models.base import InputSpec, ModelCard, Recogniser
from cloakbench.models.frozen.network import freeze, with_channels_last
from cloakbench.models.onnx_reader.load import Wanted, load_onnx
from cloakbench.models.state_dict import read_state_dict
from cloakbench.models.weight_file import WeightError, WeightFile

_FACE = InputSpec()
_ALL_OUTPUTS = Wanted()


def load_recogniser(
    name: str,
    weights: WeightFile,
    inputs: InputSpec,
    card: Mapping[str, Any],
    network: Callable[[], nn.Module] | None = None,
    output: str | None = None,
) -> Recogniser:
    """A recogniser from a file on disk or at an address.

    Args:
        name: key of the model in configs, records and tables.
        weights: where the file is, its digest and its layout.
        inputs: size, normalisation, channel order and crop the network was trained with.
        card: the fields of ``ModelCard`` that cannot be read off the file: all but name, embedding size and digest.
        network: builds the architecture of a checkpoint; None for an ONNX file, which carries its own.
        output: name of the embedding among the outputs of an ONNX file; None when there is one.

    Raises:
        WeightError: the file is missing, corrupt, not the one asked for or would run code; it does not fit the network;
            or what was loaded does not give finite embeddings ``[N, D]`` with a gradient.
    """
    wanted = Wanted("output", 1, None if output is None else [output])
    module, digest = load_network(weights, network, str(card.get("page", "")), inputs, wanted)
    return assemble(name, module, digest, inputs, card)


def assemble(name: str, module: nn.Module, digest: str, inputs: InputSpec, card: Mapping[str, Any]) -> Recogniser:
    """A recogniser of a filled network, after one forward and backward pass; the last step of every loader.

    Args:
        name: key of the model in configs, records and tables.
        module: prepared images ``[N, 3, H, W]`` to embeddings ``[N, D]``; any dimension of size one may follow.
        digest: sha256 of what decides the weights.
        inputs, card: see `load_recogniser`.

    Raises:
        WeightError: the card has an unknown field, or the embeddings are not finite ``[N, D]`` with a gradient.
    """
    module.requires_grad_(False).eval()
    embedding_size = _checked_embedding_size(name, module, inputs)
    fields = dict(card)
    if fields.get("legacy_thresholds") is not None:
        fields["legacy_thresholds"] = tuple(fields["legacy_thresholds"])  # YAML has lists only
    try:
        full_card = ModelCard(name=name, embedding_size=embedding_size, weights_sha256=digest, **fields)
    except TypeError as error:
        raise WeightError(f"the card of model {name} is wrong: {error}") from error
    return Recogniser(module, inputs, full_card)


def load_network(
    weights: WeightFile,
    network: Callable[[], nn.Module] | None,
    page: str = "",
    inputs: InputSpec = _FACE,
    wanted: Wanted = _ALL_OUTPUTS,
) -> tuple[nn.Module, str]:
    """The frozen network of a weight file, and the file's sha256.

    Args:
        weights: where the file is, its digest and its layout.
        network: builds the architecture of a checkpoint; None for an ONNX file, which carries its own.
        page: where the file is published; named when it is missing and cannot be fetched.
        inputs: what the network of an ONNX file is given.
        wanted: which outputs of an ONNX file.

    Raises:
        WeightError: the file is missing, corrupt, not the one asked for, would run code, or does not fit the network.
    """
    path, digest = weights.resolve(page, remember=False)
    if network is None:
        if path.suffix.lower() != ".onnx":
            raise WeightError(f"{path} needs a network to load into: set network._target_ (only .onnx brings its own)")
        if weights.state_key is not None or weights.strip_prefix or weights.ignore:
            raise WeightError(
                f"{path} has no state dict: weights.state_key, weights.strip_prefix and weights.ignore are for "
                "checkpoints"
            )
        module = load_onnx(path, inputs, wanted)
    elif wanted.names is not None:
        raise WeightError(f"{wanted.setting} names outputs of an ONNX file, and {path} is a checkpoint: leave it out")
    else:
        state = read_state_dict(path, weights.state_key, weights.strip_prefix, weights.ignore)
        module = with_channels_last(freeze(fill(network, state, path)), inputs.prepare(noise_images()))
    weights.keep_to(path, digest)
    return module.requires_grad_(False).eval(), digest


def noise_images() -> Tensor:
    """Two images ``[2, 3, 112, 112]`` of grey noise around mid-grey, the same each time, which take a gradient."""
    noise = torch.randn(2, 1, 112, 112, generator=generator("load check"))
    return (0.5 + 0.1 * noise).clamp(0, 1).expand(-1, 3, -1, -1).clone().requires_grad_()


def fill(network: Callable[[], nn.Module], state: Mapping[str, Tensor], path: Path) -> nn.Module:
    """The network with exactly the tensors of ``state``; it is built without memory, so no weight is drawn first.

    Batch norm's ``num_batches_tracked`` may be absent or left over; it plays no part in inference.

    Raises:
        WeightError: a key is missing, unexpected, has another shape or no values; ``path`` names the file in the
            message, which says what to set.
    """
    module = _built(network)
    own = module.state_dict()
    missing = [key for key in own if key not in state and not _is_counter(key)]
    unexpected = [key for key in state if key not in own and not _is_counter(key)]
    misshapen = [
        f"{key} ({list(state[key].shape)} in the file, {list(tensor.shape)} in the network)"
        for key, tensor in own.items()
        if key in state and state[key].shape != tensor.shape and not _is_counter(key)
    ]
    wrong_kind = [
        f"{key} ({state[key].dtype} in the file, {tensor.dtype} in the network)"
        for key, tensor in own.items()
        if key in state and tensor.is_floating_point() and not state[key].is_floating_point()
    ]
    empty = [key for key in own if key in state and state[key].is_meta]
    lists = {
        "missing": missing,
        "unexpected": unexpected,
        "wrong shape": misshapen,
        "wrong kind": wrong_kind,
        "without values": empty,
    }
    if any(lists.values()):
        found = "; ".join(f"{what}: {_first(keys)}" for what, keys in lists.items() if keys)
        advice = _advice(missing, unexpected, state)
        raise WeightError(f"{path} does not fit {type(module).__name__}: {found}: {advice}")
    # A counter keeps the network's own shape and kind, whatever a file made of it.
    used = {key: tensor for key, tensor in state.items() if not _is_counter(key)}
    used |= {key: torch.zeros((), dtype=torch.long) for key in own if _is_counter(key)}
    module.load_state_dict(used, strict=True, assign=True)
    if any(tensor.is_meta for tensor in chain(module.parameters(), module.buffers())):
        # Tensors outside the state dict, such as the position tables of a Swin transformer, are computed on building.
        with torch.random.fork_rng(devices=[]):
            module = network()
        module.load_state_dict(used, strict=True, assign=True)
    return module


def _built(network: Callable[[], nn.Module]) -> nn.Module:
    """A network without memory where it can be built so; one that computes with its numbers is built as usual."""
    try:
        with torch.device("meta"):
            return network()
    except (RuntimeError, NotImplementedError):  # such as .item() of a depth rule
        with torch.random.fork_rng(devices=[]):
            return network()


def _is_counter(key: str) -> bool:
    return key.rpartition(".")[2] == "num_batches_tracked"


def _advice(missing: Sequence[str], unexpected: Sequence[str], state: Mapping[str, Tensor]) -> str:
    """What to set so that a state dict fits, as far as its names tell."""
    if missing:
        ends = [key.removesuffix(missing[0]) for key in unexpected if key.endswith(f".{missing[0]}")]
        prefix = next((end for end in ends if all(f"{end}{key}" in state for key in missing)), None)
        if prefix is not None:
            return f"set weights.strip_prefix={prefix}"
    elif unexpected:
        heads = sorted({f"{key.partition('.')[0]}." if "." in key else key for key in unexpected})
        several = heads[0] if len(heads) == 1 else f"[{','.join(heads)}]"
        return (
            f"leave out what the network does not have with weights.ignore={several}, or check network, "
            "state_key and strip_prefix"
        )
    return "check network, state_key and strip_prefix"


def _first(keys: Sequence[str], limit: int = 3) -> str:
    rest = f" and {len(keys) - limit} more" if len(keys) > limit else ""
    return ", ".join(keys[:limit]) + rest


@torch.enable_grad()
def _checked_embedding_size(name: str, module: nn.Module, inputs: InputSpec) -> int:
    """D, after one forward and backward pass on two aligned-size images of grey noise."""
    images = noise_images()
    try:
        output = module(inputs.prepare(images))
    except (RuntimeError, ValueError, IndexError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightError(
            f"model {name} does not take two images of size {list(inputs.size)}: check inputs.size and the network "
            f"({reason})"
        ) from error
    if not isinstance(output, Tensor):
        raise WeightError(f"model {name} has {len(output)} outputs; a recogniser has one, its embedding")
    if output.ndim < 2 or len(output) != len(images) or output[0].numel() != output.shape[1] or output.shape[1] < 2:
        raise WeightError(
            f"model {name} gives {list(output.shape)} for two images, not [2, D] with D of 2 or more: check that it is "
            "a recogniser"
        )
    if not output.requires_grad:
        raise WeightError(
            f"model {name} gives {output.dtype} without a gradient to its input, as rounded numbers and constants are: "
            "it cannot be attacked; check the file"
        )
    if not output.isfinite().all():
        raise WeightError(f"model {name} gives values that are not finite: check the weights and the input scale")
    direction = torch.randn(output[0].numel(), generator=generator("load check", "direction"))
    (gradient,) = torch.autograd.grad((F.normalize(output.flatten(1)) @ direction).sum(), images)
    if not gradient.isfinite().all() or not (gradient.flatten(1).abs().amax(1) > 0).all():
        raise WeightError(f"model {name} has no usable gradient to its input: it cannot be attacked; check the file")
    return output.shape[1]
