"""Report of picture quality: one table, the grid of faces, and whether photos were changed as told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.labels import CLEAN
from cloakbench.bench.report.metric import Metric
from cloakbench.bench.report.norms import Norms
from cloakbench.bench.report.reported.survey_answers import WHOLE_IMAGE
from cloakbench.bench.report.section import FigureSpec, Quantity, Section
from cloakbench.bench.report.table import BUDGET, Column, Number, Row, Table, cell_marks, trials_text

NAME = "quality"
SSIM = "ssim"
SSIM_BESIDE = Quantity(SSIM, "SSIM", is_rate=False, decimals=3, on_screen=False, curve=False)
"""Beside the rates of a headline."""
_LINF, _OUTSIDE = "linf_255", "changed_outside"
_HALF = 50.0
"""Per cent of the pixels outside the face, from which on the whole photo is changed."""
_ROUNDING_255 = {"linf": 0.51, "l2": 97.5}
"""Rounding to 8 bits moves a value by up to half a grey level: of a photo of 112 x 112 by up to 97 in L2."""


def quality_section(measured: Measured, metrics: Sequence[Metric], title: str) -> Section:
    """The table of the probes, and what they look like."""
    from cloakbench.bench.protocols.quality.faces import image_grid  # brings matplotlib
    from cloakbench.bench.protocols.quality.made_of import made_of

    table = quality_table(measured, metrics)
    faces = FigureSpec(
        "faces",
        partial(image_grid, measured),
        "Originals, protected photos, and their difference times ten about mid-grey, with SSIM, PSNR, and the mean "
        "cosine to photos of the person before recognisers that were not attacked.",
    )
    parts = FigureSpec(
        "made_of",
        partial(made_of, measured),
        "What masks are made of: what each method says of its mask, and the mask times ten about mid-grey.",
    )
    return Section(
        title,
        (table,) if table else (),
        (faces, parts),
        shows=measured.places(NAME, {metric.name for metric in metrics}),
    )


def quality_table(measured: Measured, metrics: Sequence[Metric]) -> Table | None:
    """Distance of the protected photo from the original, averaged over surrogates."""
    metrics = [metric for metric in metrics if metric.name in measured.metrics]
    if not metrics:
        return None
    rows, norms = [], Norms(measured)
    for run in measured.runs:
        estimates = [measured.quality(metric.name, run) for metric in metrics]
        numbers = [
            Number.of(one, metric.scale, metric.decimals, cell_marks(one))
            for metric, one in zip(metrics, estimates, strict=True)
        ]
        rows.append(Row(measured.title(run.method), (norms.ball(run), trials_text(estimates), *numbers)))
    return Table(
        name="quality",
        title="Picture quality",
        caption="Protected against original photo, as published (8 bits), mean over surrogates; n per surrogate.",
        stub="Method",
        columns=(
            BUDGET,
            Column("n", "n"),
            *(Column(metric.name, metric.heading, interval="csv") for metric in metrics),
        ),
        rows=tuple(rows),
        footnotes=("MS-SSIM uses a window of 7, the largest that its five scales allow at 112 pixels.",)
        * any(metric.name == "ms_ssim_w7" for metric in metrics),
    )


def quality_checks(measured: Measured) -> list[str]:
    """Methods that return their input, and methods that change more than they say."""
    unchanged, over, norms = [], [], Norms(measured)
    for run in measured.runs:
        distance = measured.quality(_LINF, run)
        if run.method != CLEAN and distance.ok and distance.value == 0:
            unchanged.append(f"{measured.name(run)} returns its input: no pixel differs")
        norm, size_255 = norms.ball_of(run)
        used = measured.quality(f"{norm}_255", run)
        if norm and used.ok and used.value > size_255 + _ROUNDING_255[norm]:
            title = norm.capitalize()
            over.append(f"{measured.name(run)} exceeds its budget: mean {title} is {used.value:.1f} grey levels")
    return [*unchanged, *over]


def quality_evidence(measured: Measured, method: str) -> Mapping[str, str]:
    """Whether a method changes what is outside the face, at its largest budget; nothing where that was not asked."""
    runs = [run for run in measured.runs if run.method == method]
    share = measured.quality(_OUTSIDE, max(runs, key=lambda run: run.budget)) if runs else Estimate()
    if not share.ok:
        return {}
    word = "YES" if share.value >= _HALF else "NO"
    return {WHOLE_IMAGE: f"{word}: {Number.of(share, 1.0).words()} % of the pixels outside the face (n {share.n})"}
