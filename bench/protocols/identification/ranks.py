"""`Ranks`: the rule and the depths that a run's identification was measured at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.metric import Metric

SSIM = "ssim"
"""The image metric that rates are held against."""


@dataclass(frozen=True)
class Ranks:
    """What to headline.

    Attributes:
        rule: P2 (all mates in the gallery) when it was measured, else P1.
        ks: depths of the candidate list, ascending.
    """

    rule: str
    ks: tuple[int, ...]

    @classmethod
    def of(cls, measured: Measured, ks: Sequence[int]) -> Ranks:
        """The ranks of a run."""
        rule = "p2" if any(metric.startswith("psr_p2_") for metric in measured.metrics) else "p1"
        return cls(rule, tuple(ks))

    @property
    def first(self) -> str:
        """Metric of the smallest depth, which tables and figures with one rate show."""
        return self.metric(self.ks[0])

    @property
    def enrolled(self) -> str:
        """The same under the rule of enrolled photos."""
        return f"psr_enrolled_top{self.ks[0]}"

    @property
    def label(self) -> str:
        """The same, as printed: ``Top-1 (P2)``."""
        return f"Top-{self.ks[0]} ({self.rule.upper()})"

    @property
    def described(self) -> Metric:
        """The same, as a metric."""
        return Metric(self.first, f"PSR {self.label}", "")

    @property
    def pair(self) -> dict[int, str]:
        """The two smallest depths and their metrics, where there is room for two."""
        return {k: self.metric(k) for k in self.ks[:2]}

    @property
    def metrics(self) -> frozenset[str]:
        """Every metric of these depths, of all rules and denominators."""
        rules = [(rule, known) for rule in ("p1", "p2") for known in ("", "_given_clean")]
        return frozenset(f"psr_{rule}_top{k}{known}" for rule, known in (*rules, ("enrolled", "")) for k in self.ks)

    def metric(self, k: int) -> str:
        """Name of the metric of a depth."""
        return f"psr_{self.rule}_top{k}"
