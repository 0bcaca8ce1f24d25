"""Report of identification: its tables and figures, its headline, and what the survey asks about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from cloakbench.bench.protocols.identification.checks import rate_checks
from cloakbench.bench.protocols.identification.ranks import SSIM, Ranks
from cloakbench.bench.protocols.identification.tables import identification_tables, matrix_tables, robustness_tables
from cloakbench.bench.protocols.recognition.rate_tables import RECOGNITION_CAVEATS
from cloakbench.bench.report.decisions.tables import paired_tables
from cloakbench.bench.report.index import Measured, is_control
from cloakbench.bench.report.interval_text import with_interval
from cloakbench.bench.report.labels import UNTRANSFORMED
from cloakbench.bench.report.section import FigureSpec, Headline, HeadlineRow, Quantity, Section

if TYPE_CHECKING:
    from cloakbench.bench.report.plotting import Drawing

NAME = "identification"
MEANS = "means over surrogates and targets, white-box left out of black-box"
_EVERY_PROBE = (
    "PSR counts every probe, also those that the target misses without any protection: read each rate against the "
    "clean row, or use the tables over probes recognised clean."
)
OPEN_SET = "Open-set"
"""The survey's question, as its Table II heads it."""


def identification_sections(measured: Measured, ks: Sequence[int]) -> Iterable[Section]:
    """Rates by target, what transfers where, and what is left after a transform."""
    # Here, as matplotlib takes a second, which a finished run that is only shown does not need.
    from cloakbench.bench.protocols.identification import figures
    from cloakbench.bench.protocols.identification.heat_map import transfer_heat_map

    ranks = Ranks.of(measured, ks)
    compared, compared_by_surrogate = paired_tables(measured, ranks.described, "identification_compared")

    def figure(name: str, draw: Callable[[Measured, Ranks], Drawing], caption: str) -> FigureSpec:
        return FigureSpec(name, partial(draw, measured, ranks), caption)

    yield Section(
        "Identification",
        (*identification_tables(measured, ranks, given_clean=False), *compared),
        (
            figure(
                "psr_dots",
                figures.psr_dots,
                "Protection and picture quality of every method, with 95 % intervals: the survey's Figures 2 and 3.",
            ),
            figure(
                "psr_ssim",
                figures.psr_against_ssim,
                "Protection against picture quality: black-box mean PSR over SSIM with 95 % intervals. "
                "Up and to the right is better.",
            ),
            figure("budget", figures.budget_curves, "Protection over the perturbation budget."),
        ),
        linked=(*identification_tables(measured, ranks, given_clean=True), *compared_by_surrogate),
        shows=measured.places(NAME, ranks.metrics, UNTRANSFORMED),
    )
    yield Section(
        "Transfer",
        tuple(matrix_tables(measured, ranks)),
        (figure("transfer", transfer_heat_map, "Which surrogate protects from which target."),),
    )
    yield Section(
        "Robustness",
        tuple(robustness_tables(measured, ranks)),
        (
            figure(
                "robustness",
                figures.robustness_dots,
                "Protection that is left after what may happen to a published photo.",
            ),
        ),
        shows=measured.places(NAME, {ranks.first}),
    )


def identification_checks(measured: Measured, ks: Sequence[int]) -> list[str]:
    """One sentence per suspicion; empty when there is none."""
    return rate_checks(measured, Ranks.of(measured, ks))


def identification_headline(measured: Measured, ks: Sequence[int]) -> Headline | None:
    """Black-box means at the two smallest depths, white-box at the smallest, SSIM; None where nothing was measured."""
    ranks = Ranks.of(measured, ks)
    if ranks.first not in measured.metrics:
        return None
    black = {
        Quantity(f"black_box_top{k}", f"Black-box Top-{k}", curve=k == ks[0]): metric
        for k, metric in ranks.pair.items()
    }
    white = Quantity(f"white_box_top{ks[0]}", f"White-box Top-{ks[0]}", needs_surrogate=True, on_screen=False)
    ssim = Quantity(SSIM, "SSIM", is_rate=False, decimals=3, on_screen=False, curve=False)
    rows = [
        HeadlineRow(
            run,
            "",
            {
                **{quantity: measured.black_box_overall(metric, run) for quantity, metric in black.items()},
                white: measured.white_box_overall(ranks.first, run),
                ssim: measured.quality(SSIM, run),
            },
        )
        for run in measured.runs
    ]
    return Headline(
        f"protection success rate ({ranks.rule.upper()}), %",
        f"means over {len(measured.surrogates)} surrogates and {len(measured.judges(ranks.first))} targets, white-box "
        "left out of black-box; in brackets the 95 % interval; – no value",
        MEANS,
        tuple(rows),
        "PSR, %",
        metric=ranks.first,
        caveats=(_EVERY_PROBE, *RECOGNITION_CAVEATS),
    )


def identification_evidence(measured: Measured, ks: Sequence[int], method: str) -> Mapping[str, str]:
    """PSR among people whom no recogniser was trained on, at the method's largest budget."""
    runs = [run for run in measured.runs if run.method == method and not is_control(run)]
    if not runs:
        return {}
    rate = measured.black_box_overall(Ranks.of(measured, ks).first, max(runs, key=lambda run: run.budget))
    if not rate.ok:
        return {}
    words = with_interval(100 * rate.value, 100 * rate.low, 100 * rate.high)
    return {OPEN_SET: f"PSR {words} % (n {rate.n})"}
