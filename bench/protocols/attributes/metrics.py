"""Metrics of attribute privacy (Yang et al., Invisible-Face, TIFS 2025), declared once."""

from __future__ import annotations

from collections.abc import Iterator

from cloakbench.bench.report.metric import Metric
from cloakbench.datasets.attribute_task import AttributeTask

MOSR, MOSR_GIVEN_CLEAN, MOSR_CHANGED = "mosr", "mosr_given_clean", "mosr_changed"
H_PN, H_PN_60 = "h_pn", "h_pn_psnr60"


def first_name(count: int | str) -> str:
    """Name of the MOSR of the first attributes of the task."""
    return f"mosr_first_{count}"


def first_count(metric: str) -> int:
    """Of how many attributes a metric is the MOSR; 0 for other metrics."""
    number = metric.removeprefix(first_name("")) if metric.startswith(first_name("")) else ""
    return int(number) if number.isdigit() else 0


def asr_name(attribute: str) -> str:
    """Name of the rate of wrong answers to one attribute."""
    return f"asr_{attribute}"


def drop_name(attribute: str) -> str:
    """Name of the mean loss of confidence in the clean answer."""
    return f"confidence_drop_{attribute}"


def inversion_name(attribute: str) -> str:
    """Name of the mean nearness of a binary answer to a toss of a coin."""
    return f"inversion_proof_{attribute}"


def declared(task: AttributeTask, counts: tuple[int, ...]) -> Iterator[Metric]:
    """Every metric, in the order of the measurements.

    Args:
        task: what is asked.
        counts: of how many first attributes MOSR is measured, too.
    """
    photos = "photos with a label of every attribute"
    yield Metric(MOSR, "MOSR", photos)
    yield Metric(
        MOSR_GIVEN_CLEAN, "MOSR, known clean", f"{photos}, all of which the clean photo was answered rightly in"
    )
    yield Metric(MOSR_CHANGED, "MOSR, changed", "photos; answered otherwise than the clean one in every attribute")
    for count in counts:
        yield Metric(first_name(count), f"MOSR, first {count}", photos)
    for one in task.attributes:
        yield Metric(asr_name(one.name), f"ASR {one.name}", photos)
    yield _mean(H_PN, "H-PN", "photos; harmonic mean of MOSR and naturalness, (PSNR - 10) / 40 clipped", 2)
    yield _mean(H_PN_60, "H-PN, PSNR/60", "photos; the same with PSNR / 60", 2)
    for one in task.attributes:
        yield _mean(drop_name(one.name), f"Confidence drop {one.name}", "photos; probability of the clean answer", 3)
    for one in task.attributes:
        if len(one.classes) == 2:
            yield _mean(
                inversion_name(one.name), f"Inversion-proof {one.name}", "photos; 1 - |2 p - 1|, p of either class", 3
            )


def _mean(name: str, title: str, over: str, decimals: int) -> Metric:
    return Metric(name, title, over, "mean", decimals=decimals)
