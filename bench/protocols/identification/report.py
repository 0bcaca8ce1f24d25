"""Report of identification: its tables and figures, its headline, and what the survey asks about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from cloakbench.bench.protocols.identification.checks import rate_checks
from cloakbench.bench.protocols.identification.ranks import Ranks
from cloakbench.bench.protocols.identification.tables import (
    identification_tables,
    matrix_tables,
    robustness_tables,
    worst_tables,
)
from cloakbench.bench.protocols.recognition.headline import RECOGNITION_CAVEATS, recognition_headline
from cloakbench.bench.report.decisions.tables import paired_tables
from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import Measured, is_control
from cloakbench.bench.report.labels import CLEAN, UNTRANSFORMED
from cloakbench.bench.report.section import FigureSpec, Headline, Quantity, Section
from cloakbench.bench.report.table import Number
from cloakbench.bench.report.tables_methods import LEAKAGE, OPEN_SET

if TYPE_CHECKING:
    from cloakbench.bench.report.drawing.plotting import Drawing

NAME = "identification"
_EVERY_PROBE = (
    "PSR counts every probe, also those that the target misses without any protection: read each rate against the "
    "clean row, or use the tables over probes recognised clean."
)


def identification_sections(measured: Measured, ks: Sequence[int], mates: str = "probes") -> Iterable[Section]:
    """Rates by target, what transfers where, and what is left after a transform."""
    # Here, as matplotlib takes a second, which a finished run that is only shown does not need.
    from cloakbench.bench.protocols.identification import figures
    from cloakbench.bench.protocols.identification.front import front_tables, psr_over_passes
    from cloakbench.bench.protocols.identification.heat_map import transfer_heat_map
    from cloakbench.bench.protocols.identification.trade_off import equal_ssim_tables, trade_off

    ranks = Ranks.of(measured, ks)
    compared, compared_by_surrogate = paired_tables(measured, NAME, ranks.described)

    def figure(name: str, draw: Callable[[Measured, Ranks], Drawing], caption: str) -> FigureSpec:
        return FigureSpec(name, partial(draw, measured, ranks), caption)

    yield Section(
        "Identification",
        (
            *identification_tables(measured, ranks, mates, given_clean=False),
            *compared,
            *equal_ssim_tables(measured, ranks),
            *front_tables(measured, ranks),
        ),
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
            figure(
                "trade_off",
                trade_off,
                "Protection over picture quality as the budget rises, with 95 % intervals: FaceCloak's Figure 5.",
            ),
            figure("psr_passes", psr_over_passes, "Protection from other networks over what it takes to compute."),
        ),
        linked=(*identification_tables(measured, ranks, mates, given_clean=True), *compared_by_surrogate),
        shows=measured.places(NAME, ranks.metrics, UNTRANSFORMED),
    )
    yield Section(
        "Transfer",
        tuple(matrix_tables(measured, ranks)),
        (figure("transfer", transfer_heat_map, "Which surrogate protects from which target."),),
    )
    yield _robustness_section(measured, ranks)


def _robustness_section(measured: Measured, ranks: Ranks) -> Section:
    from cloakbench.bench.protocols.identification.figures import robustness_dots
    from cloakbench.bench.protocols.identification.robustness_by_target import robustness_by_target

    return Section(
        "Robustness",
        (*worst_tables(measured), *robustness_tables(measured, ranks)),
        (
            FigureSpec(
                "robustness",
                partial(robustness_dots, measured, ranks),
                "Protection that is left after what may happen to a published photo.",
            ),
            FigureSpec(
                "robustness_by_target",
                partial(robustness_by_target, measured, ranks),
                "The same for each target, with 95 % intervals: FaceCloak's Figure 6.",
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
    return recognition_headline(
        measured,
        f"protection success rate ({ranks.rule.upper()}), %",
        black,
        white,
        axis="PSR, %",
        caveats=(_EVERY_PROBE, *RECOGNITION_CAVEATS),
    )


def identification_evidence(measured: Measured, ks: Sequence[int], method: str) -> Mapping[str, str]:
    """PSR among people whom no recogniser was trained on, at the method's largest budget: with protected photos
    searching, and, where that was measured, with unprotected photos that search protected ones."""
    runs = [run for run in measured.runs if run.method == method and not is_control(run)]
    if not runs:
        return {}
    largest, ranks = max(runs, key=lambda run: run.budget), Ranks.of(measured, ks)
    found = {}
    if (rate := measured.black_box(ranks.first, largest)).ok:
        found[OPEN_SET] = f"PSR {Number.of(rate).words()} % (n {rate.n})"
    if ranks.enrolled in measured.metrics and (rate := measured.black_box(ranks.enrolled, largest)).ok:
        clean = next((run for run in measured.runs if run.method == CLEAN), None)
        before = measured.black_box(ranks.enrolled, clean) if clean else Estimate()
        beside = f", {Number.of(before).words()} % where clean ones are" * before.ok
        found[LEAKAGE] = f"PSR {Number.of(rate).words()} % where protected photos are enrolled (n {rate.n}){beside}"
    return found
