"""Metrics of `visual` by the role of the photos: rates of matching, means of hiding and of recovery."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from cloakbench.bench.protocols.quality.image_metric import ImageMetric
from cloakbench.bench.report.metric import Metric
from cloakbench.datasets.base import Role

MSR, MSR_WITH_SOURCE, MSR_ENROLLED = "msr_top1", "msr_with_source", "msr_enrolled"
HIDDEN, RECOVERED = "hidden", "recovered"
_MATES = "photos of people with another {} photo in the gallery"
_RATES = (
    Metric(MSR, "MSR", f"protected {_MATES.format('clean')}"),
    Metric(MSR_WITH_SOURCE, "MSR, source in the gallery", "protected photos"),
    Metric(MSR_ENROLLED, "MSR, enrolled", f"clean {_MATES.format('protected')}"),
)
_SUFFIXES: dict[Role, str] = {"probe": "", "reference": "_seen"}
_WORDS: dict[Role, str] = {"probe": "", "reference": ", seen photos"}


def of_role(name: str, role: Role) -> str:
    """Name of a metric over the photos of a role: those that a veil was made from have a name of their own."""
    return name + _SUFFIXES[role]


def value_name(part: str, metric: ImageMetric, view: str = "") -> str:
    """Column of the records, and name of the metric over photos that no veil has seen.

    Args:
        part: `HIDDEN` or `RECOVERED`.
        metric: the image metric.
        view: what was done to recovered photos; empty for nothing.
    """
    return f"{part}_{metric.described.name}" + (f"_{view}" if view else "")


def rates(roles: Iterable[Role]) -> Iterator[Metric]:
    """Rates of matching."""
    for role in roles:
        for rate in _RATES:
            yield over(rate, role)


def hidden_metric(metric: ImageMetric, role: Role) -> Metric:
    """Distance of published photos: what makes other methods look good gives a face away here."""
    described = metric.described
    hidden = replace(
        described,
        name=value_name(HIDDEN, metric),
        title=f"{described.title}, protected",
        higher_protects=not _is_better(described),
    )
    return over(hidden, role)


def recovered_metric(metric: ImageMetric, role: Role, view: str = "") -> Metric:
    """Distance of recovered photos."""
    described = metric.described
    told = replace(
        described,
        name=value_name(RECOVERED, metric, view),
        title=f"{described.title}, recovered" + (f", {view}" if view else ""),
        denominator="photos that were recovered, one pair (original, recovered) each",
        higher_protects=_is_better(described),
    )
    return over(told, role)


def _is_better(described: Metric) -> bool:
    """Whether more of it is more alike; distances in grey levels say nothing of their direction."""
    return bool(described.higher_protects)


def over(metric: Metric, role: Role) -> Metric:
    """A metric over the photos of a role."""
    return replace(metric, name=of_role(metric.name, role), title=metric.title + _WORDS[role])
