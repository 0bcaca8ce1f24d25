"""LowKey: photos that are useless as gallery entries, smoothed or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.core.ranges import at_least, grey_levels, grey_step, odd, positive, whole
from cloakbench.methods.base import Budget, Protector, Scope
from cloakbench.methods.context import CountedNetwork, Need, ProtectContext
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.linf import LinfBall
from cloakbench.methods.parts.perceptual_distance import PerceptualDistance
from cloakbench.methods.photo_batch import PhotoBatch

OFFICIAL_FEATURES = 512
"""Coordinates of the official features, over which the code averages. The factor is kept for shorter embeddings, so
that the balance with the perceptual term, 25.6 against a sum of squares, is the official one for every surrogate."""


@dataclass(frozen=True)
class Clean:
    """What the objective compares with: what surrogates found in the clean photos, and the distance to the photos."""

    found: Any
    perceptual: Callable[[Tensor], Tensor]


class LowKey(Protector):
    """Away from the clean photo in feature space, near it in perception, by signed steps from a random start.

    Maximises ``1 / 2n sum_i (|f_i(x) - f_i(x')|^2 + |f_i(x) - f_i(G(x'))|^2) - weight * perceptual(x, x')`` over n
    surrogates, G a Gaussian blur. f is the normalised sum of the embeddings of a photo and its mirror image, so the
    paper's divisor ``|f_i(x)|`` is one. Both terms compare with the unblurred clean photo.

    Paper: Cherepanova et al., "LowKey: Leveraging Adversarial Attacks to Protect Social Media Users from Facial
    Recognition", ICLR 2021, equation 1.
    Official settings: ArcFace and CosFace, each on IR-152 and ResNet-152; start uniform in +-0.005, 50 steps of 0.0025,
    weight 0.05 for LPIPS (AlexNet) against the mean square over 512 features, blur 7 px, sigma 3, reflected borders.
    No bound is enforced: the epsilon of 0.05 in the code belongs to another attack type, and a value may change by
    0.005 + 50 * 0.0025 = 0.13. Pixels are clipped once, at the end.
    Deviations: photos are aligned crops, so there is no warp and one LPIPS term instead of the mean of two; surrogates
    give unit embeddings, so the mirror image weighs as much as the photo; one start, always kept; the perceptual term
    is each photo's own (the code divides that of the first photo among the batch); with ``epsilon_255`` every step is
    projected onto the Linf ball and valid pixels.

    The embedded stand-in for LPIPS has another scale. At weight 0.05 it hardly let rendered photos change (38 dB). At
    0.01, the value of its YAML files, SSIM and PSNR are 0.75 and 28.1 dB (ten rendered faces) and 0.79 and 28.6 dB
    (four LFW faces) with one surrogate; Invisible-Face, Table II, has 0.64 to 0.79 and 25.6 to 28.5 dB for the method
    against attribute classifiers.

    Args:
        perceptual: distance of the last term. Anything but LPIPS is said in the warnings of every result.
        epsilon_255: Linf budget in grey levels; None is the official, unbounded form.
        steps: signed gradient steps.
        step_255: grey levels per step.
        start_255: half-width of the random start in grey levels.
        perceptual_weight: factor of the last term.
        mirror: add the mirror image to every feature; without it half the passes, and other results.
        blur_size, blur_sigma: of G, in pixels.

    Raises:
        ValueError: a parameter is out of range, or there is no random start: at the photo itself the unblurred term
            has no gradient.
    """

    name: ClassVar[str] = "lowkey"
    scope: ClassVar[Scope] = "image"
    paper: ClassVar[str] = (
        "Cherepanova et al., LowKey: Leveraging Adversarial Attacks to Protect Social Media Users from Facial "
        "Recognition, ICLR 2021"
    )
    official_settings: ClassVar[str] = (
        "4 networks of 152 layers, start 0.005, 50 steps of 0.0025, 0.05 LPIPS (AlexNet), blur 7 px sigma 3, no budget"
    )
    deviations: ClassVar[str] = (
        "aligned crops, so no warp; an embedded network's features where LPIPS cannot be had; projection if bounded"
    )
    needs = frozenset({Need.SURROGATES})

    def __init__(
        self,
        perceptual: PerceptualDistance,
        epsilon_255: float | None = None,
        *,
        steps: int = 50,
        step_255: float = 0.6375,
        start_255: float = 1.275,
        perceptual_weight: float = 0.05,
        mirror: bool = True,
        blur_size: int = 7,
        blur_sigma: float = 3.0,
    ) -> None:
        self.perceptual = perceptual
        self.epsilon_255 = None if epsilon_255 is None else grey_levels("epsilon_255", epsilon_255)
        self.steps = whole("steps", steps)
        self.step_255 = grey_step("step_255", step_255)
        self.start_255 = grey_step("start_255", start_255)  # at the photo itself the unblurred term has no gradient
        self.perceptual_weight = at_least("perceptual_weight", perceptual_weight)
        self.mirror = mirror
        self.blur_size = odd("blur_size", blur_size)
        self.blur_sigma = positive("blur_sigma", blur_sigma)
        self.budget = None if epsilon_255 is None else Budget("linf", epsilon_255)
        self.max_change_255 = start_255 + steps * step_255 if epsilon_255 is None else None

    def files_read(self, image_id: Sequence[str]) -> Mapping[str, str]:
        return {self.perceptual.name: self.perceptual.fingerprint()}

    def notes(self) -> tuple[str, ...]:
        return () if self.perceptual.is_lpips else (f"the perceptual term is {self.perceptual.name}, not LPIPS",)

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        images = batch.images
        streams = ItemStreams(batch.image_id, context.seed, self.name, device=context.device)
        start = self.start_255 / 255
        photos = self._project(images + streams.uniform(*images.shape[1:], low=-start, high=start), images)
        clean = self.clean(images, context)
        for _ in range(self.steps):
            leaf, gradient = photos.detach().requires_grad_(), torch.zeros_like(photos)
            for term in self.terms(leaf, clean, context):  # differentiated one by one: one graph is alive at a time
                gradient += torch.autograd.grad(term.sum(), leaf)[0]
            photos = self._project(photos + self.step_255 / 255 * gradient.sign(), images)
        return photos

    @torch.no_grad()
    def clean(self, images: Tensor, context: ProtectContext) -> Clean:
        """What photos are compared with, computed once."""
        return Clean(self.found(images, context), self.perceptual.load(context.device).to(images))

    def terms(self, photos: Tensor, clean: Clean, context: ProtectContext) -> Iterator[Tensor]:
        """Summands of the objective, ``[N]`` each: what surrogates lost (`losses`), then the perceptual one."""
        yield from self.losses(photos, clean.found, context)
        yield -self.perceptual_weight * clean.perceptual(photos)

    def found(self, images: Tensor, context: ProtectContext) -> Any:
        """Hook: what surrogates find in clean photos; here features ``[N, D]`` of each."""
        return tuple(self._features(model, images) for model in context.surrogates)

    def losses(self, photos: Tensor, found: Any, context: ProtectContext) -> Iterator[Tensor]:
        """Hook: summands ``[N]``, how far surrogates are from finding that; here of each the plain and the blurred."""
        scale = 1 / (2 * len(context.surrogates) * OFFICIAL_FEATURES)
        for model, goal in zip(context.surrogates, found, strict=True):
            yield scale * (self._features(model, photos) - goal).square().sum(dim=1)
            yield scale * (self._features(model, self.blur(photos)) - goal).square().sum(dim=1)

    def blur(self, photos: Tensor) -> Tensor:
        """G: a Gaussian blur with reflected borders."""
        from torchvision.transforms.functional import gaussian_blur  # torchvision takes longer to import than torch

        return gaussian_blur(photos, [self.blur_size] * 2, [self.blur_sigma] * 2)

    def _features(self, model: CountedNetwork, photos: Tensor) -> Tensor:
        if not self.mirror:
            return model.embed(photos)
        plain, mirrored = model.embed(torch.cat([photos, photos.flip(-1)])).chunk(2)
        return F.normalize(plain + mirrored, dim=1)

    def _project(self, photos: Tensor, images: Tensor) -> Tensor:
        if self.epsilon_255 is None:
            return photos
        return LinfBall.around(images, self.epsilon_255 / 255).project_(photos)
