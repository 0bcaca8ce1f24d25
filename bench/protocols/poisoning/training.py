"""One training and its answers, as a pure function: everything that decides them, and nothing of the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from hydra.utils import instantiate
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.models.base import Attacker, classify_in_batches


def train_and_answer(
    attacker: Mapping[str, Any],
    regime: Mapping[str, Any],
    photos: Tensor,
    labels: Tensor,
    test: Tensor,
    seed: str,
    device: torch.device,
) -> tuple[Tensor, float]:
    """Answers to the test photos, long ``[T]``, and the share of the training photos that are named rightly.

    Args:
        attacker, regime: resolved configs.
        photos: uint8 ``[N, 3, H, W]``, what is trained on.
        labels: long ``[N]``; every class from 0 to the largest is a person.
        test: uint8 ``[T, 3, H, W]``.
        seed: names every draw.
        device: where to compute.
    """
    someone: Attacker = instantiate(dict(attacker))
    classes = int(labels.max()) + 1
    network = someone.train(photos, labels, classes, instantiate(dict(regime)), seed, device)
    learnt = classify_in_batches(network, photos, someone.batch_size, device)
    predicted = classify_in_batches(network, test, someone.batch_size, device)
    return predicted, float((learnt == labels).float().mean())


def unprotected_rows(identity: Sequence[str], share: float, *stream: object) -> list[int]:
    """Which photos went out unprotected: of each person the rounded share, drawn by the stream."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(identity):
        rows.setdefault(name, []).append(row)
    drawn = []
    for name, own in rows.items():
        order = torch.randperm(len(own), generator=generator("unprotected", *stream, name)).tolist()
        drawn += [own[place] for place in order[: round(share * len(own))]]
    return sorted(drawn)
