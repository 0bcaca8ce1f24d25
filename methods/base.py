"""The `Protector` contract: final outer calls that check and measure, small hooks inside.

A method may train something once for everybody (`train`), learns what it needs from a chunk of people (`fit`) and
turns their photos into protected ones (`perturb`).
Everything a benchmark must be able to trust happens here once, outside every method: checking the input, refusing a
missing need, rounding to 8 bits, measuring the budget really used, counting network passes, timing, status.
"""

from __future__ import annotations

import resource
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor, nn

from cloakbench.datasets.base import OK, FaceSet
from cloakbench.models.base import Recogniser

Scope = Literal["image", "identity", "universal", "dataset"]
Goal = Literal["evade recognition", "poison training", "hide attributes", "hide from humans"]
METHOD_FAILED = "method_failed"


class MissingNeedError(ValueError):
    """A method was called without something it declares in ``needs``; the message names it."""


@dataclass(frozen=True)
class Budget:
    """How far a protected photo may be from the original: ``size_255`` grey levels in ``norm``."""

    norm: Literal["linf", "l2"]
    size_255: float


@dataclass(frozen=True)
class People:
    """One planned chunk: the photos to protect and, for methods that ask, the photos their owners give.

    Attributes:
        images: float ``[N, 3, H, W]`` in [0, 1], the photos to protect.
        image_id: N names; they seed per-image randomness.
        person: long ``[N]``, for each photo the row of its owner in ``identities``.
        identities: P names of the people in this chunk; they seed per-person randomness.
        references: float ``[P, R, 3, H, W]``, other photos of each person, or None.
        reference_id: P x R names of the reference photos, empty when there are none.
        landmarks: float ``[N, 5, 2]`` or None.
        targets: float ``[P, 3, H, W]``, for each person the photo of somebody else to be mistaken for, or None.
            Success is measured on another photo of that somebody.
    """

    images: Tensor
    image_id: tuple[str, ...]
    person: Tensor
    identities: tuple[str, ...]
    references: Tensor | None = None
    reference_id: tuple[tuple[str, ...], ...] = ()
    landmarks: Tensor | None = None
    targets: Tensor | None = None


@dataclass(frozen=True)
class Resources:
    """What an experiment offers a method beside the photos.

    Attributes:
        surrogates: recognisers whose gradients may be used; more than one is an ensemble.
        auxiliary: public faces of people who appear nowhere else, for anchors, targets and training.
        seed: run seed; methods derive every stream from ``(seed, method name, image or identity id)``.
        device: where tensors live.
        learnt: what `Protector.learn` gave for these surrogates, faces and seed.
    """

    surrogates: tuple[Recogniser, ...] = ()
    auxiliary: FaceSet | None = None
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    learnt: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Cost:
    """What a call spent. Passes count images: a batch of 8 through one network is 8 forward images."""

    seconds: float
    forward_images: int
    backward_images: int
    peak_memory_mib: float


@dataclass(frozen=True)
class Protected:
    """The outcome of one call.

    Attributes:
        images: uint8 ``[N, 3, H, W]``; a photo whose status is not ``ok`` comes back unchanged and is never measured.
        status: N strings, ``ok`` or ``method_failed``.
        linf_255, l2_255: float ``[N]``, distance of the 8-bit output from the original in grey levels.
        cost: time, passes and memory of the call.
        warnings: what the user should know, e.g. that the output equals the input.
        facts: what the method reports of its own search, plain values by name, e.g. ``converged`` and ``rounds``.
    """

    images: Tensor
    status: tuple[str, ...]
    linf_255: Tensor
    l2_255: Tensor
    cost: Cost
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


class CountedRecogniser:
    """A recogniser that counts the images passing forward and backward through it."""

    def __init__(self, model: Recogniser) -> None:
        self.model = model
        self.card = model.card
        self.forward_images = 0
        self.backward_images = 0

    def embed(self, images: Tensor) -> Tensor:
        """As `Recogniser.embed`, counted."""
        embeddings = self.model.embed(images)
        self.forward_images += len(images)
        if embeddings.requires_grad:
            embeddings.register_hook(self._count_backward)
        return embeddings

    def _count_backward(self, gradient: Tensor) -> None:
        self.backward_images += len(gradient)


