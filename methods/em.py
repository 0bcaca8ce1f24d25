"""Error-minimising noise: photos that teach a classifier nothing, because it finds them solved already."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from cloakbench.bench.core.random_streams import generator, layers_draw_from
from cloakbench.bench.core.ranges import grey_levels, grey_step, one_of, share, whole
from cloakbench.methods.base import Budget, Goal, Protector, Scope
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.parts.linf import project_noise_
from cloakbench.methods.parts.unlearnable import BilevelClassifier, Network, TrainingPhotos, checked_sgd
from cloakbench.methods.photo_batch import PhotoBatch

NoiseKind = Literal["class", "sample"]
Direction = Literal["min", "max"]


class EM(Protector):
    """EM: ``min over weights and noise of the mean CE(g(x_i + noise_i), y_i)``, ``|noise_i| <= epsilon``.

    Rounds of two phases. Model phase: SGD on ``x + noise``, not clipped. Noise phase, weights frozen in eval mode,
    batch after batch: from ``x' = clip(x + noise)`` T times ``x' <- x' - step * sign(slope)``,
    ``noise <- clip(x' - x, +-epsilon)``, ``x' <- clip(x + noise)``. Sample-wise keeps a noise per photo. Class-wise
    keeps one per person: after each batch it becomes the mean of the person's noises in that batch. The search stops
    when the error on ``clip(x + noise)`` is at most ``stop_error``.

    Paper: Huang et al., "Unlearnable Examples: Making Personal Data Unexploitable", ICLR 2021.
    Official settings: step epsilon / 10; CIFAR-10 epsilon 8, sample-wise T 20, 10 SGD batches a round, stop error 0.01;
    class-wise T 1, stop error 0.1 (README) or 0.01 (script); face script class-wise, epsilon 16, T 1, 30 batches of 32,
    stop error 0.1, Inception-ResNet-v1 with dropout 0.6, SGD 0.05, momentum 0.9, weight decay 5e-4, gradient norm 5,
    100 helper people beside the 50 protected. The survey's Fig. 2 runs it at 0.03 (epsilon 7.65) without helpers;
    class-wise or sample-wise is not published.
    Deviations: no helper people; the noise sweep is shuffled anew each round; the last check clips to valid pixels;
    ``max_rounds`` ends a search that would not stop, and ``converged`` tells; signed noise, rounded. The official
    loaders drop the negative half of the noise and truncate, which ``legacy_positive_only`` reproduces.

    Args:
        network: makes the classifier, see `cloakbench.methods.parts.unlearnable.Network`.
        noise_kind: ``class``, one noise per person, or ``sample``, one per photo.
        direction: ``min``, or ``max`` for the error-maximising control: the noise phase ascends.
        epsilon_255: Linf budget in grey levels.
        step_255: grey levels per step; None for epsilon / 10.
        steps: steps T per batch of the noise phase.
        batches_per_round: SGD batches M of a model phase.
        stop_error: share of wrong answers at which the search ends; None to run all rounds.
        max_rounds: rounds after which the search is given up.
        batch_size: photos per batch, in both phases.
        learning_rate, momentum, weight_decay, clip_norm: of SGD.
        legacy_positive_only: publish ``floor(x + max(noise, 0))``, as the official loaders do.

    Facts: ``converged`` (None without a stop error), ``rounds``, ``train_error`` with the noise, ``clean_error`` of the
    same network without it.
    """

    name: ClassVar[str] = "em"
    scope: ClassVar[Scope] = "dataset"
    goal: Goal = "poison training"
    paper: ClassVar[str] = "Huang et al., Unlearnable Examples: Making Personal Data Unexploitable, ICLR 2021"
    official_settings: ClassVar[str] = (
        "CIFAR-10 epsilon 8, faces 16; step epsilon / 10; T 20 (sample-wise) or 1; 10 batches a round, faces 30"
    )
    deviations: ClassVar[str] = "no helper people; signed, rounded noise; bounded search with a convergence flag"

    def __init__(
        self,
        network: Network,
        *,
        noise_kind: NoiseKind = "class",
        direction: Direction = "min",
        epsilon_255: float = 8,
        step_255: float | None = None,
        steps: int = 1,
        batches_per_round: int = 10,
        stop_error: float | None = 0.01,
        max_rounds: int = 60,
        batch_size: int = 64,
        learning_rate: float = 0.05,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        clip_norm: float = 5.0,
        legacy_positive_only: bool = False,
    ) -> None:
        self.network = network
        self.noise_kind: NoiseKind = one_of("noise_kind", noise_kind, get_args(NoiseKind))
        self.direction: Direction = one_of("direction", direction, get_args(Direction))
        self.epsilon_255 = grey_levels("epsilon_255", epsilon_255)
        self.step_255 = epsilon_255 / 10 if step_255 is None else grey_step("step_255", step_255)
        self.steps = whole("steps", steps)
        self.batches_per_round = whole("batches_per_round", batches_per_round)
        self.stop_error = None if stop_error is None else share("stop_error", stop_error)
        self.max_rounds = whole("max_rounds", max_rounds)
        self.batch_size = whole("batch_size", batch_size, 2)
        self.sgd = checked_sgd(learning_rate, momentum, weight_decay, clip_norm)
        self.legacy_positive_only = legacy_positive_only
        self.budget = Budget("linf", epsilon_255)

    @property
    def person_specific(self) -> bool:
        """Class-wise noise is one per person."""
        return self.noise_kind == "class"

    def fit(self, batch: PhotoBatch, context: ProtectContext) -> Tensor:
        """The noise of every photo, float ``[N, 3, H, W]`` in [-epsilon, epsilon] / 255."""
        training = TrainingPhotos.of(batch)
        with layers_draw_from(context.seed, self.name, "layers"):
            classifier = BilevelClassifier(self.network, training, context, **self.sgd)
            noise = self._search(training, classifier, context)
        return noise[training.place]

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        if self.legacy_positive_only:
            return ((batch.images + fitted.clamp(min=0)).clamp(0, 1) * 255 + 1e-4).floor() / 255
        return batch.images + fitted

    def _search(self, training: TrainingPhotos, classifier: BilevelClassifier, context: ProtectContext) -> Tensor:
        """The noise of every photo in canonical order."""
        owner = (
            training.labels if self.noise_kind == "class" else torch.arange(len(training.images), device=context.device)
        )
        noise = training.images.new_zeros(int(owner.max()) + 1, *training.images.shape[1:])
        batches = training.batches(self.batch_size, context.seed, self.name)
        rounds, error = 0, 1.0
        while rounds < self.max_rounds and (self.stop_error is None or error > self.stop_error):
            for _ in range(self.batches_per_round):
                rows = next(batches)
                classifier.step(training.images[rows] + noise[owner[rows]], training.labels[rows])
            order = torch.randperm(len(training.images), generator=generator(context.seed, self.name, "sweep", rounds))
            for rows in order.to(context.device).split(self.batch_size):
                self.update(noise, owner[rows], training.images[rows], training.labels[rows], classifier)
            rounds += 1
            error = classifier.error((training.images + noise[owner]).clamp_(0, 1), training.labels, self.batch_size)
        context.facts.update(
            converged=None if self.stop_error is None else error <= self.stop_error,
            rounds=rounds,
            train_error=error,
            clean_error=classifier.error(training.images, training.labels, self.batch_size),
        )
        return noise[owner]

    def update(
        self, noise: Tensor, owner: Tensor, images: Tensor, labels: Tensor, classifier: BilevelClassifier
    ) -> None:
        """Noise phase of one batch: moves the rows ``owner`` of ``noise``, in place.

        Args:
            noise: ``[K, 3, H, W]``, a row per photo or per person.
            owner: long ``[N]``, which row belongs to each image.
            images, labels: the batch.
            classifier: the frozen classifier.
        """
        epsilon, step = self.epsilon_255 / 255, self.step_255 / 255
        step = step if self.direction == "min" else -step
        own = noise[owner]
        moved = (images + own).clamp_(0, 1)
        for _ in range(self.steps):
            moved = moved - step * classifier.slope(moved, labels).sign()
            own = project_noise_(moved - images, epsilon)
            moved = (images + own).clamp_(0, 1)
        present, member = owner.unique(return_inverse=True)
        total = noise.new_zeros(len(present), *noise.shape[1:]).index_add_(0, member, own)
        count = member.bincount(minlength=len(present)).view(-1, 1, 1, 1)
        noise[present] = project_noise_(total / count, epsilon)
