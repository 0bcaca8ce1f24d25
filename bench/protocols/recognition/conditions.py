"""Families of conditions: what may happen to a published photo, from mild to strong along the axis of each kind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloakbench.bench.report.estimate import records, text
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.labels import UNTRANSFORMED


@dataclass(frozen=True)
class Family:
    """One kind of condition.

    Attributes:
        title: as a table heads it.
        axis: what the numbers mean.
        members: label and tick of each condition, the photo as it was published among them.
        is_ordered: whether they are strengths on an axis, and no kinds beside each other.
    """

    title: str
    axis: str
    members: tuple[tuple[str, str], ...]
    is_ordered: bool = True


def families_of(measured: Measured, metric: str) -> list[Family]:
    """Conditions under which a metric was measured, by family, in the order of the experiment.

    A list runs from mild to strong and starts at the photo as it was published. Where both ends of an axis are strong
    it runs from the smallest to the largest number, with the photo as it was published where it belongs: at 1 for
    factors, at 0 for signed shifts. A condition without a strength is a family of its own.
    """
    frame = measured.results.conditions
    met = {place.condition for place in measured.places(metrics={metric})}
    kinds: dict[str, list[dict[str, Any]]] = {}
    for line in records(frame.drop_duplicates(["family", "label"])):
        if line["family"] and line["label"] in met:
            kinds.setdefault(line["family"], []).append(line)
    return [_family(lines) for lines in kinds.values()]


def _family(lines: list[dict[str, Any]]) -> Family:
    first = lines[0]
    title, axis = text(first["title"]), text(first["axis"])
    plain = (UNTRANSFORMED, "none")
    if any(math.isnan(_strength(line)) for line in lines):
        kinds = ((line["label"], line["label"].replace("_", " ")) for line in lines)
        return Family(title, axis, (plain, *kinds), is_ordered=False)
    ordered = sorted((_strength(line), line["label"]) for line in lines)
    members = [(label, f"{strength:g}") for strength, label in ordered]
    if first["order"] == "two_sided":
        neutral = 1.0 if all(0 < strength < 4 for strength, _ in ordered) else 0.0
        below = sum(strength < neutral for strength, _ in ordered)
        return Family(title, axis, (*members[:below], plain, *members[below:]))
    return Family(title, axis, (plain, *(members[::-1] if first["order"] == "down" else members)))


def _strength(line: Mapping[str, Any]) -> float:
    return math.nan if line["strength"] is None else float(line["strength"])
