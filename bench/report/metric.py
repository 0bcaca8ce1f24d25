"""`Metric`: what a number of a protocol is called, how it is printed, and what more of it means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """A metric, declared once; reports read it.

    Attributes:
        name: in the ``metric`` column of the measurements.
        title: as a table heads it, without arrow and unit.
        denominator: what it is a share of, or what its mean is taken over.
        kind: a rate is a share in [0, 1] and printed in per cent, a mean has a unit of its own.
        unit: of a mean; printed in brackets where there is one.
        decimals: printed.
        higher_protects: whether more of it is better for the person protected; None where it says nothing about that.
    """

    name: str
    title: str
    denominator: str
    kind: Literal["rate", "mean"] = "rate"
    unit: str = ""
    decimals: int = 1
    higher_protects: bool | None = True

    @property
    def scale(self) -> float:
        """What a value is multiplied by when it is printed."""
        return 100.0 if self.kind == "rate" else 1.0

    @property
    def heading(self) -> str:
        """Title with the arrow towards protection, and the unit: ``SSIM ↑``, ``PSNR ↑ (dB)``."""
        arrow = {True: " ↑", False: " ↓", None: ""}[self.higher_protects]
        return f"{self.title}{arrow}" + (f" ({self.unit})" if self.unit else "")
