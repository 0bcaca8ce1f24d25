"""The mask of GD-UAP: a training that sees no photo, only how strongly a surrogate's layers answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.base import Stage
from cloakbench.methods.context import CountedNetwork, ProtectContext
from cloakbench.methods.parts.training_state import read_state, state_of

Prior = Literal["no_data", "with_range", "with_data"]
"""What the mask lies on while it is learnt. ``no_data``: plain grey. ``with_range``: Gaussian noise with the mean and
deviation of photos. ``with_data``: auxiliary faces."""

_STREAM = "gd_uap"
_MEAN_255, _DEVIATION_255 = (124.0, 117.0, 104.0), (62.0, 58.0, 52.0)
_SATURATED, _STILL = 0.5, 1e-5
"""Rescue rule: when more than this share of the mask is at the bound, and that share has changed by less than this."""
_SINCE_CHECK, _PATIENCE = 200, 10
_ACTIVATIONS = (nn.PReLU, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.GELU, nn.Hardswish, nn.Mish)
_RESIDUAL = re.compile(r"^(?!conv)\w*(block|bottleneck|residual|unit)(?!\w*(body|stage))", re.IGNORECASE)
"""Names of classes of residual blocks here and in the usual libraries, as in IResBlock, IRUnit and InvertedResidual."""


@dataclass(frozen=True)
class EnergyMask(Stage):
    """A mask that maximises the log-energy of all layers; see `cloakbench.methods.gd_uap.GDUAP` for the settings."""

    name: ClassVar[str] = "energy_mask"

    epsilon_255: float
    prior: Prior
    iterations: int
    learning_rate_255: float
    batch: int
    check_every: int
    validation_faces: int

    def run(self, context: ProtectContext) -> Mapping[str, Tensor]:
        """``mask`` ``[1, 3, H, W]`` on the scale of [0, 1], the best of all checks, its mean ``cosine``, ``steps``.

        Raises:
            ValueError: a surrogate has no layers to listen to.
        """
        faces = context.require_auxiliary().images
        known = faces[: self.validation_faces]
        clean = [_embedded(model, known, None, self.batch, context) for model in context.surrogates]
        search = MaskSearch(tuple(faces.shape[1:]), self.epsilon_255 / 255, context)
        optimiser = torch.optim.Adam([search.raw], lr=self.learning_rate_255 / 255)
        reached = context.resume()
        done = 0 if reached is None else read_state(reached, search, optimiser)
        for step in range(done, self.iterations):
            if int(search.misses) == _PATIENCE:
                break
            optimiser.zero_grad()
            self._loss(search.mask(), step, context).backward()
            optimiser.step()
            stuck = search.stuck()
            since = step + 1 - int(search.checked_at)
            if since >= self.check_every or (stuck and since > _SINCE_CHECK) or step + 1 == self.iterations:
                mask = search.mask().detach()
                cosines = [
                    (_embedded(model, known, mask, self.batch, context) * own).sum(dim=1).mean()
                    for model, own in zip(context.surrogates, clean, strict=True)
                ]
                search.judge(torch.stack(cosines).mean(), step + 1)
            if stuck:  # only now: the check is of the full mask
                search.halve()
            context.keep(state_of(step + 1, search, optimiser))
            context.progress(step + 1, self.iterations)
        return {"mask": search.best, "cosine": search.cosine, "steps": search.checked_at}

    def _loss(self, mask: Tensor, step: int, context: ProtectContext) -> Tensor:
        """Minus the mean over surrogates of the log-energy of their layers."""
        images = self._ground(mask.shape, step, context) + mask
        return torch.stack([-log_energies(model, images).sum() for model in context.surrogates]).mean()

    def _ground(self, shape: torch.Size, step: int, context: ProtectContext) -> Tensor:
        """What the mask lies on at a step, ``[B, 3, H, W]``; one image where all would be equal."""
        if self.prior == "no_data":
            return torch.full(shape, 0.5, device=context.device)
        draws = generator(context.seed, _STREAM, "step", step)
        if self.prior == "with_range":
            mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) / 255 for values in (_MEAN_255, _DEVIATION_255))
            return (mean + deviation * torch.randn(self.batch, *shape[1:], generator=draws)).to(context.device)
        faces = context.require_auxiliary().images
        return faces[torch.randperm(len(faces), generator=draws)[: self.batch]].to(context.device).float() / 255


class MaskSearch(nn.Module):
    """The mask under way and the best so far, all of it in parameters and buffers.

    Args:
        shape: ``(3, H, W)``.
        epsilon: Linf bound on the scale of [0, 1].
        context: for seed and device.
    """

    raw: nn.Parameter
    rate: Tensor
    best: Tensor
    cosine: Tensor
    misses: Tensor
    checked_at: Tensor

    def __init__(self, shape: Sequence[int], epsilon: float, context: ProtectContext) -> None:
        super().__init__()
        self.epsilon = epsilon
        start = torch.empty(1, *shape).uniform_(-epsilon, epsilon, generator=generator(context.seed, _STREAM, "start"))
        self.raw = nn.Parameter(start)
        self.register_buffer("rate", torch.tensor(0.0))
        self.register_buffer("best", start.clone())
        self.register_buffer("cosine", torch.tensor(torch.inf))
        self.register_buffer("misses", torch.tensor(0))
        self.register_buffer("checked_at", torch.tensor(0))
        self.to(context.device)

    def mask(self) -> Tensor:
        """The raw values clipped to the bound; what is beyond it has no gradient."""
        return self.raw.clamp(-self.epsilon, self.epsilon)

    @torch.no_grad()
    def stuck(self) -> bool:
        """Whether the mask has filled up and stands still; once for every step."""
        rate = (self.raw.abs() >= self.epsilon).float().mean()
        still = bool((rate > _SATURATED) & ((rate - self.rate).abs() < _STILL))
        self.rate.copy_(rate)
        return still

    @torch.no_grad()
    def halve(self) -> None:
        """The rescue: values come back within the bound, where they have a gradient."""
        self.raw.div_(2)

    @torch.no_grad()
    def judge(self, cosine: Tensor, step: int) -> None:
        """Keep the mask if auxiliary faces are less like themselves under it than under any before."""
        self.checked_at.fill_(step)
        if not bool(cosine < self.cosine):
            self.misses.add_(1)
            return
        self.misses.zero_()
        self.cosine.copy_(cosine)
        self.best.copy_(self.mask())


def log_energies(model: CountedNetwork, images: Tensor) -> Tensor:
    """``log(0.5 |a|^2)`` of every layer's output, in the order they are passed, ``[L]``, over the batch together."""
    energies: list[Tensor] = []
    with _listening(model, energies):
        embeddings = model.embed(images)
    # The embedding counts for nothing, but that the backward pass through the network is counted.
    return torch.stack(energies).log() + 0 * embeddings.sum()


