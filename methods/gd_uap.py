"""GD-UAP: one mask for everybody, learnt without a photo from how strongly a network's layers answer to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, get_args

from torch import Tensor

from cloakbench.bench.core.ranges import grey_levels, grey_step, one_of, whole
from cloakbench.methods.base import Budget, Protector, Scope, Stage
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.gd_uap_training import EnergyMask, Prior
from cloakbench.methods.parts.norms import NormMatch
from cloakbench.methods.photo_batch import PhotoBatch


class GDUAP(Protector):
    """Generalisable data-free universal perturbation: the mask maximises ``sum_l log(0.5 |a_l(x_0 + mask)|^2)``.

    a_l is the output of layer l, x_0 plain grey. Adam works on values that are clipped to the bound before they meet
    the network. When more than half of them are at the bound and that share stands still, all are halved. At every
    check the mask is put on auxiliary faces; the one under which they are least like themselves is kept, and ten
    checks without a better one end the search. The faces choose among masks, and never enter the loss.

    Paper: Mopuri, Ganeshan and Babu, "Generalizable Data-free Objective for Crafting Universal Adversarial
    Perturbations", TPAMI 2019.
    Official settings (ImageNet classifiers, TensorFlow): bound 10, Adam 0.1 grey level, start U(-10, 10), a check every
    400 iterations or at a rescue more than 200 after the last, of the fooling rate on 1 000 photos; at most 40 000
    iterations, batch 25; layers chosen by hand for each network.
    Deviations: bound 8 as the other masks here; layers are all activations and residual blocks; checks take the mean
    cosine of auxiliary faces with and without the mask; at most 2 000 iterations; without data a batch would be 25
    times the same image, so it is one; the noise of ``with_range`` is not augmented.

    Args:
        epsilon_255: Linf bound in grey levels while the mask is learnt.
        prior: see `cloakbench.methods.parts.gd_uap_training.Prior`.
        iterations: at most.
        learning_rate_255: of Adam, in grey levels.
        batch: images per iteration where there is data or noise, and faces per pass of a check.
        check_every: iterations from one check to the next.
        validation_faces: auxiliary faces in a check, at most.
        match_norm: see `cloakbench.methods.parts.norms.NormMatch`.

    Facts: ``rounds``, iterations until the last check, and ``auxiliary_cosine`` of the mask kept.
    """

    name: ClassVar[str] = "gd_uap"
    scope: ClassVar[Scope] = "universal"
    paper: ClassVar[str] = (
        "Mopuri et al., Generalizable Data-free Objective for Crafting Universal Adversarial Perturbations, TPAMI 2019"
    )
    official_settings: ClassVar[str] = "bound 10, Adam 0.1 grey level, at most 40 000 iterations, batch 25 (ImageNet)"
    deviations: ClassVar[str] = (
        "all activations and residual blocks; checks by cosine of auxiliary faces; 2 000 iterations"
    )
    needs = frozenset({Need.SURROGATES, Need.AUXILIARY})

    def __init__(
        self,
        epsilon_255: float = 8,
        *,
        prior: Prior = "no_data",
        iterations: int = 2000,
        learning_rate_255: float = 0.1,
        batch: int = 25,
        check_every: int = 400,
        validation_faces: int = 1000,
        match_norm: Mapping[str, float | None] | None = None,
    ) -> None:
        self.epsilon_255 = grey_levels("epsilon_255", epsilon_255)
        self.prior: Prior = one_of("prior", prior, get_args(Prior))
        self.iterations, self.batch = whole("iterations", iterations), whole("batch", batch)
        self.learning_rate_255 = grey_step("learning_rate_255", learning_rate_255)
        self.check_every = whole("check_every", check_every)
        self.validation_faces = whole("validation_faces", validation_faces)
        self.training = EnergyMask(
            epsilon_255=self.epsilon_255,
            prior=self.prior,
            iterations=self.iterations,
            learning_rate_255=self.learning_rate_255,
            batch=self.batch,
            check_every=self.check_every,
            validation_faces=self.validation_faces,
        )
        self.match_norm, self.match = match_norm, NormMatch(match_norm)
        self.budget = self.match.budget(Budget("linf", epsilon_255))

    def stages(self) -> tuple[Stage, ...]:
        return (self.training,)

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        trained = context.trained[EnergyMask.name]
        context.facts.update(rounds=int(trained["steps"]), auxiliary_cosine=float(trained["cosine"]))
        return batch.images + self.match.scaled(trained["mask"])
