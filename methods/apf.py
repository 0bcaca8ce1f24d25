"""APF: a gradient from the phone, made to transfer by a server that never sees the photo."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.core.ranges import grey_levels, grey_step, one_of, positive, whole
from cloakbench.datasets.base import FaceSet
from cloakbench.methods.base import Budget, CountedRecogniser, People, Protector, Scope, Workbench
from cloakbench.methods.parts.apf_enhancer import DRAWS, Enhancer, diversify
from cloakbench.methods.parts.item_rng import Streams
from cloakbench.methods.parts.objectives import input_gradient

log = logging.getLogger(__name__)


class APF(Protector):
    """Adversarial Privacy-preserving Filter: end-cloud collaboration in three stages.

    1. On the phone, `device_noise`: T signed steps on the small probe network away from another photo of the person,
       through random light, resizing and rotation.
    2. On the server, `Enhancer`: a U-Net turns that noise into one that transfers to a large recogniser; it is given
       the noise and nothing else.
    3. Still on the server, a universal perturbation, scaled and mixed by learnt numbers, is added, and the sum is
       clipped to the budget.

    The first surrogate is the probe network, the last one the server's recogniser; with one surrogate both are the
    same. The server trains on auxiliary people with at least two photos.

    Paper: Zhang et al., "Adversarial Privacy-preserving Filter", ACM MM 2020.
    Official settings (TensorFlow release): epsilon 8, step 2, T 10, no random start; MobileFaceNet on the phone, an
    ArcFace ResNet on the server; U-Net 64/128/256/512; Adam 1e-4, batch 100, 50 epochs of 100 000 MS1M photos; a
    universal perturbation of at most 12.75. The PyTorch release uses epsilon 16 and has no universal perturbation.
    Deviations: the noise of the training photos is computed once, not in every epoch; the U-Net works in units of the
    budget, so that its first outputs are not lost beside its biases; light changes by up to 5 grey levels, where the
    release takes off half the range by a slip of sign; the universal perturbation is one pass of signed steps on the
    server's recogniser, computed on the auxiliary faces, because the published file belongs to other faces; the last
    weights are kept, not those of the lowest LFW accuracy.

    Args:
        epsilon_255: Linf budget in grey levels.
        steps: gradient steps T on the phone.
        step_255: grey levels per step.
        anchor: ``reference``: away from the person's first reference photo; ``own``: away from the photo itself, which
            needs a random start.
        random_start: begin on the phone at uniform noise within the budget.
        width: channels of the U-Net's first block; 64 is official.
        universal_255: bound of the universal perturbation; 0 leaves the third stage out, as in the PyTorch release.
        epochs, batch, learning_rate: training of the server.
    """

    name: ClassVar[str] = "apf"
    scope: ClassVar[Scope] = "image"
    paper: ClassVar[str] = "Zhang et al., Adversarial Privacy-preserving Filter, ACM MM 2020"
    official_settings: ClassVar[str] = "epsilon 8, 10 steps of 2; U-Net on 100 000 photos, Adam 1e-4, 50 epochs"
    deviations: ClassVar[str] = "training noise computed once; U-Net in units of the budget; own universal perturbation"

    def __init__(
        self,
        epsilon_255: float = 8,
        *,
        steps: int = 10,
        step_255: float = 2,
        anchor: str = "reference",
        random_start: bool = False,
        width: int = 64,
        universal_255: float = 12.75,
        epochs: int = 10,
        batch: int = 50,
        learning_rate: float = 1e-4,
    ) -> None:
        if one_of("anchor", anchor, ("reference", "own")) == "own" and not random_start:
            raise ValueError("apf: anchor=own has no gradient at the photo itself; set random_start=true")
        self.epsilon_255 = grey_levels("epsilon_255", epsilon_255)
        self.steps, self.step_255 = whole("steps", steps), grey_step("step_255", step_255)
        self.anchor, self.random_start = anchor, random_start
        self.width, self.universal_255 = whole("width", width), grey_levels("universal_255", universal_255)
        self.epochs, self.batch = whole("epochs", epochs), whole("batch", batch)
        self.learning_rate = positive("learning_rate", learning_rate)
        self.budget = Budget("linf", epsilon_255)
        self.needs = frozenset({"surrogates", "auxiliary"}) | ({"references"} if anchor == "reference" else set())

    # Server, once ----------------------------------------------------------------------------------------------------

    def train(self, bench: Workbench) -> Mapping[str, Tensor]:
        """The server's weights, learnt on auxiliary faces: noise in, transferring noise out."""
        assert bench.auxiliary is not None
        first, second, names = _pairs(bench.auxiliary)
        first, second = first.to(bench.device), second.to(bench.device)
        probe, server = bench.surrogates[0], bench.surrogates[-1]
        with torch.no_grad():
            known, goal = probe.embed(second), server.embed(second)
        noise = self.device_noise(first, names, known, probe, bench)
        epsilon = self.epsilon_255 / 255
        enhancer = Enhancer.drawn(self.width, first.shape[1:], epsilon, bench.seed, self.name).to(bench.device)
        enhancer.get_buffer("universal").copy_(self._universal(first, goal, server))
        if epsilon:
            self._fit_enhancer(enhancer, first, noise, goal, server, bench)
        return enhancer.state_dict()

    def _fit_enhancer(
        self,
        enhancer: Enhancer,
        photos: Tensor,
        noise: Tensor,
        goal: Tensor,
        server: CountedRecogniser,
        bench: Workbench,
    ) -> None:
        optimiser = torch.optim.Adam(enhancer.parameters(), lr=self.learning_rate)
        for epoch in range(self.epochs):
            order = torch.randperm(len(photos), generator=generator(bench.seed, self.name, "epoch", epoch))
            distance = 0.0
            for rows in order.to(bench.device).split(self.batch):
                protected = (photos[rows] + enhancer(noise[rows])).clamp(0, 1)
                # The release minimises 10 less this distance, which has the same gradient.
                loss = -(server.embed(protected) - goal[rows]).square().sum(1).mean()
                distance = -float(loss.detach())
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            log.debug("apf: epoch %d, squared distance %.3f", epoch, distance)

    def _universal(self, photos: Tensor, goal: Tensor, server: CountedRecogniser) -> Tensor:
        """One pass of signed steps, a batch each, away from what the server's recogniser knows of the people."""
        bound = self.universal_255 / 255
        mask = torch.zeros_like(photos[:1])
        batches = range(0, len(photos), self.batch)
        for start in batches:
            rows = slice(start, start + self.batch)
            moved = (photos[rows] + mask).clamp(0, 1)
            gradient = input_gradient(moved, [server], lambda _, e, rows=rows: (e - goal[rows]).square().sum())
            mask = (mask + 2 * bound / len(batches) * gradient.mean(0, keepdim=True).sign()).clamp(-bound, bound)
        return mask

    # Phone, for each photo -------------------------------------------------------------------------------------------

    def device_noise(
        self, images: Tensor, names: Sequence[str], known: Tensor, probe: CountedRecogniser, bench: Workbench
    ) -> Tensor:
        """Image-specific noise ``[N, 3, H, W]`` within the budget: all that leaves the phone.

        Args:
            images: the photos, float ``[N, 3, H, W]``.
            names: N names, which seed the random changes of light, size and angle.
            known: embeddings ``[N, D]`` under ``probe`` of what to move away from.
            probe: the small network on the phone.
            bench: for seed and device.
        """
        epsilon, step = self.epsilon_255 / 255, self.step_255 / 255
        streams = Streams(names, bench.seed, self.name, device=bench.device)
        noise = torch.zeros_like(images)
        if self.random_start:
            noise = streams.uniform(*images.shape[1:], low=-epsilon, high=epsilon)
        away = _away_from(known)
        for _ in range(self.steps):
            draws = streams.uniform(DRAWS)
            photos = (images + noise).clamp_(0, 1)
            gradient = input_gradient(photos, [probe], away, lambda x, draws=draws: diversify(x, draws))
            noise = ((photos - step * gradient.sign()).clamp_(0, 1) - images).clamp_(-epsilon, epsilon)
        return noise

    def perturb(self, people: People, fitted: Any, bench: Workbench) -> Tensor:
        probe = bench.surrogates[0]
        with torch.no_grad():
            if self.anchor == "own":
                known = probe.embed(people.images)
            else:
                assert people.references is not None
                known = probe.embed(people.references[:, 0])[people.person]
        noise = self.device_noise(people.images, people.image_id, known, probe, bench)
        enhancer = Enhancer.of(bench.learnt, self.width, people.images.shape[1:], self.epsilon_255 / 255)
        return people.images + torch.cat([enhancer(part) for part in noise.split(self.batch)])


def _away_from(known: Tensor) -> Callable[[int, Tensor], Tensor]:
    return lambda _, embeddings: -(embeddings - known).square().sum()


def _pairs(faces: FaceSet) -> tuple[Tensor, Tensor, list[str]]:
    """Photos, for each another one of the same person (the next, the last one's next being the first), and names.

    Raises:
        ValueError: nobody has two photos.
    """
    rows_of: dict[str, list[int]] = {}
    for row, identity in enumerate(faces.identity):
        rows_of.setdefault(identity, []).append(row)
    pairs = [
        (row, rows[(place + 1) % len(rows)])
        for rows in rows_of.values()
        if len(rows) > 1
        for place, row in enumerate(rows)
    ]
    if not pairs:
        raise ValueError("apf: training needs auxiliary people with at least two photos each")
    left, right = torch.tensor(pairs).unbind(1)
    images = faces.images.float() / 255
    return images[left], images[right], [faces.image_id[row] for row in left.tolist()]
