"""One mask per person: FI-UAP, FI-UAP+, OPOM-ClassCenter, -AffineHull, -ConvexHull, and their DFANet-M variants."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import grey_levels, grey_step, whole
from cloakbench.methods.base import Budget, Protector, Scope
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.dfanet import DFANet
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.linf import project_noise_
from cloakbench.methods.parts.opom_objectives import MaskObjective
from cloakbench.methods.parts.transfer.ensemble import Transfer
from cloakbench.methods.photo_batch import PhotoBatch


class OPOM(Protector):
    """One Linf mask per person, learnt from R reference photos and added to any other photo.

    From ``x'_i = x_i + U(-epsilon, epsilon)``, not clipped, T times: with g_i the gradient of the loss in x'_i,
    ``m = mean_i(x'_i - step * sign(mean_i g_i) - x_i)``, ``mask = clip(m, +-epsilon)``, ``x'_i = clip(x_i + mask)``.
    After the first step all photos share the mask. m averages what is left after clipping to valid pixels, so a pixel
    saturated in some photos is pulled towards zero.

    Paper: Zhong and Deng, "OPOM: Customized Invisible Cloak towards Face Privacy Protection", TPAMI 2022; its
    objectives are in `cloakbench.methods.parts.opom_objectives`, its dropout variant in
    `cloakbench.methods.parts.dfanet`.
    Official settings: epsilon 8, step 1, 16 steps, 10 photos, one surrogate, seed 0 set again for every person.
    Deviations: all people of a chunk are optimised together, each with its own noise; clean features carry no graph;
    hulls are solved by `cloakbench.methods.parts.hulls` instead of one quadratic program per photo; several surrogates
    average their losses; the deployed photo is rounded, where the official evaluation truncates.

    Args:
        objective: the loss.
        epsilon_255: Linf budget of the mask in grey levels.
        step_255: grey levels per step.
        steps: gradient steps T.
        dfanet: the DFANet-M variant, or None. With it the step is the mean over photos of the sign of each photo's
            gathered gradient, and clean features are embedded anew, through dropout, at every step.
        transfer: how gradients are taken; None for the mean over surrogates, of the masked photos themselves.
    """

    name: ClassVar[str] = "opom"
    scope: ClassVar[Scope] = "identity"
    paper: ClassVar[str] = (
        "Zhong and Deng, OPOM: Customized Invisible Cloak towards Face Privacy Protection, TPAMI 2022"
    )
    official_settings: ClassVar[str] = (
        "epsilon 8, step 1, 16 steps (DFANet-M: 100), 10 photos, 5 warm-up steps (convex)"
    )
    deviations: ClassVar[str] = "own noise per person; exact batched hull solver; rounding instead of truncation"
    needs = frozenset({Need.SURROGATES, Need.REFERENCES})

    def __init__(
        self,
        objective: MaskObjective,
        epsilon_255: float = 8,
        step_255: float = 1,
        steps: int = 16,
        dfanet: DFANet | None = None,
        transfer: Transfer | None = None,
    ) -> None:
        self.objective = objective
        self.epsilon_255 = grey_levels("epsilon_255", epsilon_255)
        self.step_255 = grey_step("step_255", step_255)
        self.steps = whole("steps", steps)
        self.dfanet = dfanet
        self.transfer = transfer or Transfer()
        self.budget = Budget("linf", epsilon_255)

    def fit(self, batch: PhotoBatch, context: ProtectContext) -> Tensor:
        """The masks, float ``[P, 3, H, W]`` in [-epsilon, epsilon] / 255."""
        references = batch.require_references()
        names = [
            f"{identity}\x1f{photo}"
            for identity, photos in zip(batch.identities, batch.reference_id, strict=True)
            for photo in photos
        ]
        streams = ItemStreams(names, context.seed, self.name, device=context.device)
        if self.dfanet is None:
            return self._learn(references, streams, context)
        with self.dfanet.active(context.surrogates, ItemStreams(names, context.seed, "dfanet", device=context.device)):
            return self._learn(references, streams, context)

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        return batch.images + fitted[batch.owner]

    def _learn(self, references: Tensor, streams: ItemStreams, context: ProtectContext) -> Tensor:
        shape, epsilon, step_size = references.shape[:2], self.epsilon_255 / 255, self.step_255 / 255
        plain = references.flatten(0, 1)
        center = references.mean(dim=1)
        photos = streams.uniform(*plain.shape[1:], low=-epsilon, high=epsilon).add_(plain)
        # A view of the same memory: what the network sees as [P * R] photos is updated as [P, R].
        by_person = photos.unflatten(0, shape)
        clean = self._embed_clean(plain, shape, context)
        gathered: Tensor | None = None
        gradients = self.transfer.begin(streams, context.surrogates, plain)
        mask = torch.zeros_like(center)
        for step in range(self.steps):
            if self.dfanet is not None and step:
                clean = self._embed_clean(plain, shape, context)
            loss = partial(self._loss, clean=clean, step=step)
            gradient = gradients(photos, loss).unflatten(0, shape)
            if self.dfanet is None:
                direction = gradient.mean(dim=1).sign_()
            else:
                gathered = self.dfanet.accumulate(gathered, gradient)
                direction = gathered.sign().mean(dim=1)
            moved = (by_person.mean(dim=1) - center).sub_(direction, alpha=step_size)
            mask = project_noise_(moved, epsilon)
            torch.add(references, mask.unsqueeze(1), out=by_person).clamp_(0, 1)
        return mask

    def _loss(self, surrogate: int, embeddings: Tensor, clean: list[Tensor], step: int) -> Tensor:
        points = clean[surrogate]
        return self.objective.loss(embeddings.unflatten(0, points.shape[:2]), points, step)

    @staticmethod
    @torch.no_grad()
    def _embed_clean(plain: Tensor, shape: torch.Size, context: ProtectContext) -> list[Tensor]:
        return [model.embed(plain).unflatten(0, shape) for model in context.surrogates]
