"""DFPP, small: for each photo an untrained network learns to put makeup on it that recognisers are deceived by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import at_least, one_of, positive, whole
from cloakbench.methods.base import Protector, Scope
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.dssim import DSSIM
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.makeup.histogram import histogram_losses
from cloakbench.methods.parts.makeup.photo_networks import PhotoNetworks
from cloakbench.methods.parts.makeup.reference import MakeupReference
from cloakbench.methods.parts.makeup.regions import face_regions
from cloakbench.methods.parts.objectives import NEEDS, EmbeddingObjective, find_anchors
from cloakbench.methods.photo_batch import PhotoBatch

_HISTOGRAMS = (1.0, 1.0, 0.1)
"""Weights of lips, eyes and skin, those of AMT-GAN."""
_ADAM_EPSILON = 1e-4
"""Slopes below it do not count: they are rounding, which depends on how many photos share a pass."""


class DFPP(Protector):
    """Deep facial privacy prior: an untrained encoder-decoder per photo, no training on other people.

    Each photo's network, `cloakbench.methods.parts.makeup.photo_networks.PhotoNetworks`, learns to make a photo that
    minimises ``structure (DSSIM + L1) + makeup sum_r w_r histogram_r + adversarial distance``: colours of lips, eyes
    and skin go to those of a made-up face, and the embedding leaves the photo's own, or goes to the aim's. Photos of a
    chunk learn in one batch. A face without points has no regions, and fails.

    Paper: Shamshad, Naseer and Nandakumar, "Makeup-Guided Facial Privacy Protection via Untrained Neural Network
    Priors", ECCV Workshops 2024.
    Official settings: the published repository has no code; faces of 256 px, segmented by a parsing network,
    impersonation of a target against an ensemble of three.
    Deviations: the small version: five layers, regions from five landmarks, histogram losses as makeup loss, DSSIM and
    L1 as structure loss, weights and iterations are ours; the network adds to the face alone, and begins at the photo;
    evasion unless ``objective`` says otherwise.

    Args:
        reference: whose makeup.
        objective: see `cloakbench.methods.parts.objectives.EmbeddingObjective`.
        iterations: of Adam.
        width: channels of the first convolution.
        learning_rate: of Adam.
        structure_weight, makeup_weight, adversarial_weight: of the losses.

    Raises:
        SettingError: a parameter is out of range.

    Facts: ``loss_first`` and ``loss_last``, means over the photos.
    """

    name: ClassVar[str] = "dfpp"
    scope: ClassVar[Scope] = "image"
    paper: ClassVar[str] = (
        "Shamshad et al., Makeup-Guided Facial Privacy Protection via Untrained Neural Network Priors, ECCVW 2024"
    )
    official_settings: ClassVar[str] = "no code in the repository; 256 px, parsed regions, ensemble of three"
    deviations: ClassVar[str] = (
        "small version: five layers that begin at the photo, regions from landmarks, own weights"
    )
    max_change_255 = 255.0

    def __init__(
        self,
        reference: MakeupReference | None = None,
        *,
        objective: EmbeddingObjective = "own",
        iterations: int = 20,
        width: int = 8,
        learning_rate: float = 1e-2,
        structure_weight: float = 10.0,
        makeup_weight: float = 10.0,
        adversarial_weight: float = 1.0,
    ) -> None:
        self.reference = reference or MakeupReference()
        self.objective: EmbeddingObjective = one_of("objective", objective, get_args(EmbeddingObjective))
        self.iterations, self.width = whole("iterations", iterations), whole("width", width)
        self.learning_rate = positive("learning_rate", learning_rate)
        self.structure_weight = at_least("structure_weight", structure_weight)
        self.makeup_weight = at_least("makeup_weight", makeup_weight)
        self.adversarial_weight = at_least("adversarial_weight", adversarial_weight)
        self.needs = NEEDS[objective] | {Need.LANDMARKS, Need.AUXILIARY}
        if self.reference.file is not None:
            self.needs -= {Need.AUXILIARY}
        self.targeted = objective == "aim"

    def files_read(self, image_id: Sequence[str]) -> Mapping[str, str]:
        digest = self.reference.fingerprint()
        return {"makeup": digest} if digest else {}

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        photos, (height, width) = batch.images, batch.images.shape[-2:]
        regions = face_regions(batch.require_landmarks(), height, width)
        made_up = self.reference.find(context.auxiliary, width, context.device)
        anchors = find_anchors(self.objective, batch, context)
        structure = DSSIM(photos)
        streams = ItemStreams(batch.image_id, context.seed, self.name, device=context.device)
        networks = PhotoNetworks(streams, len(photos), self.width)
        optimiser = torch.optim.Adam(networks.parameters(), lr=self.learning_rate, eps=_ADAM_EPSILON)
        likes = (made_up.image.expand_as(photos), made_up.regions.expand_as(regions))
        weights = photos.new_tensor(_HISTOGRAMS)

        def made() -> tuple[Tensor, Tensor]:
            """Photos as the networks make them, and the losses of each without the adversarial one."""
            faces = networks(photos, regions, made_up.image, made_up.regions)
            makeup = histogram_losses(faces, regions, *likes) @ weights
            changed = structure(faces) + (faces - photos).abs().mean(dim=(1, 2, 3))
            return faces, self.structure_weight * changed + self.makeup_weight * makeup

        told = []
        for _ in range(self.iterations):
            faces, losses = made()
            adversarial = torch.stack(
                [anchors.loss(place, model.embed(faces)) for place, model in enumerate(context.surrogates)]
            ).mean()
            loss = losses.sum() + self.adversarial_weight * adversarial  # sums: no photo's gradient depends on others
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            told.append(float(loss.detach()) / len(photos))
        context.facts.update(loss_first=told[0], loss_last=told[-1])
        known = regions.flatten(1).any(dim=1).view(-1, 1, 1, 1)
        with torch.no_grad():
            return torch.where(known, made()[0], float("nan"))
