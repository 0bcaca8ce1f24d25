"""Robust error-minimising noise: unlearnable for a classifier that is trained against adversaries, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator, layers_draw_from
from cloakbench.bench.core.ranges import grey_levels, grey_step, one_of, whole
from cloakbench.methods.base import Budget, Goal, Protector, Scope
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.em import NoiseKind
from cloakbench.methods.parts.linf import project_noise_
from cloakbench.methods.parts.unlearnable import BilevelClassifier, Network, TrainingPhotos, checked_sgd
from cloakbench.methods.photo_batch import PhotoBatch

Views = Callable[[Tensor, torch.Generator], Tensor]
"""Random views of a batch of images in [0, 1], differentiable."""
Adversary = Callable[[nn.Module, Tensor, Tensor, torch.Generator], Tensor]
"""Images near the given ones that a network finds harder: ``(network, images, labels, draws)``."""


class REM(Protector):
    """REM: ``min over weights and noise of the mean E_t max_a CE(g(t(x_i + noise_i) + a), y_i)``, ``|a| <= rho_a``.

    Defender, for a batch, weights frozen in eval mode: ``noise ~ U(-rho_u, rho_u)`` anew; S times: for J views t find
    ``z' = adversary(z)`` around ``z = t(clip(x + noise))``, take the slope g of the loss in z' as a constant and pull
    it back through t, then ``noise <- clip(noise - step * sign(sum of the pulled slopes), +-rho_u)``. Outer step: the
    noise of a batch by the defender, rounded to grey levels; SGD on the adversary's answer to a view of ``x + noise``.
    At the end one defender pass gives every photo its final noise.

    Paper: Fu et al., "Robust Unlearnable Examples: Protecting Data Against Adversarial Learning", ICLR 2022.
    Official settings (CIFAR-10): rho_u 8, step 1.6, S 10; rho_a 4, its step 0.8, 10 steps; J 5, flip and crop with
    padding 4; 5000 outer steps of 128 photos, SGD 0.1, times 0.1 every 2000, momentum 0.9, weight decay 5e-4. That is
    550 forward and backward passes per photo and noise; there is no face script. The survey's Fig. 2 prints 0.03.
    Deviations: pixels in [0, 1] instead of [-0.5, 0.5]; the final pass visits every photo exactly once, where the
    official loader is shuffled and drops the last batch; the gradient norm is cut; the class-wise kind is ours: after
    each defender call the noises of a person in the batch are averaged, and the final ones over all photos.

    Args:
        network: makes the classifier, see `cloakbench.methods.parts.unlearnable.Network`.
        views: t, or None for the photo itself.
        adversary: the inner maximisation; None for none.
        noise_kind: ``sample``, as published, or ``class``.
        epsilon_255: rho_u, Linf budget in grey levels.
        step_255: grey levels per defender step; None for rho_u / 5.
        steps: S.
        view_samples: J.
        random_start: start the defender at a uniform draw instead of zero.
        outer_steps: SGD steps, each after a defender call on its batch.
        batch_size: photos per batch.
        learning_rate, momentum, weight_decay, clip_norm: of SGD.
        decay_every: outer steps after which the learning rate is multiplied by 0.1, again and again.

    Facts: ``converged`` (None: the search has no criterion), ``rounds`` (outer steps), ``train_error`` with the final
    noise, ``clean_error`` without.
    """

    name: ClassVar[str] = "rem"
    scope: ClassVar[Scope] = "dataset"
    goal: Goal = "poison training"
    paper: ClassVar[str] = (
        "Fu et al., Robust Unlearnable Examples: Protecting Data Against Adversarial Learning, ICLR 2022"
    )
    official_settings: ClassVar[str] = (
        "rho_u 8, step 1.6, S 10; rho_a 4, step 0.8, 10 steps; J 5; 5000 outer steps of 128 (CIFAR-10)"
    )
    deviations: ClassVar[str] = "every photo gets its noise in the final pass; pixels in [0, 1]; class-wise kind added"

    def __init__(
        self,
        network: Network,
        *,
        views: Views | None = None,
        adversary: Adversary | None = None,
        noise_kind: NoiseKind = "sample",
        epsilon_255: float = 8,
        step_255: float | None = None,
        steps: int = 5,
        view_samples: int = 2,
        random_start: bool = True,
        outer_steps: int = 400,
        batch_size: int = 64,
        learning_rate: float = 0.05,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        clip_norm: float = 5.0,
        decay_every: int = 160,
    ) -> None:
        self.network = network
        self.views = views
        self.adversary = adversary
        self.noise_kind: NoiseKind = one_of("noise_kind", noise_kind, get_args(NoiseKind))
        self.epsilon_255 = grey_levels("epsilon_255", epsilon_255)
        self.step_255 = epsilon_255 / 5 if step_255 is None else grey_step("step_255", step_255)
        self.steps = whole("steps", steps)
        self.view_samples = whole("view_samples", view_samples)
        self.random_start = random_start
        self.outer_steps = whole("outer_steps", outer_steps)
        self.batch_size = whole("batch_size", batch_size, 2)
        self.sgd = checked_sgd(learning_rate, momentum, weight_decay, clip_norm)
        self.decay_every = whole("decay_every", decay_every)
        self.budget = Budget("linf", epsilon_255)

    def fit(self, batch: PhotoBatch, context: ProtectContext) -> Tensor:
        """The noise of every photo, whole grey levels / 255, float ``[N, 3, H, W]``."""
        training = TrainingPhotos.of(batch)
        with layers_draw_from(context.seed, self.name, "layers"):
            classifier = BilevelClassifier(self.network, training, context, **self.sgd)
            self._train(training, classifier, context)
            noise = self._final_noise(training, classifier, generator(context.seed, self.name, "final"))
        published = (training.images + noise).clamp_(0, 1)
        context.facts.update(
            converged=None,
            rounds=self.outer_steps,
            train_error=classifier.error(published, training.labels, self.batch_size),
            clean_error=classifier.error(training.images, training.labels, self.batch_size),
        )
        return noise[training.place]

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        return batch.images + fitted

    def _train(self, training: TrainingPhotos, classifier: BilevelClassifier, context: ProtectContext) -> None:
        """Train the classifier on noise that is made for it as it learns."""
        batches = training.batches(self.batch_size, context.seed, self.name)
        schedule = torch.optim.lr_scheduler.StepLR(classifier.optimiser, self.decay_every, gamma=0.1)
        for step in range(self.outer_steps):
            draws = generator(context.seed, self.name, "step", step)
            rows = next(batches)
            images, labels = training.images[rows], training.labels[rows]
            photos = (images + self.defend(images, labels, classifier, draws)).clamp_(0, 1)
            classifier.step(self._attacked(self._view(photos, draws), labels, classifier, draws), labels)
            schedule.step()

    def _final_noise(self, training: TrainingPhotos, classifier: BilevelClassifier, draws: torch.Generator) -> Tensor:
        """Noise of every photo for the finished classifier, each visited once."""
        noise = torch.cat(
            [
                self.defend(images, labels, classifier, draws)
                for images, labels in zip(
                    training.images.split(self.batch_size), training.labels.split(self.batch_size), strict=True
                )
            ]
        )
        if len(noise) != len(training.images):
            raise AssertionError("a photo was left without its final noise")
        return _whole_levels(_person_means(noise, training.labels)) if self.noise_kind == "class" else noise

    def defend(self, images: Tensor, labels: Tensor, classifier: BilevelClassifier, draws: torch.Generator) -> Tensor:
        """Noise ``[N, 3, H, W]`` of a batch for the frozen classifier, whole grey levels / 255."""
        epsilon, step = self.epsilon_255 / 255, self.step_255 / 255
        noise = torch.zeros(images.shape)
        if self.random_start:
            noise.uniform_(-epsilon, epsilon, generator=draws)
        noise = noise.to(images.device)
        for _ in range(self.steps):
            slope = self.slope(noise, images, labels, classifier, draws)
            noise = project_noise_(noise - step * slope.sign(), epsilon)
        if self.noise_kind == "class":
            noise = _person_means(noise, labels)
        return _whole_levels(noise)

    def slope(
        self, noise: Tensor, images: Tensor, labels: Tensor, classifier: BilevelClassifier, draws: torch.Generator
    ) -> Tensor:
        """Sum over views of the loss's slope in the noise; the adversary's offset counts as a constant."""
        leaf = noise.detach().requires_grad_()
        total = torch.zeros_like(noise)
        for _ in range(self.view_samples):
            view = self._view((images + leaf).clamp(0, 1), draws)
            slope = classifier.slope(self._attacked(view.detach(), labels, classifier, draws), labels)
            (pulled,) = torch.autograd.grad((view * slope).sum(), leaf)
            total += pulled
        return total

    def _view(self, photos: Tensor, draws: torch.Generator) -> Tensor:
        return photos if self.views is None else self.views(photos, draws)

    def _attacked(
        self, photos: Tensor, labels: Tensor, classifier: BilevelClassifier, draws: torch.Generator
    ) -> Tensor:
        return photos if self.adversary is None else self.adversary(classifier.network, photos, labels, draws)


def _whole_levels(noise: Tensor) -> Tensor:
    return (noise * 255).round_() / 255


def _person_means(noise: Tensor, labels: Tensor) -> Tensor:
    """Each photo's noise replaced by the mean over its person's photos."""
    members = F.one_hot(labels).to(noise.dtype)
    members = members / members.sum(dim=0).clamp(min=1)
    return (members.T @ noise.flatten(1)).view(-1, *noise.shape[1:])[labels]
