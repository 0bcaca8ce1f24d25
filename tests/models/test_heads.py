"""Heads against formulas written out one image at a time, and in their limits."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.models.heads import ArcFace, CosFace, Head, SFace, Softmax

CLASSES, SIZE, BATCH = 7, 5, 6


def batch() -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(3)
    embeddings = torch.randn(BATCH, SIZE, generator=draws)
    return embeddings, torch.randint(0, CLASSES, (BATCH,), generator=draws)


def seeded(head: Head) -> Head:
    draws = torch.Generator().manual_seed(4)
    head.weight.data = torch.randn(CLASSES, SIZE, generator=draws)
    return head


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def written_out(head: Head, own_logit, others_logit) -> float:
    """Mean cross-entropy with separate formulas for the own and the other identities, in plain Python."""
    embeddings, labels = batch()
    total = 0.0
    for embedding, label in zip(embeddings, labels.tolist(), strict=True):
        cosines = [cosine(embedding, centre) for centre in head.weight.detach()]
        logits = [own_logit(c) if j == label else others_logit(c) for j, c in enumerate(cosines)]
        total += math.log(sum(math.exp(logit) for logit in logits)) - logits[label]
    return total / len(labels)


def test_softmax() -> None:
    head = seeded(Softmax(CLASSES, SIZE, scale=16.0))
    assert head(*batch()).item() == pytest.approx(written_out(head, lambda c: 16 * c, lambda c: 16 * c), rel=1e-5)


def test_softmax_smoothing() -> None:
    head = seeded(Softmax(CLASSES, SIZE, scale=16.0, label_smoothing=0.1))
    embeddings, labels = batch()
    log_p = F.log_softmax(16 * F.normalize(embeddings) @ F.normalize(head.weight).t(), 1)
    target = torch.full((BATCH, CLASSES), 0.1 / CLASSES).scatter_add_(1, labels[:, None], torch.full((BATCH, 1), 0.9))
    assert head(embeddings, labels).item() == pytest.approx(-(target * log_p).sum(1).mean().item(), rel=1e-5)


@pytest.mark.parametrize("ramp", [0.0, 0.5, 1.0])
def test_cosface(ramp: float) -> None:
    head = seeded(CosFace(CLASSES, SIZE, scale=10.0, margin=0.35))
    expected = written_out(head, lambda c: 10 * (c - 0.35 * ramp), lambda c: 10 * c)
    assert head(*batch(), ramp).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("ramp", [0.0, 0.5, 1.0])
def test_arcface(ramp: float) -> None:
    head = seeded(ArcFace(CLASSES, SIZE, scale=10.0, margin=0.5))
    margin = 0.5 * ramp

    def own(c: float) -> float:
        angle = math.acos(c)
        return 10 * (math.cos(angle + margin) if angle + margin < math.pi else c - margin * math.sin(margin))

    assert head(*batch(), ramp).item() == pytest.approx(written_out(head, own, lambda c: 10 * c), rel=1e-5)


def test_arcface_beyond_pi_still_pulls_inwards() -> None:
    head = ArcFace(2, 2, scale=1.0, margin=0.5)
    own = torch.tensor([[-0.999], [-0.95], [-0.9], [-0.5]])
    hardened = head.harden(own, 0.5).flatten()
    assert bool((hardened.diff() > 0).all())


def test_margins_without_margin_are_softmax() -> None:
    plain = seeded(Softmax(CLASSES, SIZE, scale=8.0))(*batch()).item()
    assert seeded(CosFace(CLASSES, SIZE, scale=8.0, margin=0.0))(*batch()).item() == pytest.approx(plain, rel=1e-6)
    assert seeded(ArcFace(CLASSES, SIZE, scale=8.0, margin=0.0))(*batch()).item() == pytest.approx(plain, rel=1e-4)


def test_sface_gradient_is_the_published_one() -> None:
    """dL/dcos is -r_intra(theta) for the own and r_inter(theta) for the other identities; r passes no gradient."""
    head = SFace(CLASSES, SIZE, scale=64.0, slope=8.0, pull_until=0.8, push_within=1.23)
    draws = torch.Generator().manual_seed(5)
    cosines = (torch.rand(BATCH, CLASSES, generator=draws) * 1.9 - 0.95).requires_grad_()
    labels = torch.randint(0, CLASSES, (BATCH,), generator=draws)
    (slope,) = torch.autograd.grad(head.loss(cosines, labels, 1.0), cosines)
    for i in range(BATCH):
        for j in range(CLASSES):
            angle = math.acos(cosines[i, j].item())
            expected = (
                -64 / (1 + math.exp(-8 * (angle - 0.8))) if j == labels[i] else 64 / (1 + math.exp(8 * (angle - 1.23)))
            )
            assert slope[i, j].item() * BATCH == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_sface_leaves_settled_embeddings_alone() -> None:
    head = SFace(3, 3)
    head.weight.data = torch.eye(3)
    embeddings = torch.eye(3).requires_grad_()
    (slope,) = torch.autograd.grad(head(embeddings, torch.arange(3)), embeddings)
    assert float(slope.abs().max()) < 1e-6


def test_length_of_embeddings_does_not_matter() -> None:
    embeddings, labels = batch()
    for head in (
        Softmax(CLASSES, SIZE, scale=8.0),
        CosFace(CLASSES, SIZE, scale=8.0, margin=0.3),
        ArcFace(CLASSES, SIZE, scale=8.0, margin=0.3),
        SFace(CLASSES, SIZE),
    ):
        assert head(embeddings * 7, labels).item() == pytest.approx(head(embeddings, labels).item(), rel=1e-5)
