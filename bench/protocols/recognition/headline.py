"""`recognition_headline`: what the headlines of identification and verification share, and what to know of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloakbench.bench.protocols.quality.report import SSIM, SSIM_BESIDE
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.section import Headline, HeadlineRow, Quantity

_MEANS = "means over surrogates and targets, white-box left out of black-box"
RECOGNITION_CAVEATS = (
    "White-box rates say that the optimiser works. The black-box means say what protection may be expected.",
    "The networks of one run may share training data and renderer, which makes transfer look easier than it is.",
    "Rates hold for these faces, this gallery size and these networks, not for a commercial service.",
)
"""Of every protocol whose judges are recognisers."""


def recognition_headline(
    measured: Measured, title: str, black: Mapping[Quantity, str], white: Quantity, **fields: Any
) -> Headline:
    """Black-box means, the white-box mean of the first metric, and SSIM of every row.

    Args:
        measured: the run.
        title: of the headline.
        black: quantity to its metric.
        white: the quantity of the white-box mean.
        fields: further ones of the headline.
    """
    first = next(iter(black.values()))
    rows = [
        HeadlineRow(
            run,
            "",
            {
                **{quantity: measured.black_box(metric, run) for quantity, metric in black.items()},
                white: measured.white_box(first, run),
                SSIM_BESIDE: measured.quality(SSIM, run),
            },
        )
        for run in measured.runs
    ]
    caption = (
        f"means over {len(measured.surrogates)} surrogates and {len(measured.judges(first))} targets, white-box left "
        "out of black-box; in brackets the 95 % interval; – no value"
    )
    return Headline(title, caption, _MEANS, tuple(rows), metric=first, **fields)