class PassCounter:
    """Counts the images that pass forward and backward through networks that a method builds itself."""

    def __init__(self) -> None:
        self.forward_images = 0
        self.backward_images = 0

    def watch(self, network: nn.Module) -> nn.Module:
        """Count every pass through ``network`` from now on; returns it."""
        network.register_forward_hook(self._count_forward)
        return network

    def _count_forward(self, network: nn.Module, inputs: Any, output: Tensor) -> None:
        self.forward_images += len(output)
        if output.requires_grad:
            output.register_hook(self._count_backward)

    def _count_backward(self, gradient: Tensor) -> None:
        self.backward_images += len(gradient)


@dataclass(frozen=True)
class Learnt:
    """What a method trained once: named tensors on the CPU, and what that took."""

    tensors: Mapping[str, Tensor]
    cost: Cost


@dataclass(frozen=True)
class Workbench:
    """What the hooks see: the same as `Resources`, with surrogates that count their passes.

    ``own`` counts the passes through networks that the method builds itself; ``facts`` takes what it has to report.
    """

    surrogates: tuple[CountedRecogniser, ...]
    auxiliary: FaceSet | None
    seed: int
    device: torch.device
    own: PassCounter = field(default_factory=PassCounter)
    facts: dict[str, Any] = field(default_factory=dict)
    learnt: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, resources: Resources) -> Workbench:
        """A workbench with counters at zero."""
        return cls(
            tuple(CountedRecogniser(model) for model in resources.surrogates),
            resources.auxiliary,
            resources.seed,
            resources.device,
            learnt={name: tensor.to(resources.device) for name, tensor in resources.learnt.items()},
        )

    def cost(self, seconds: float, peak_memory_mib: float) -> Cost:
        """What was spent on this workbench."""
        counters = (self.own, *self.surrogates)
        forward = sum(counter.forward_images for counter in counters)
        backward = sum(counter.backward_images for counter in counters)
        return Cost(seconds, forward, backward, peak_memory_mib)


