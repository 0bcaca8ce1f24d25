"""Batch norms of a frozen torch module, folded into the convolution or linear layer in front of each.

In eval mode a batch norm is a multiply-add per channel, and so it is part of a linear map before it. Which layer feeds
which is read off a trace (`torch.fx`); modules are exchanged in place, so that names of layers stay. A network that
cannot be traced, or whose layers are used in unusual ways, keeps what is not understood as it is.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from cloakbench.models.frozen.layers import ChannelAffine

log = logging.getLogger(__name__)

_NOTHING_IN_EVAL = (nn.Identity, nn.Dropout, nn.Dropout2d)


def fold_norms(network: nn.Module) -> None:
    """Fold every batch norm that can be, and turn the others into one multiply-add; in place, in eval mode.

    A norm before a zero-padded convolution stays a multiply-add: the padding is zero behind the norm, not before it.
    """
    if not any(isinstance(module, _BatchNorm) for module in network.modules()):
        return
    graph = _traced(network)
    if graph is None:
        return
    plain = _used_once(network, graph)
    for node in graph.nodes:
        norm = plain.get(node.target) if node.op == "call_module" else None
        rest = None if norm is None else _rest(norm)
        if rest is None or len(node.args) != 1 or node.kwargs:
            continue
        assert isinstance(norm, _BatchNorm)
        before = _before(node.args[0], plain)
        layer = None if before is None else plain.get(before.target)
        if before is not None and layer is not None and _can_take(layer, norm, before, plain):
            plain[before.target] = _taken_up(layer, norm)
            replace_module(network, str(before.target), plain[before.target])
            kept = rest or [nn.Identity()]
        else:
            kept = [ChannelAffine(norm), *rest]
        replace_module(network, str(node.target), kept[0] if len(kept) == 1 else nn.Sequential(*kept))


def replace_module(network: nn.Module, name: str, module: nn.Module) -> None:
    """Put ``module`` where ``name`` is in a network."""
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, module.train(network.training))


def is_hooked(module: nn.Module) -> bool:
    """Whether somebody listens to a module or changes what goes through it."""
    return any(
        getattr(module, hooks)
        for hooks in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    )


class _Tracer(fx.Tracer):
    """Also takes timm's norm with an activation as one layer."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return _rest(m) is not None or super().is_leaf_module(m, module_qualified_name)


def _traced(network: nn.Module) -> fx.Graph | None:
    own = set(vars(network))
    try:
        return _Tracer().trace(network)
    except Exception as error:  # whatever code of others does with a value that is none
        log.info("%s keeps its batch norms: it cannot be traced (%r)", type(network).__name__, error)
        return None
    finally:
        for name in set(vars(network)) - own:  # constants that the trace has laid there
            delattr(network, name)


def _used_once(network: nn.Module, graph: fx.Graph) -> dict[object, nn.Module]:
    """Layers by name that are called at one place under one name, and whose weights and output nobody else reads."""
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    read = {node.target.rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    named = dict(network.named_modules(remove_duplicate=False))
    holders = Counter(id(module) for module in named.values())
    weights = Counter(id(weight) for module in set(named.values()) for weight in module.parameters(recurse=False))
    return {
        name: module
        for name, module in named.items()
        if calls[name] == holders[id(module)] == 1
        and name not in read
        and not is_hooked(module)
        and all(weights[id(weight)] == 1 for weight in module.parameters(recurse=False))
    }


def _rest(module: nn.Module) -> list[nn.Module] | None:
    """What a norm does beside the norm: nothing, or an activation (timm's ``BatchNormAct2d``); None: it is no norm."""
    if not isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) or module.running_mean is None:
        return None
    if type(module) in (nn.BatchNorm1d, nn.BatchNorm2d):
        return []
    parts = [getattr(module, name, None) for name in ("drop", "act")]
    if type(module).__module__.startswith("timm.") and all(isinstance(part, nn.Module) for part in parts):
        return [part for part in parts if isinstance(part, nn.Module)]
    return None


def _before(node: object, plain: Mapping[object, nn.Module]) -> fx.Node | None:
    """The layer whose output a norm is given and nobody else, past what does nothing in eval mode."""
    while isinstance(node, fx.Node) and node.op == "call_module" and len(node.users) == 1:
        if type(plain.get(node.target)) not in _NOTHING_IN_EVAL:
            return node
        node = node.args[0]
    return None


def _can_take(layer: nn.Module, norm: _BatchNorm, node: fx.Node, plain: Mapping[object, nn.Module]) -> bool:
    if type(layer) is nn.Conv2d:
        return isinstance(norm, nn.BatchNorm2d) and layer.out_channels == norm.num_features
    if type(layer) is nn.Linear:
        return norm.affine and layer.out_features == norm.num_features and _is_flat(node.args[0], plain)
    return False


def _is_flat(node: object, plain: Mapping[object, nn.Module]) -> bool:
    """Whether a value surely is a matrix ``[N, D]``: behind a linear layer with more axes a norm has others."""
    while isinstance(node, fx.Node):
        layer = plain.get(node.target) if node.op == "call_module" else None
        if isinstance(layer, nn.Flatten):
            return (layer.start_dim, layer.end_dim) == (1, -1)
        if type(layer) not in _NOTHING_IN_EVAL:
            flattens = (node.op, node.target) in (("call_method", "flatten"), ("call_function", torch.flatten))
            shapes = node.op == "call_method" and node.target in ("view", "reshape")
            return (flattens and node.args[1:] == (1,) and not node.kwargs) or (shapes and len(node.args) == 3)
        node = node.args[0]
    return False


@torch.no_grad()
def _taken_up(layer: nn.Module, norm: _BatchNorm) -> nn.Module:
    """The layer with the norm in it."""
    fused = fuse_linear_bn_eval(layer, norm) if isinstance(layer, nn.Linear) else fuse_conv_bn_eval(layer, norm)  # type: ignore[type-var]
    return fused.requires_grad_(False)
