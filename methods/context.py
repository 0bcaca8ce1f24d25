"""The `ProtectContext`: what a method may use beside the photos, and the counters of what it used."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import register_multi_grad_hook

from cloakbench.datasets.base import FaceSet


class Need(StrEnum):
    """What a method may declare that it cannot work without; printed by its value."""

    SURROGATES = "surrogates"
    ATTRIBUTE_SURROGATES = "attribute surrogates"
    GENERATOR = "generator"
    PURIFIER = "purifier"
    AUXILIARY = "auxiliary"
    REFERENCES = "references"
    REFERENCE_LANDMARKS = "reference landmarks"
    LANDMARKS = "landmarks"
    AIM = "aim"


class NetworkKind(StrEnum):
    """What an experiment's networks do; a method finds them in its context by this."""

    RECOGNISER = "recogniser"
    ATTRIBUTE_SURROGATE = "attribute surrogate"
    PURIFIER = "purifier"


NETWORKS: Mapping[Need, NetworkKind] = {
    Need.SURROGATES: NetworkKind.RECOGNISER,
    Need.ATTRIBUTE_SURROGATES: NetworkKind.ATTRIBUTE_SURROGATE,
    Need.PURIFIER: NetworkKind.PURIFIER,
}
"""Needs that networks meet, and by which kind."""


class MissingNeedError(ValueError):
    """A method was called without something it declares in ``needs``, or uses; the message names it."""


@dataclass(frozen=True)
class Cost:
    """What a call spent. Passes count images: a batch of 8 through one network is 8 forward images."""

    seconds: float
    forward_images: int
    backward_images: int
    peak_memory_mib: float
    fit_seconds: float = 0.0
    """Of them, what was learnt of people before any photo was touched."""

    @classmethod
    def total(cls, costs: Sequence[Cost]) -> Cost:
        """What several calls spent one after the other; of memory the largest."""
        return cls(
            float(sum(cost.seconds for cost in costs)),
            sum(cost.forward_images for cost in costs),
            sum(cost.backward_images for cost in costs),
            max((cost.peak_memory_mib for cost in costs), default=0.0),
            float(sum(cost.fit_seconds for cost in costs)),
        )


@dataclass
class Spent:
    """Images that passed through the networks of a call so far, and seconds of an earlier process on the same work."""

    forward_images: int = 0
    backward_images: int = 0
    earlier_seconds: float = 0.0
    fit_seconds: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    def seconds(self) -> float:
        """Wall seconds until now."""
        return self.earlier_seconds + time.perf_counter() - self.started


class CountedNetwork(nn.Module):
    """A network of any kind that counts the images passing forward and backward through it.

    Parameters and modes are those of the network itself: what is done to one is done to the other.

    Args:
        model: a `cloakbench.models.base.Recogniser`, an `AttributeSurrogate` of `models`, or any module.
        spent: where the counts go.
    """

    def __init__(self, model: nn.Module, spent: Spent) -> None:
        super().__init__()
        self.model = model
        self.spent = spent

    def embed(self, images: Tensor) -> Tensor:
        """As `cloakbench.models.base.Recogniser.embed`, counted."""
        return self._counted(self._method("embed")(images))

    def logits(self, images: Tensor) -> Mapping[str, Tensor]:
        """As ``logits`` of attribute networks, attribute to ``[N, C]``, counted once for each network behind them.

        ``answered_together`` of the model says which attributes come from one network; without it all do.
        """
        answers: Mapping[str, Tensor] = self._method("logits")(images)
        for names in getattr(self.model, "answered_together", (tuple(answers),)):
            self.spent.forward_images += len(images)
            if with_graph := [answers[name] for name in names if answers[name].requires_grad]:
                register_multi_grad_hook(with_graph, partial(self._count_backward, len(images)), mode="any")
        return answers

    def forward(self, *inputs: Any) -> Tensor:
        """As the network itself, counted; generators and purifiers are called like this."""
        return self._counted(self.model(*inputs))

    def count_backward(self, maps: Tensor) -> None:
        """Count a way back that begins at maps ``[N, ...]`` inside the network, instead of at what it answers."""
        maps.register_hook(partial(self._count_backward, len(maps)))

    def _counted(self, answer: Tensor) -> Tensor:
        self.spent.forward_images += len(answer)
        if answer.requires_grad:
            self.count_backward(answer)
        return answer

    def _count_backward(self, images: int, gradient: Tensor) -> None:
        self.spent.backward_images += images

    def _method(self, name: str) -> Callable[[Tensor], Any]:
        method = getattr(self.model, name, None)
        if method is None:
            raise TypeError(f"{type(self.model).__name__} has no {name}(): give a network of the kind that is asked")
        return method


@dataclass(frozen=True)
class Kept:
    """What a stage had reached: named tensors, and what that had taken."""

    tensors: Mapping[str, Tensor]
    forward_images: int
    backward_images: int
    seconds: float


class Checkpoint:
    """Where a training stage leaves what it has reached; this one keeps nothing."""

    def load(self) -> Kept | None:
        """What was saved last, or None."""
        return None

    def save(self, kept: Kept) -> None:
        """Keep it instead of what was saved before; may pass over it when the last time was a moment ago."""


class MemoryCheckpoint(Checkpoint):
    """Keeps everything it is given as long as it lives."""

    def __init__(self) -> None:
        self._kept: Kept | None = None

    def load(self) -> Kept | None:
        return self._kept

    def save(self, kept: Kept) -> None:
        self._kept = replace(kept, tensors={name: tensor.clone() for name, tensor in kept.tensors.items()})


