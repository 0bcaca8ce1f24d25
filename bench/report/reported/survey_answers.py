"""Answers to questions of the survey's Tables I and II that follow from what every run keeps of a method.

Each begins with a word of the survey's own where a rule decides it, and says what it was decided by. Protocols answer
the other questions (`cloakbench.bench.report.section.Reporter.evidence`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from cloakbench.bench.core.status import OK
from cloakbench.bench.report.estimate import records, text
from cloakbench.bench.report.table import Row

WHOLE_IMAGE = "Whole image obfuscation"
"""The question that picture quality answers, where it is asked about pixels outside the face."""
REAL_TIME_PER_SECOND = 25
"""Photos a second of a video stream."""
RULES = (
    "Whole image: YES where at least half of the pixels outside the face changed by more than 2 grey levels. Real "
    f"time: YES where this machine protects {REAL_TIME_PER_SECOND} photos a second, what is learnt of people spread "
    "over their photos; rates are in the table of cost. Scalability, by network passes of a photo, of which people add "
    "none: High where nothing is optimised for a photo or a person, Moderate where gradients are taken for each, Low "
    "where hardware has to be bought. Hardware: YES where the method is a device."
)
_WORDS = ("YES", "NO", "High", "Moderate", "Low")


def by_class(method: Mapping[str, Any], costs: pd.DataFrame, key: str) -> dict[str, str]:
    """Answers about one method of a run by the heading of the column.

    Args:
        method: its line of `cloakbench.bench.report.results.Results.methods`.
        costs: `cloakbench.bench.report.results.Results.costs`.
        key: the method's.
    """
    hardware = bool(method.get("hardware", False))
    answers = {
        "Auxiliary data requirement": _yes("auxiliary" in str(method["needs"]).split(", ")),
        "Target-identity": _yes(method["targeted"]),
        "Person-specific": _yes(method["person_specific"]),
        "Hardware compatibility": "YES: published as a device, simulated here" if hardware else "NO",
    }
    lines = [line for line in records(costs) if line["method"] == key and line["status"] == OK and line["images"]]
    lines = [line for line in lines if not text(line.get("publication"))]
    if lines:
        seconds = max(float(line["seconds_per_image"]) for line in lines)
        answers["Real-time capability"] = _yes(seconds * REAL_TIME_PER_SECOND <= 1)
        answers["Scalability"] = _growth(lines, hardware)
    return answers


def agreement(rows: Sequence[Row]) -> str:
    """How many cells of ours say what the survey prints, of those where both are one of its words."""
    same = both = 0
    printed: Row | None = None
    for row in rows:
        if row.label == "survey":
            printed = row
        elif printed is not None:
            pairs = [(_word(one), _word(other)) for one, other in zip(printed.cells, row.cells, strict=True)]
            decided = [pair for pair in pairs if all(pair)]
            both, same = both + len(decided), same + sum(one == other for one, other in decided)
    return f"Of {both} cells that both sources decide, {same} agree." if both else ""


def _growth(lines: Iterable[Mapping[str, Any]], hardware: bool) -> str:
    """What a photo costs however many there are, and what is paid once."""
    line = max(lines, key=lambda one: float(one["backward_per_image"]))
    forward, backward = float(line["forward_per_image"]), float(line["backward_per_image"])
    verdict = "Low" if hardware else "Moderate" if backward else "High"
    once = int(line.get("training_passes") or 0)
    trained = f", {once} once" if once else ""
    return f"{verdict}: {forward:.1f} forward and {backward:.1f} backward passes a photo{trained}"


def _word(cell: object) -> str:
    said = str(cell).partition(":")[0].strip()
    return said if said in _WORDS else ""


def _yes(value: object) -> str:
    return "YES" if value else "NO"
