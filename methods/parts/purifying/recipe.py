"""`PurifierRecipe`: a purifier's network and the pairs of disturbed and clean photos that it learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from cloakbench.bench.core.ranges import SettingError, at_least, grey_levels, one_of, positive, whole
from cloakbench.models.purifiers.design import PurifierDesign

Distance = Literal["l1", "l2"]


@dataclass(frozen=True)
class Disturbances:
    """What happens to clean photos of a pair; which of the kinds that are not 0, is drawn for each photo and step.

    Attributes:
        uniform_255: half-width of uniform noise in grey levels; 0 for none.
        gaussian_255: largest deviation of Gaussian noise; 0 for none.
        attack_255: Linf budget of PGD against the attribute surrogates; 0 for none.
        attack_steps: its steps.

    Raises:
        SettingError: a value is out of range, or there is nothing that disturbs.
    """

    uniform_255: float = 8.0
    gaussian_255: float = 8.0
    attack_255: float = 8.0
    attack_steps: int = 5

    def __post_init__(self) -> None:
        for name in ("uniform_255", "gaussian_255", "attack_255"):
            grey_levels(name, getattr(self, name))
        whole("attack_steps", self.attack_steps)
        if not (self.uniform_255 or self.gaussian_255 or self.attack_255):
            raise SettingError("attack_255", 0, "above 0 where uniform_255 and gaussian_255 are 0")


@dataclass(frozen=True)
class PurifierRecipe:
    """How a purifier is made.

    Attributes:
        title: what tables call it.
        design: the network.
        steps: of Adam.
        batch: pairs of a step.
        learning_rate: of Adam.
        distance: what is minimised between a cleaned photo and the clean one: mean size or mean square.
        disturbances: of pairs that are made without a method.
        blur_px: largest deviation of a Gaussian blur of disturbed photos, drawn for each; 0 for none.

    Raises:
        SettingError: a value is out of range.
    """

    title: str
    design: PurifierDesign
    steps: int = 1250
    batch: int = 64
    learning_rate: float = 1e-3
    distance: Distance = "l1"
    disturbances: Disturbances = Disturbances()
    blur_px: float = 0.0

    def __post_init__(self) -> None:
        whole("steps", self.steps)
        whole("batch", self.batch, 2)
        positive("learning_rate", self.learning_rate)
        one_of("distance", self.distance, get_args(Distance))
        at_least("blur_px", self.blur_px)
