"""Metrics of the remote protocol, and the columns of its records that each is a share of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cloakbench.bench.protocols.attributes.metrics import H_PN, H_PN_60, MOSR, MOSR_CHANGED, asr_name
from cloakbench.bench.protocols.remote.attribute_columns import CHANGED, EVERY
from cloakbench.bench.protocols.remote.found import RECOMMENDED
from cloakbench.bench.report.metric import Metric
from cloakbench.models.services import ATTRIBUTES, COMPARE, SEARCH

CALIBRATED = "calibrated_"
"""Before the label of a false accept rate: at a threshold that was calibrated here."""
_OF_FOUND = " in which a face was found"


@dataclass(frozen=True)
class Share:
    """A rate: events and trials as columns of the records.

    Attributes:
        metric: the rate.
        operation: whose answers it is of; empty for all.
        events, trials: columns.
        gap: why it cannot be had where there are answers and no trial.
    """

    metric: Metric
    operation: str
    events: str
    trials: str
    gap: str


def shares(
    operations: Sequence[str], fars: Sequence[str], ks: Sequence[int], attributes: Sequence[str]
) -> Iterator[Share]:
    """The rates of some operations.

    Args:
        operations: that are asked.
        fars: labels of false accept rates.
        ks: ranks.
        attributes: names of those of the task.
    """
    for lost, of in (("", ""), ("_found", _OF_FOUND)):
        if COMPARE in operations:
            for label in (*fars, RECOMMENDED):
                at, gap = _threshold_words(label)
                yield Share(
                    Metric(
                        f"remote_dodging_{label}{lost}",
                        f"Dodging at {at}{', faces found' if lost else ''}",
                        f"pairs (published photo, clean photo of the same person){of}",
                    ),
                    COMPARE,
                    f"dodged{lost}_{label}",
                    f"tried{lost}_{label}",
                    gap,
                )
        if SEARCH in operations:
            for k in ks:
                yield Share(
                    Metric(
                        f"remote_psr_top{k}{lost}",
                        f"PSR Top-{k}{', faces found' if lost else ''}",
                        f"searches{of} with a published photo",
                    ),
                    SEARCH,
                    f"escaped{lost}_top{k}",
                    f"tried{lost}_top{k}",
                    f"a search gives fewer than {k} faces beside the photo itself: protocols.remote.mates=references",
                )
        if ATTRIBUTES in operations:
            yield from _of_attributes(attributes, lost, of)
    yield Share(
        Metric("face_lost", "Face lost", "answers about a published photo", higher_protects=None),
        "",
        "lost",
        "looked",
        "no answer",
    )


def _threshold_words(label: str) -> tuple[str, str]:
    """What a threshold is called, and why there may be none."""
    if label == RECOMMENDED:
        return "the recommended threshold", "no answer has a threshold: the recommended threshold"
    rate = label.removeprefix(CALIBRATED).removeprefix("far_")
    if not label.startswith(CALIBRATED):
        return f"FAR {rate}", f"no answer has a threshold: FAR {rate}"
    gap = (
        "the service publishes thresholds of its own, or there are too few impostor pairs for this rate: "
        "protocols.remote.impostor_pairs"
    )
    return f"FAR {rate}, calibrated", gap


def _of_attributes(attributes: Sequence[str], lost: str, of: str) -> Iterator[Share]:
    unknown, photos = "no photo has both a label and a reading of", "photos with a label of"
    moved = "photos; read otherwise than the clean one in every attribute"
    rates = [
        (MOSR, "MOSR", EVERY, f"{photos} every attribute", f"{unknown} every attribute"),
        (MOSR_CHANGED, "MOSR, changed", CHANGED, moved, "no photo was read before and after"),
        *((asr_name(one), f"ASR {one}", one, f"{photos} {one}", f"{unknown} {one}") for one in attributes),
    ]
    for name, title, column, share_of, gap in rates:
        heading = f"{title}{', faces found' if lost else ''}"
        metric = Metric(f"{name}{lost}", heading, f"{share_of}{of}")
        yield Share(metric, ATTRIBUTES, f"wrong{lost}_{column}", f"judged{lost}_{column}", gap)


H_PN_METRICS = (
    Metric(H_PN, "H-PN", "photos; harmonic mean of MOSR and naturalness, (PSNR - 10) / 40 clipped", "mean", decimals=2),
    Metric(H_PN_60, "H-PN, PSNR/60", "photos; the same with PSNR / 60", "mean", decimals=2),
)
