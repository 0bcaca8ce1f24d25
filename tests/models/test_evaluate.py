"""Clean accuracy against counting by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from cloakbench.datasets.base import FaceSet
from cloakbench.models.base import InputSpec, ModelCard, Recogniser
from cloakbench.models.training.evaluate import area_under_curve, evaluate

CPU = torch.device("cpu")


class Pixels(nn.Module):
    """The first pixels of an image are its embedding."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :6]


def recogniser() -> Recogniser:
    card = ModelCard("pixels", "none", "Pixels", "none", "none", 6, "0")
    return Recogniser(Pixels(), InputSpec(size=(2, 2), mean=0.5, std=0.5), card)


def random_faces(identities: int, photos: int, seed: int, spread: float) -> FaceSet:
    draws = torch.Generator().manual_seed(seed)
    centres = torch.rand(identities, 3, 2, 2, generator=draws)
    images = centres.repeat_interleave(photos, 0) + spread * torch.randn(identities * photos, 3, 2, 2, generator=draws)
    return FaceSet(
        (images.clamp(0, 1) * 255).to(torch.uint8),
        tuple(f"{seed}/{i}" for i in range(identities * photos)),
        tuple(f"{seed}/{i // photos}" for i in range(identities * photos)),
    )


def test_rates_agree_with_counting_by_hand() -> None:
    model, probes, others = recogniser(), random_faces(20, 4, 1, 0.12), random_faces(30, 1, 2, 0.0)
    result = evaluate(model, probes, others, CPU)
    a, b = model.embed(probes.images.float() / 255), model.embed(others.images.float() / 255)
    n = len(probes)
    hits = single_hits = 0
    genuine, impostor = [], []
    for i in range(n):
        scores = [(float(a[i] @ a[j]), probes.identity[j]) for j in range(n) if j != i]
        scores += [(float(a[i] @ row), "nobody") for row in b]
        hits += max(scores)[1] == probes.identity[i]
        if i % 4:
            gallery = [(float(a[i] @ a[j]), probes.identity[j]) for j in range(0, n, 4)]
            gallery += [(float(a[i] @ row), "nobody") for row in b]
            single_hits += max(gallery)[1] == probes.identity[i]
        for j in range(i):
            (genuine if probes.identity[i] == probes.identity[j] else impostor).append(float(a[i] @ a[j]))
    assert 0 < hits < n
    assert result.top1 == pytest.approx(hits / n)
    assert result.top1_single == pytest.approx(single_hits / (n * 3 / 4))
    wins = sum((g > i) + 0.5 * (g == i) for g in genuine for i in impostor) / (len(genuine) * len(impostor))
    assert result.auc == pytest.approx(wins, abs=1e-6)
    threshold = sorted(impostor, reverse=True)[int(1e-3 * len(impostor))]
    assert result.tar_at_far_1e3 == pytest.approx(sum(g > threshold for g in genuine) / len(genuine))
    assert (result.probes, result.identities, result.distractors) == (80, 20, 30)


def test_ties_are_not_hits_and_count_half_in_the_auc() -> None:
    assert area_under_curve(torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.5])) == pytest.approx(0.5)
    same = FaceSet(
        torch.full((60, 3, 2, 2), 200, dtype=torch.uint8),
        tuple(str(i) for i in range(60)),
        tuple(str(i // 2) for i in range(60)),
    )
    result = evaluate(recogniser(), same, random_faces(3, 1, 2, 0.0), CPU)
    assert result.top1 == 0


def test_too_little_to_measure_on() -> None:
    with pytest.raises(ValueError, match="at least two photos"):
        evaluate(recogniser(), random_faces(5, 1, 1, 0.1), random_faces(3, 1, 2, 0.0), CPU)
    with pytest.raises(ValueError, match="too few"):
        evaluate(recogniser(), random_faces(3, 2, 1, 0.1), random_faces(3, 1, 2, 0.0), CPU)
