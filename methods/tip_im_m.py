"""TIP-IM against attribute networks: whichever of several wrong sets of answers a photo is most easily given."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from cloakbench.bench.core.ranges import whole
from cloakbench.methods.base import Goal
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.attributes.label_tuples import LabelTuples
from cloakbench.methods.parts.attributes.own_answers import OwnAnswers
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.mmd import ComparedSets
from cloakbench.methods.photo_batch import PhotoBatch
from cloakbench.methods.tip_im import TIPIM, Gain, StepNorm, Targets


class TIPIMAttributes(TIPIM):
    """TIP-IM-m: `TIPIM` whose targets are tuples of labels, each wrong about every attribute, instead of people.

    For each tuple t the gradient of ``sum_k CE(M_k, t_k) - CE(M_k, y_k) + gamma MMD`` makes a candidate; the one of
    largest gain ``log(1 + max_t exp(J_y - J_t))`` stays, J the mean cross-entropy over attributes.

    Paper: Yang et al., "Invisible-Face", TIFS 2025, section VI-A, which replaces the loss and says nothing else.
    Official settings: those of `TIPIM`.
    Deviations: those of `TIPIM`; ten tuples are drawn for each photo in place of ten people; where there are no more
    than that, such as the single one of ten yes-or-no attributes, all are taken.

    Args:
        label_tuples: how many are drawn.
        epsilon_255, steps, step_255, step_norm, momentum_decay, gain, warp_low, warp_high, naturalness_weight,
            naturalness_sets: see `TIPIM`.

    Raises:
        ValueError: a parameter is out of range.
    """

    name: ClassVar[str] = "tip_im_m"
    goal: Goal = "hide attributes"
    paper: ClassVar[str] = "Yang et al., Invisible-Face, TIFS 2025; Yang et al., TIP-IM, ICCV 2021"
    official_settings: ClassVar[str] = "TIP-IM's, cross-entropy of attributes instead of its embedding distance"
    deviations: ClassVar[str] = "10 label tuples instead of 10 people; labels are the surrogates' own answers"
    targeted = False

    def __init__(
        self,
        epsilon_255: float = 12,
        *,
        steps: int = 100,
        step_255: float | None = None,
        step_norm: StepNorm = "l2",
        momentum_decay: float = 1.0,
        label_tuples: int = 10,
        gain: Gain = "gain3",
        warp_low: float = 0.01,
        warp_high: float = 0.1,
        naturalness_weight: float = 0.0,
        naturalness_sets: ComparedSets = "patches",
    ) -> None:
        super().__init__(
            epsilon_255,
            steps=steps,
            step_255=step_255,
            step_norm=step_norm,
            momentum_decay=momentum_decay,
            gain=gain,
            warp_low=warp_low,
            warp_high=warp_high,
            naturalness_weight=naturalness_weight,
            naturalness_sets=naturalness_sets,
        )
        self.label_tuples = whole("label_tuples", label_tuples)
        self.needs = frozenset({Need.ATTRIBUTE_SURROGATES})

    def fit(self, batch: PhotoBatch, context: ProtectContext) -> Any:
        """Nothing: targets follow from what is said about each photo."""
        return None

    @torch.no_grad()
    def targets(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Targets:
        answers = [model.logits(batch.images) for model in context.attribute_surrogates]
        own = OwnAnswers.read(context.attribute_surrogates, answers)
        widths = [{name: scores.shape[1] for name, scores in answer.items()} for answer in answers]
        streams = ItemStreams(batch.image_id, context.seed, self.name, "label tuples", device=context.device)
        return LabelTuples.drawn(own, widths, self.label_tuples, streams)
