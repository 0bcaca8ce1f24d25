"""Fawkes as its users know it: the released tool, from version 1.0 on."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import grey_step
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.fawkes import Balance, Fawkes
from cloakbench.methods.parts.dssim import Borders
from cloakbench.methods.parts.linf import project_noise_
from cloakbench.methods.photo_batch import PhotoBatch

_LITTLE_GAIN, _MOST_DSSIM = 0.3, 0.015
"""What the tool takes for a failure, and for a cloak to be published all the same."""


class FawkesTool(Fawkes):
    """The released tool from version 1.0 on: away from the photo's own features, towards nobody.

    The gain is ``|f(x') - f(x)|^2``, summed over surrogates; its weight adapts to how close DSSIM is to the bound
    (`SawTooth`). No value changes by more than 15 grey levels. After the first step the cloak takes one signed step of
    0.01 more.

    Official settings (HEAD), as bound / Adadelta steps / rate: low 0.004 / 40 / 25 with one extractor, mid
    0.012 / 75 / 20 and high 0.017 / 150 / 15 with two; penalty 1e6 on the command line, 1e7 from Python.
    Deviations: extractors are the experiment's surrogates; after the extra step the optimiser keeps its state, which
    the tool loses; DSSIM keeps its bound with the windows of the tool and with one around every pixel; crops are not
    pasted back, and so not rescaled in contrast as the tool's are.

    None of these moves features further. Six photos of real people and one recogniser, mode mid, moved by 3.22 here
    (squared distance, mean; 3.15 to 3.32 over four seeds), and by 3.21 (3.05 to 3.39 over five) in a loop that keeps
    the tool's rules to the letter, its lost state and plain windows among them. The start decides: a search that
    saw-tooths about the bound keeps the best moment of each photo, and one photo moved by 1.0 with one seed and by 3.4
    or more with the others. With the penalty of 1e7 that the tool has from Python, that loop moved them by 1.97.

    Args:
        dssim_bound, penalty, steps, learning_rate, ssim_borders: see `Fawkes`; the optimiser is Adadelta.
        max_change_255: largest change of a value in grey levels.
        save_last_on_failed: as the tool does by default, publish the last iterate where the best moved features by less
            than 0.3 and the last one further, if its DSSIM is below 0.015, whatever the bound.
    """

    name: ClassVar[str] = "fawkes_tool"
    official_settings: ClassVar[str] = (
        "DSSIM/steps/rate: low 0.004/40/25, mid 0.012/75/20, high 0.017/150/15; penalty 1e6; change at most 15"
    )
    deviations: ClassVar[str] = "surrogates as extractors; optimiser state kept; DSSIM of the 8-bit photo"

    def __init__(
        self,
        dssim_bound: float,
        *,
        penalty: float = 1e6,
        steps: int,
        learning_rate: float,
        max_change_255: float = 15,
        ssim_borders: Borders = "both",
        save_last_on_failed: bool = False,
    ) -> None:
        super().__init__(dssim_bound, penalty, steps, learning_rate, ssim_borders)
        self.save_last_on_failed = save_last_on_failed
        self.max_change_255 = grey_step("max_change_255", max_change_255)
        self._change_bound = max_change_255 / 255

    @torch.no_grad()
    def fit(self, batch: PhotoBatch, context: ProtectContext) -> Any:
        """Features ``[N, D]`` to be left, per surrogate: the photos' own."""
        return [model.embed(batch.images) for model in context.surrogates]

    def gain(self, photos: Tensor, fitted: Any, context: ProtectContext) -> Tensor:
        distances = [
            (model.embed(photos) - own).square().sum(dim=1)
            for model, own in zip(context.surrogates, fitted, strict=True)
        ]
        return torch.stack(distances).sum(dim=0)

    def optimiser(self, cloak: Tensor) -> torch.optim.Optimizer:
        return torch.optim.Adadelta([cloak], lr=self.learning_rate, rho=0.95, eps=1e-7)  # Keras's defaults

    def limit(self, photos: Tensor, images: Tensor) -> Tensor:
        return images + project_noise_(photos - images, self._change_bound)

    def save_last(self, best: Tensor, gain: Tensor, dssim: Tensor) -> Tensor:
        if not self.save_last_on_failed:
            return super().save_last(best, gain, dssim)
        return (best < _LITTLE_GAIN) & (dssim < _MOST_DSSIM) & (gain > best)

    def balance(self, images: Tensor) -> Balance:
        return SawTooth(images, self.dssim_bound)

    def after_step(self, step: int, cloak: Tensor) -> None:
        if step == 0:
            assert cloak.grad is not None
            cloak.sub_(cloak.grad.sign(), alpha=0.01)


class SawTooth(Balance):
    """The tool's factor of the gain: doubled while DSSIM is well below the bound, halved well above.

    It starts at one and returns to one when the side changes, when DSSIM is within a tenth of the bound, and when it
    has gone past 129 or below 1/129: it saw-tooths between 1 and 256, as the tool's does.
    """

    def __init__(self, images: Tensor, bound: float) -> None:
        super().__init__(images)
        self._bound = bound
        self._side = torch.ones(len(images), device=images.device)

    def adapt(self, dssim: Tensor) -> None:
        below = (dssim <= 0.9 * self._bound) & (self.weight <= 129)
        above = (dssim >= 1.1 * self._bound) & (self.weight >= 1 / 129)
        doubled = torch.where(self._side == -1, 1.0, 2 * self.weight)
        halved = torch.where(self._side == 1, 1.0, self.weight / 2)
        self.weight = torch.where(below, doubled, torch.where(above, halved, 1.0))
        self._side = below.float() - above.float()
