"""The `Protector` contract: final outer calls that check and measure, small hooks inside.

A method may train something once for everybody (`Protector.stages`), learns what it needs from a chunk of people
(`fit`) and turns their photos into protected ones (`perturb`).
Everything a benchmark must be able to trust happens here once, outside every method: checking the input, refusing a
missing need, rounding to 8 bits, measuring the budget really used, counting network passes, timing, status.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor

from cloakbench.bench.core.status import METHOD_FAILED, OK
from cloakbench.methods.context import Cost, MissingNeedError, Need, ProtectContext
from cloakbench.methods.photo_batch import PhotoBatch

Scope = Literal["image", "identity", "universal", "dataset"]
Goal = Literal["evade recognition", "poison training", "hide attributes", "hide from humans"]
TITLE = "title"
"""The setting of a method's file that says how reports print its name; no constructor sees it, and no key."""


@dataclass(frozen=True)
class Budget:
    """How far a protected photo may be from the original: ``size_255`` grey levels in ``norm``."""

    norm: Literal["linf", "l2"]
    size_255: float


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
        private: tensors by name that only the owners of the photos may have, on the CPU.
        shown: pictures by name for figures, uint8 ``[M, 3, H, W]``, one for each person, on the CPU.
        fitted: what was learnt, for further photos of the same people.
    """

    images: Tensor
    status: tuple[str, ...]
    linf_255: Tensor
    l2_255: Tensor
    cost: Cost
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    private: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    shown: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    fitted: Any = field(default=None, repr=False)


@dataclass(frozen=True)
class Stage(ABC):
    """One training of a method, before any person is seen: of a generator, of a universal mask.

    A subclass is a frozen dataclass whose fields are all the settings that it depends on. With its code, the networks,
    the auxiliary faces and the seed they are the key of what it trains, which is therefore shared by all methods and
    budgets that come to an equal stage. It finds what earlier stages trained in ``context.trained``.
    """

    name: ClassVar[str]
    """Names its tensors among those of other stages of a method."""
    needs: ClassVar[frozenset[Need]] = frozenset({Need.SURROGATES, Need.AUXILIARY})
    """What of the context it looks at; only this is in its key."""

    @abstractmethod
    def run(self, context: ProtectContext) -> Mapping[str, Tensor]:
        """The named tensors that are trained.

        A long training calls ``context.keep(tensors)`` after every step and begins from ``context.resume()``, so that
        one that was killed goes on and ends with equal tensors; ``context.progress(done, total)`` tells how far it is.
        """

    @property
    def settings(self) -> dict[str, Any]:
        """Its fields by name; those of a dataclass inside are a mapping."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}


def _picture(pixels: Tensor) -> Tensor:
    """Pictures in [0, 1] as uint8 with three channels; what is not finite is black."""
    levels = (255 * pixels.detach().nan_to_num(0.0)).round().clamp(0, 255).to(torch.uint8).cpu()
    return levels.expand(-1, 3, -1, -1).contiguous()


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    return value


@dataclass(frozen=True)
class Trained:
    """What was trained once: named tensors on the CPU by stage, and what that took."""

    tensors: Mapping[str, Mapping[str, Tensor]]
    cost: Cost


