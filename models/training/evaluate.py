"""Clean accuracy of a recogniser on people who chose nothing: neither trained on nor looked at for any decision."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cloakbench.datasets.base import FaceSet
from cloakbench.models.base import Recogniser, embed_in_batches

FAR = 1e-3
BATCH_SIZE = 100


@dataclass(frozen=True)
class CleanAccuracy:
    """Rates in [0, 1] with their counts.

    Attributes:
        top1: share of probes whose nearest other face, among all other probes and the distractors, is the same person.
        top1_single: the same with one photo per person in the gallery (their first) beside the distractors, over the
            other photos.
        auc: area under the ROC curve over all pairs of probes.
        tar_at_far_1e3: share of same-person pairs above the similarity that one in 1,000 other pairs exceeds.
        probes, identities, distractors: what it was measured on.
    """

    top1: float
    top1_single: float
    auc: float
    tar_at_far_1e3: float
    probes: int
    identities: int
    distractors: int


def leave_one_out(similarity: Tensor, same: Tensor, nearest_distractor: Tensor) -> float:
    """Share of probes whose best mate lies strictly above every foreign face; the probe itself is left out."""
    own = torch.eye(len(same), dtype=torch.bool)
    mate = similarity.masked_fill(~same | own, -2).amax(1)
    foreign = torch.maximum(similarity.masked_fill(same, -2).amax(1), nearest_distractor)
    return (mate > foreign).double().mean().item()


def single_mate(similarity: Tensor, labels: Tensor, nearest_distractor: Tensor) -> float:
    """Rank-1 rate with the first photo of each person as the gallery, over the other photos."""
    people = int(labels.max()) + 1
    first = torch.stack([torch.nonzero(labels == person)[0, 0] for person in range(people)])
    probes = torch.ones(len(labels), dtype=torch.bool)
    probes[first] = False
    scores = similarity[probes][:, first]
    column = labels[probes][:, None]
    mate = scores.gather(1, column).squeeze(1)
    foreign = torch.maximum(scores.scatter(1, column, -2).amax(1), nearest_distractor[probes])
    return (mate > foreign).double().mean().item()


def area_under_curve(genuine: Tensor, impostor: Tensor) -> float:
    """Probability that a same-person pair scores above another pair, ties counted half (Mann-Whitney)."""
    impostor = impostor.sort().values
    below = torch.searchsorted(impostor, genuine, right=False).double()
    up_to = torch.searchsorted(impostor, genuine, right=True).double()
    return ((below + up_to) / 2).mean().item() / len(impostor)


def evaluate(model: Recogniser, probes: FaceSet, distractors: FaceSet, device: torch.device) -> CleanAccuracy:
    """Embeds everything once and computes the rates.

    Args:
        model: the recogniser, on ``device``.
        probes: several photos of each of a number of people.
        distractors: photos of nobody among them.
        device: where embedding happens.

    Raises:
        ValueError: a person with a single photo, or fewer than 1,000 pairs of different people.
    """
    embeddings = embed_in_batches(model, probes.images, BATCH_SIZE, device)
    others = embed_in_batches(model, distractors.images, BATCH_SIZE, device)
    labels = probes.labels()
    if int(labels.bincount().min()) < 2:
        raise ValueError("clean accuracy needs at least two photos of each person")
    similarity = embeddings @ embeddings.t()
    same = labels[:, None] == labels[None]
    pairs = torch.ones_like(same).triu(1)
    genuine, impostor = similarity[same & pairs], similarity[~same & pairs]
    if len(impostor) * FAR < 1:
        raise ValueError(f"{len(impostor)} pairs of different people are too few for a false accept rate of {FAR}")
    threshold = impostor.topk(int(len(impostor) * FAR) + 1).values[-1]
    nearest = (embeddings @ others.t()).amax(1) if len(others) else torch.full((len(labels),), -2.0)
    return CleanAccuracy(
        top1=leave_one_out(similarity, same, nearest),
        top1_single=single_mate(similarity, labels, nearest),
        auc=area_under_curve(genuine, impostor),
        tar_at_far_1e3=(genuine > threshold).double().mean().item(),
        probes=len(probes),
        identities=len(probes.identities()),
        distractors=len(distractors),
    )