@contextmanager
def _listening(model: CountedNetwork, energies: list[Tensor]) -> Iterator[None]:
    def listen(module: nn.Module, inputs: object, output: Tensor) -> None:
        # A copy: the next layer may work in place. The smallest positive number keeps a silent layer's log finite.
        energies.append(0.5 * output.clone().square().sum() + torch.finfo(output.dtype).tiny)

    hooks = [layer.register_forward_hook(listen) for layer in energy_layers(model.model)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def energy_layers(network: nn.Module) -> list[nn.Module]:
    """Activation layers and residual blocks, the latter by the names of their classes.

    Raises:
        ValueError: there are none, as in a network read as one graph.
    """
    layers = [
        module
        for module in network.modules()
        if isinstance(module, _ACTIVATIONS) or _RESIDUAL.search(type(module).__name__)
    ]
    if not layers:
        raise ValueError("gd_uap: the surrogate is made of no layers it can listen to: choose one built from modules")
    return layers


@torch.no_grad()
def _embedded(model: CountedNetwork, faces: Tensor, mask: Tensor | None, batch: int, context: ProtectContext) -> Tensor:
    """Embeddings ``[N, D]`` of uint8 faces, with the mask on them if there is one."""
    parts = (part.to(context.device).float() / 255 for part in faces.split(batch))
    return torch.cat([model.embed(part if mask is None else (part + mask).clamp_(0, 1)) for part in parts])