class Protector(ABC):
    """A protection method.

    Class attributes answer what a survey table asks. A subclass sets them, takes its parameters in ``__init__`` with
    budgets in grey levels, and implements `perturb`; a method that learns per person also implements `fit`.
    """

    name: ClassVar[str]
    scope: ClassVar[Scope]
    goal: ClassVar[Goal] = "evade recognition"
    paper: ClassVar[str]
    official_settings: ClassVar[str] = ""
    deviations: ClassVar[str] = ""

    needs: frozenset[str] = frozenset()
    """Any of ``surrogates``, ``references``, ``auxiliary``, ``landmarks``, ``targets``; may depend on options."""
    targeted: bool = False
    """True when photos are pushed towards somebody in particular."""
    budget: Budget | None = None
    """The norm ball every output lies in, or None."""
    max_change_255: float | None = None
    """Where there is no budget: the most the settings let any value change, in grey levels; None for no such bound."""

    @property
    def person_specific(self) -> bool:
        """Whether one perturbation covers all photos of a person, also later ones."""
        return self.scope == "identity"

    def files_read(self, image_id: Sequence[str]) -> Mapping[str, str]:
        """Digests of files outside the project that decide the output for these photos; part of the cache key."""
        return {}

    def notes(self) -> tuple[str, ...]:
        """How this configuration departs from what its name promises; each becomes a warning of `Protected`."""
        return ()

    def train(self, bench: Workbench) -> Mapping[str, Tensor]:
        """What is trained once, before any person is seen: the weights of a generator, a universal mask.

        It may depend on surrogates, auxiliary faces and seed alone; the benchmark stores it and hands it to every
        chunk as ``bench.learnt``. Default: nothing.
        """
        return {}

    @property
    def is_trained(self) -> bool:
        """Whether there is a training stage, whose result `protect` needs in ``Resources.learnt``."""
        return type(self).train is not Protector.train

    @final
    def learn(self, resources: Resources) -> Learnt:
        """Run the training stage and measure what it took.

        Raises:
            ValueError: training gave a value that is not finite.
            MissingNeedError: something in ``needs`` that training uses was not given.
        """
        self._check_needs({"surrogates", "auxiliary"}, resources)
        bench = Workbench.of(resources)
        with _stopwatch(resources.device) as read:
            tensors = {name: tensor.detach().cpu() for name, tensor in self.train(bench).items()}
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise ValueError(f"{self.name}: training diverged ({name} is not finite): lower its learning rate")
        return Learnt(tensors, bench.cost(*read()))

    def fit(self, people: People, bench: Workbench) -> Any:
        """What is learnt from the chunk before any photo is touched: masks, noise, a generator.

        Methods of identity scope or wider never look at ``people.images`` here (invariant 2 of
        ``docs/architecture.md``), except those that poison training: their noise is made for the very photos that are
        published. Default: nothing.
        """
        return None

    @abstractmethod
    def perturb(self, people: People, fitted: Any, bench: Workbench) -> Tensor:
        """Protected photos, float ``[N, 3, H, W]``; the caller clips, rounds and measures."""

    @final
    def protect(self, people: People, resources: Resources) -> Protected:
        """Protect a chunk and measure what that took.

        Raises:
            ValueError: the photos have the wrong shape, dtype, range or device.
            MissingNeedError: something in ``needs`` was not given.
        """
        self._check_input(people, resources)
        bench = Workbench.of(resources)
        with _stopwatch(resources.device) as read:
            raw = self.perturb(people, self.fit(people, bench), bench).detach()
        cost = bench.cost(*read())
        if raw.shape != people.images.shape:
            raise ValueError(f"{self.name} returned {tuple(raw.shape)} for {tuple(people.images.shape)}")

        original = (people.images * 255).round_()
        sound = raw.flatten(1).sum(dim=1).isfinite()  # a sum with a NaN or an infinity in it is not finite
        rounded = (raw * 255).round_().clamp_(0, 255)
        if not bool(sound.all()):
            rounded = torch.where(sound.view(-1, 1, 1, 1), rounded, original)
        difference = (rounded - original).flatten(1)
        linf_255 = difference.abs().amax(dim=1)
        return Protected(
            images=rounded.to(torch.uint8).cpu(),
            status=tuple(OK if good else METHOD_FAILED for good in sound.tolist()),
            linf_255=linf_255.cpu(),
            l2_255=difference.norm(dim=1).cpu(),
            cost=cost,
            warnings=(*self.notes(), *self._warnings(int((sound & (linf_255 == 0)).sum()), len(linf_255))),
            facts=bench.facts,
        )

    def _check_input(self, people: People, resources: Resources) -> None:
        images = people.images
        if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.float32:
            raise ValueError(
                f"{self.name}: photos must be float32 [N, 3, H, W], got {images.dtype} {tuple(images.shape)}"
            )
        if images.device.type != resources.device.type:
            raise ValueError(f"{self.name}: photos are on {images.device}, the run is on {resources.device}")
        low, high = map(float, images.aminmax()) if images.numel() else (0.0, 1.0)
        if not (low >= 0 and high <= 1):  # NaN is refused, too
            raise ValueError(f"{self.name}: photos must lie in [0, 1]")
        self._check_needs(self.needs, resources, people)
        if self.is_trained and not resources.learnt:
            raise MissingNeedError(f"{self.name} is trained first: give the tensors of learn() as resources.learnt")

    def _check_needs(self, needed: Collection[str], resources: Resources, people: People | None = None) -> None:
        offered = {
            "surrogates": bool(resources.surrogates),
            "auxiliary": resources.auxiliary is not None,
            "references": people is not None and people.references is not None,
            "landmarks": people is not None and people.landmarks is not None,
            "targets": people is not None and people.targets is not None,
        }
        if missing := sorted(need for need in self.needs & set(needed) if not offered[need]):
            raise MissingNeedError(f"{self.name} needs {', '.join(missing)}, which this experiment does not provide")

    def _warnings(self, unchanged: int, photos: int) -> tuple[str, ...]:
        zero_allowed = self.budget is not None and self.budget.size_255 == 0
        if unchanged and not zero_allowed:
            return (f"{unchanged} of {photos} photos came back unchanged",)
        return ()


@contextmanager
def _stopwatch(device: torch.device) -> Iterator[Any]:
    """Wall seconds and peak memory (MiB: of the device on CUDA, of the process so far on CPU) of a block."""
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    start = time.perf_counter()
    result: list[float] = []
    yield lambda: tuple(result)
    if on_gpu:
        torch.cuda.synchronize(device)
        peak = torch.cuda.max_memory_allocated(device) / 2**20
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result.extend((time.perf_counter() - start, peak))
