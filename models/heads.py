"""Losses on the hypersphere that recognisers are trained with.

Every head holds one centre per training identity, compares unit embeddings with unit centres, and returns the mean
loss of a batch. ``ramp`` in [0, 1] scales the margin, so that training can start with plain softmax: with a random
start and a full margin the first epochs go nowhere.

Sources: Softmax (normalised): Wang et al., "NormFace", ACM MM 2017, equation 4. CosFace: Wang et al., CVPR 2018,
equation 4. ArcFace: Deng et al., CVPR 2019, equation 3. SFace: Zhong et al., "SFace: sigmoid-constrained hypersphere
loss", IEEE TIP 2021.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

COSINE_LIMIT = 1 - 1e-6
"""Cosines are kept inside, because the slope of the arc cosine is infinite at one."""


class Head(nn.Module, ABC):
    """Centres of the training identities and a loss.

    Args:
        classes: number of training identities.
        embedding_size: length of the embeddings.
    """

    def __init__(self, classes: int, embedding_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, embedding_size))
        nn.init.normal_(self.weight, std=0.05)

    def cosines(self, embeddings: Tensor) -> Tensor:
        """Cosine between each embedding and each centre, ``[N, classes]``."""
        return F.normalize(embeddings) @ F.normalize(self.weight).t()

    @abstractmethod
    def loss(self, cosines: Tensor, labels: Tensor, ramp: float) -> Tensor:
        """Mean loss of cosines ``[N, classes]`` and labels ``[N]``."""

    def forward(self, embeddings: Tensor, labels: Tensor, ramp: float = 1.0) -> Tensor:
        """Mean loss of embeddings ``[N, D]`` of any length and labels ``[N]``."""
        return self.loss(self.cosines(embeddings), labels, ramp)


class Softmax(Head):
    """Normalised softmax: cross-entropy of ``scale * cos``; no margin, so ``ramp`` has no effect.

    Args:
        scale: s.
        label_smoothing: share of the target spread over all identities.
    """

    def __init__(self, classes: int, embedding_size: int, scale: float, label_smoothing: float = 0.0) -> None:
        super().__init__(classes, embedding_size)
        self.scale, self.label_smoothing = scale, label_smoothing

    def loss(self, cosines: Tensor, labels: Tensor, ramp: float) -> Tensor:
        return F.cross_entropy(self.scale * cosines, labels, label_smoothing=self.label_smoothing)


class Margin(Head):
    """Cross-entropy of ``scale * cos`` with the own identity's cosine made harder by ``margin``."""

    def __init__(self, classes: int, embedding_size: int, scale: float, margin: float) -> None:
        super().__init__(classes, embedding_size)
        self.scale, self.margin = scale, margin

    @abstractmethod
    def harden(self, own: Tensor, margin: float) -> Tensor:
        """The own identity's cosines ``[N, 1]`` after the margin."""

    def loss(self, cosines: Tensor, labels: Tensor, ramp: float) -> Tensor:
        column = labels[:, None]
        own = self.harden(cosines.gather(1, column), self.margin * ramp)
        return F.cross_entropy(self.scale * cosines.scatter(1, column, own), labels)


class CosFace(Margin):
    """Additive cosine margin: ``cos(theta) - m``."""

    def harden(self, own: Tensor, margin: float) -> Tensor:
        return own - margin


class ArcFace(Margin):
    """Additive angular margin: ``cos(theta + m)``.

    Where ``theta + m`` would pass pi the cosine turns upwards again; there the loss continues as the straight line
    ``cos(theta) - m sin(m)``, as in the authors' code.
    """

    def harden(self, own: Tensor, margin: float) -> Tensor:
        own = own.clamp(-COSINE_LIMIT, COSINE_LIMIT)
        return torch.where(
            own > -math.cos(margin), torch.cos(torch.acos(own) + margin), own - margin * math.sin(margin)
        )


class SFace(Head):
    """Sigmoid-constrained hypersphere loss: how fast an embedding moves depends on its angles, and nothing else.

    ``L = -[r_intra(theta_y)] cos(theta_y) + sum over j != y of [r_inter(theta_j)] cos(theta_j)`` with
    ``r_intra(t) = s / (1 + exp(-k (t - a)))`` and ``r_inter(t) = s / (1 + exp(k (t - b)))``, where ``[.]`` passes no
    gradient: own centres stop pulling within ``a``, foreign ones push only within ``b``. There is no margin, so
    ``ramp`` has no effect.

    Args:
        scale: s, the speed limit.
        slope: k, steepness of both sigmoids.
        pull_until: a, radians; pulling fades below this angle to the own centre.
        push_within: b, radians; pushing fades above this angle to a foreign centre. The authors choose a and b per
            training set.
    """

    def __init__(
        self,
        classes: int,
        embedding_size: int,
        *,
        scale: float = 64.0,
        slope: float = 80.0,
        pull_until: float = 0.80,
        push_within: float = 1.23,
    ) -> None:
        super().__init__(classes, embedding_size)
        self.scale, self.slope, self.pull_until, self.push_within = scale, slope, pull_until, push_within

    def loss(self, cosines: Tensor, labels: Tensor, ramp: float) -> Tensor:
        column = labels[:, None]
        angles = torch.acos(cosines.detach().clamp(-COSINE_LIMIT, COSINE_LIMIT))
        pull = self.scale * torch.sigmoid(self.slope * (angles - self.pull_until))
        push = self.scale * torch.sigmoid(self.slope * (self.push_within - angles))
        speed = push.scatter(1, column, -pull.gather(1, column))
        return (speed * cosines).sum(1).mean()