def without_title(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a method's file that its constructor takes."""
    return {name: value for name, value in config.items() if name != TITLE}


class Protector(ABC):
    """A protection method.

    Class attributes answer what a survey table asks. A subclass sets them, takes its parameters in ``__init__`` with
    budgets in grey levels, and implements `perturb`; a method that learns per person also implements `fit`.
    """

    name: ClassVar[str]
    scope: ClassVar[Scope]
    paper: ClassVar[str]
    official_settings: ClassVar[str] = ""
    """What paper or official code set, in a line of the table of methods."""
    deviations: ClassVar[str] = ""
    """Where this implementation departs from that, in a line of the same table."""
    hardware: ClassVar[bool] = False
    """Whether it is published as a device that has to be bought; here it is simulated."""

    goal: Goal = "evade recognition"
    """What it is for; may depend on options."""
    needs: frozenset[Need] = frozenset()
    """What it cannot work without; may depend on options."""
    view_count: int = 0
    """Pictures K of each person that it wants of a generator; only where it needs one."""
    least_surrogates: int = 1
    """How many of them make an ensemble that it can work with; only where it needs surrogates."""
    targeted: bool = False
    """True when photos are pushed towards somebody in particular."""
    budget: Budget | None = None
    """The norm ball every output lies in, or None."""
    max_change_255: float | None = None
    """Where there is no budget: the most the settings let any value change, in grey levels; None for no such bound."""
    recoverable: bool = False
    """Whether who has the tensors of ``context.private`` gets photos back with `recover`."""
    recovery_error_255: float | None = None
    """The most that a value of a recovered photo is off because its photo was published in 8 bits, in grey levels; None
    for no such bound."""

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

    def stages(self) -> tuple[Stage, ...]:
        """What is trained once, in this order; the benchmark stores it and hands it to every chunk as
        ``context.trained``. Default: nothing."""
        return ()

    @property
    def is_trained(self) -> bool:
        """Whether there is a training stage, whose result `protect` needs in ``context.trained``."""
        return bool(self.stages())

    @final
    def run_stage(self, stage: Stage, context: ProtectContext) -> Trained:
        """Run one stage and measure what it took; earlier stages are in ``context.trained``.

        Raises:
            ValueError: training gave a value that is not finite.
            MissingNeedError: something that the stage needs was not given.
        """
        context = replace(context)
        self._refuse_missing(need for need in stage.needs if not context.offers(need))
        with context.measured() as cost:
            tensors = {name: tensor.detach().cpu() for name, tensor in stage.run(context).items()}
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise ValueError(f"{self.name}: training diverged ({name} is not finite): lower its learning rate")
        return Trained({stage.name: tensors}, cost())

    @final
    def run_training(self, context: ProtectContext) -> Trained:
        """Run every stage, each on what the ones before it trained.

        Raises:
            ValueError, MissingNeedError: as in `run_stage`.
        """
        tensors: dict[str, Mapping[str, Tensor]] = {}
        costs = []
        for stage in self.stages():
            trained = self.run_stage(stage, replace(context, trained=tensors))
            tensors |= trained.tensors
            costs.append(trained.cost)
        return Trained(tensors, Cost.total(costs))

    def fit(self, batch: PhotoBatch, context: ProtectContext) -> Any:
        """What is learnt from the chunk before any photo is touched: masks, noise, a generator.

        Methods of identity scope or wider never look at ``batch.images`` here (invariant 2 of
        ``docs/architecture.md``), except those that poison training: their noise is made for the very photos that are
        published. Default: nothing.
        """
        return None

    @abstractmethod
    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        """Protected photos, float ``[N, 3, H, W]``; the caller clips, rounds and measures."""

    def recover(self, photos: Tensor, keys: Mapping[str, Tensor], people: Tensor) -> Tensor:
        """Photos as they were before protection, from what was published and stored alone: no state but settings.

        Args:
            photos: protected photos as they were stored, 8 bits / 255, float ``[N, 3, H, W]``.
            keys: what `protect` gave as ``private``, on the device of the photos.
            people: long ``[N]``, for each photo the row of ``keys`` that belongs to it: of its owner, or of the photo
                itself where the scope is an image.

        Returns:
            Float ``[N, 3, H, W]`` in [0, 1].

        Raises:
            NotImplementedError: the method gives no photo back, or not at these settings; one line.
            ValueError: a key does not fit the photos; one line.
        """
        raise NotImplementedError(f"{self.name} gives no photo back: nothing lifts its protection")

    @final
    def protect(self, batch: PhotoBatch, context: ProtectContext, fitted: Any = None) -> Protected:
        """Protect a chunk and measure what that took.

        Args:
            batch: the photos.
            context: what there is beside them.
            fitted: what an earlier call learnt of the same people from the same references, instead of learning it
                again; what is private was told then.

        Raises:
            ValueError: the photos have the wrong shape, dtype, range or device.
            MissingNeedError: something in ``needs`` was not given.
        """
        context = replace(context)
        self._check_input(batch, context)
        with context.measured() as cost:
            if fitted is None:
                fitted = self.fit(batch, context)
                context.end_of_fit()
            raw = self.perturb(batch, fitted, context).detach()
        if raw.shape != batch.images.shape:
            raise ValueError(f"{self.name} returned {tuple(raw.shape)} for {tuple(batch.images.shape)}")

        original = (batch.images * 255).round_()
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
            cost=cost(),
            warnings=(*self.notes(), *self._warnings(int((sound & (linf_255 == 0)).sum()), len(linf_255))),
            facts=context.facts,
            private={name: tensor.detach().cpu() for name, tensor in context.private.items()},
            shown={name: _picture(pixels) for name, pixels in context.shown.items()},
            fitted=fitted,
        )

    def _check_input(self, batch: PhotoBatch, context: ProtectContext) -> None:
        images = batch.images
        if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.float32:
            raise ValueError(
                f"{self.name}: photos must be float32 [N, 3, H, W], got {images.dtype} {tuple(images.shape)}"
            )
        if images.device.type != context.device.type:
            raise ValueError(f"{self.name}: photos are on {images.device}, the run is on {context.device}")
        low, high = map(float, images.aminmax()) if images.numel() else (0.0, 1.0)
        if not (low >= 0 and high <= 1):  # NaN is refused, too
            raise ValueError(f"{self.name}: photos must lie in [0, 1]")
        self._refuse_missing(need for need in self.needs if not (context.offers(need) or batch.offers(need)))
        self._refuse_few_surrogates(context)
        if lacking := [stage.name for stage in self.stages() if stage.name not in context.trained]:
            raise MissingNeedError(
                f"{self.name} is trained first ({', '.join(lacking)}): give the tensors of run_training() as "
                "context.trained"
            )

    def _refuse_missing(self, missing: Iterable[Need]) -> None:
        if names := sorted(missing):
            raise MissingNeedError(f"{self.name} needs {', '.join(names)}, which this experiment does not provide")

    def _refuse_few_surrogates(self, context: ProtectContext) -> None:
        if Need.SURROGATES in self.needs and (given := len(context.surrogates)) < self.least_surrogates:
            raise ValueError(
                f"{self.name} needs an ensemble of at least {self.least_surrogates} surrogates, there is {given}: name "
                f"more, as in plan.limits.{self.name}.surrogates={{both: [FIRST, SECOND]}}"
            )

    def _warnings(self, unchanged: int, photos: int) -> tuple[str, ...]:
        zero_allowed = self.budget is not None and self.budget.size_255 == 0
        if unchanged and not zero_allowed:
            return (f"{unchanged} of {photos} photos came back unchanged",)
        return ()