def _silent(done: int, total: int) -> None:
    """Progress that nobody looks at."""


@dataclass(frozen=True)
class ProtectContext:
    """What an experiment offers a method beside the photos; the hooks see it with counters that begin at zero.

    Attributes:
        networks: by kind; more than one recogniser is an ensemble. Every copy of the context wraps them anew, so that
            it counts its own passes.
        auxiliary: public faces of people who appear nowhere else, for anchors, aims and training.
        seed: run seed; methods derive every stream from ``(seed, method name, image or identity id)``.
        device: where tensors live.
        trained: named tensors by stage, as `cloakbench.methods.base.Protector.run_training` gave them for these
            networks, faces and seed; on ``device``.
        checkpoint: where a training stage keeps what it has reached; see `resume` and `keep`.
        progress: told how many of how many steps of a stage are done.
        facts: takes what a method has to report of its own search.
        private: takes tensors by name that only the owners of the photos may have, such as the key of a veil. They are
            stored apart from everything that is shown or handed on, for nobody else to read.
        shown: takes pictures by name that figures show of how masks were made, one for each mask, so each
            person or each photo of the chunk, ``[M, 3, H, W]`` or ``[M, 1, H, W]`` in [0, 1]; they decide nothing.
        spent: what was counted so far.
    """

    networks: Mapping[NetworkKind, Sequence[nn.Module]] = field(default_factory=dict)
    auxiliary: FaceSet | None = None
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    trained: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    progress: Callable[[int, int], None] = _silent
    facts: dict[str, Any] = field(default_factory=dict, init=False)
    private: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)
    shown: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)
    spent: Spent = field(default_factory=Spent, init=False)
    _counted: Mapping[NetworkKind, tuple[CountedNetwork, ...]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        counted = {kind: tuple(map(self.counted, models)) for kind, models in self.networks.items()}
        trained = {
            stage: {name: tensor.to(self.device) for name, tensor in tensors.items()}
            for stage, tensors in self.trained.items()
        }
        object.__setattr__(self, "_counted", counted)
        object.__setattr__(self, "trained", trained)

    def counted(self, network: nn.Module) -> CountedNetwork:
        """The same network behind the counter of this context; for networks that a method builds itself, too."""
        return CountedNetwork(network.model if isinstance(network, CountedNetwork) else network, self.spent)

    def of_kind(self, kind: NetworkKind) -> tuple[CountedNetwork, ...]:
        """The networks of a kind, at least one.

        Raises:
            MissingNeedError: there is none.
        """
        if found := self._counted.get(kind):
            return found
        raise MissingNeedError(f"this experiment has no {kind}: declare the need of one")

    @property
    def surrogates(self) -> tuple[CountedNetwork, ...]:
        """The recognisers whose gradients may be used, at least one.

        Raises:
            MissingNeedError: there is none.
        """
        return self.of_kind(NetworkKind.RECOGNISER)

    @property
    def attribute_surrogates(self) -> tuple[CountedNetwork, ...]:
        """The attribute networks whose gradients may be used, at least one, or `MissingNeedError`."""
        return self.of_kind(NetworkKind.ATTRIBUTE_SURROGATE)

    def require_auxiliary(self) -> FaceSet:
        """The public faces.

        Raises:
            MissingNeedError: there are none.
        """
        if self.auxiliary is None:
            raise MissingNeedError("this experiment has no auxiliary faces: declare the need of them")
        return self.auxiliary

    def offers(self, need: Need) -> bool:
        """Whether a need that no photo meets, networks or auxiliary faces, is met."""
        if need == Need.AUXILIARY:
            return self.auxiliary is not None
        return need in NETWORKS and bool(self._counted.get(NETWORKS[need]))

    def resume(self) -> Mapping[str, Tensor] | None:
        """What this stage had reached when its process ended, on ``device``, or None; passes count on from there."""
        kept = self.checkpoint.load()
        if kept is None:
            return None
        spent = self.spent
        spent.forward_images, spent.backward_images = kept.forward_images, kept.backward_images
        spent.earlier_seconds = kept.seconds
        return {name: tensor.to(self.device) for name, tensor in kept.tensors.items()}

    def keep(self, tensors: Mapping[str, Tensor]) -> None:
        """Leave what a stage has reached, for `resume`; cheap enough for every step, few of them are written."""
        spent = self.spent
        self.checkpoint.save(Kept(tensors, spent.forward_images, spent.backward_images, spent.seconds()))

    def end_of_fit(self) -> None:
        """Note the seconds until now, within `measured`, as those of learning."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.spent.fit_seconds = self.spent.seconds()

    @contextmanager
    def measured(self) -> Iterator[Callable[[], Cost]]:
        """Measure a block; what is yielded gives its cost afterwards.

        Peak memory is that of the device on CUDA, and of the process so far on a CPU.
        """
        on_gpu = self.device.type == "cuda"
        if on_gpu:
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
        spent, result = self.spent, []
        spent.started = time.perf_counter()
        yield lambda: result[0]
        if on_gpu:
            torch.cuda.synchronize(self.device)
            peak = torch.cuda.max_memory_allocated(self.device) / 2**20
        else:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        result.append(Cost(spent.seconds(), spent.forward_images, spent.backward_images, peak, spent.fit_seconds))
