"""Checks of identification rates: numbers that usually mean that something is broken."""

from __future__ import annotations

from cloakbench.bench.protocols.identification.ranks import Ranks
from cloakbench.bench.protocols.identification.tables import flat_notes
from cloakbench.bench.report.index import Measured, Run, is_control
from cloakbench.bench.report.labels import CLEAN, RANDOM_SIGN, budget_name

WHITE_BOX_FLOOR = 0.9
"""White-box protection below this is suspicious: the method sees the very network it is tested on."""
CLEAN_CEILING = 0.1
"""Share of clean photos that a working recogniser may miss."""
_DISTANCE = "linf_255"
"""The image metric that tells whether a photo was changed at all; where it is there, it needs no guess from rates."""


def rate_checks(measured: Measured, ranks: Ranks) -> list[str]:
    """One sentence per suspicion; empty when there is none."""
    return [
        *_unchanged(measured, ranks.first),
        *_poor_recognisers(measured, ranks.first),
        *_weak_white_box(measured, ranks),
        *_control_above_clean(measured, ranks),
        *_saturated_columns(measured, ranks),
        *flat_notes(measured, ranks),
    ]


def _unchanged(measured: Measured, metric: str) -> list[str]:
    """Methods without a known distance that have the clean row's rates: they may return their input."""
    clean = Run(CLEAN, None)
    flags = []
    for run in measured.runs:
        if run.method == CLEAN or measured.quality(_DISTANCE, run).ok:
            continue
        pairs = [
            (measured.cell(metric, run, s, t), measured.cell(metric, clean, s, t))
            for s in measured.surrogates
            for t in measured.judges(metric)
        ]
        known = [(ours, theirs) for ours, theirs in pairs if ours.ok and theirs.ok]
        if known and all(ours.value == theirs.value for ours, theirs in known):
            flags.append(f"{measured.name(run)} scores exactly like the clean photo on every target")
    return flags


def _poor_recognisers(measured: Measured, metric: str) -> list[str]:
    """Targets that miss more than a tenth of the clean photos: most often a wrong pixel scale."""
    clean = Run(CLEAN, None)
    rates = {target: measured.cell(metric, clean, measured.surrogates[0], target) for target in measured.judges(metric)}
    return [
        f"{target} misses {100 * rate.value:.1f} % of the clean photos: check its mean, std, channel order and crop"
        for target, rate in rates.items()
        if rate.ok and rate.value > CLEAN_CEILING
    ]


def _weak_white_box(measured: Measured, ranks: Ranks) -> list[str]:
    """At the largest budget: below it, a weak attack may miss even its own surrogate."""
    flags = []
    for run in measured.runs_at(max(measured.budgets, default=None)):
        if is_control(run):
            continue
        for surrogate in measured.surrogates:
            rate = measured.white_box(ranks.first, run, surrogate)
            if rate.ok and rate.value < WHITE_BOX_FLOOR:
                flags.append(
                    f"{measured.name(run)}: white-box PSR Top-{ranks.ks[0]} on {surrogate} is only "
                    f"{100 * rate.value:.1f} %"
                )
    return flags


def _control_above_clean(measured: Measured, ranks: Ranks) -> list[str]:
    """The control's whole interval above the clean rate: plain noise of this size already protects."""
    metric = ranks.first
    flags = []
    for run in measured.runs:
        if run.method != RANDOM_SIGN:
            continue
        for target in measured.judges(metric):
            control = measured.cell(metric, run, measured.surrogates[0], target)
            clean = measured.cell(metric, Run(CLEAN, None), measured.surrogates[0], target)
            if control.ok and clean.ok and control.value > clean.value and control.low > clean.value:
                flags.append(
                    f"{measured.name(run)} protects from {target}: PSR Top-{ranks.ks[0]} {100 * control.value:.1f} % "
                    f"against {100 * clean.value:.1f} % for the clean photo"
                )
    return flags


def _saturated_columns(measured: Measured, ranks: Ranks) -> list[str]:
    """Targets on which all methods score 0 or all score 100, white-box cells apart: such a column ranks nothing."""
    flags = []
    for k, metric in ranks.pair.items():
        for epsilon in measured.budgets:
            runs = [run for run in measured.runs if run.epsilon_255 == epsilon and not is_control(run)]
            for target in measured.judges(metric):
                cells = [measured.cell(metric, run, s, target) for run in runs for s in measured.surrogates]
                values = {cell.value for cell in cells if cell.ok and not cell.white_box}
                if len(runs) > 1 and values in ({0.0}, {1.0}):
                    flags.append(
                        f"every method at {budget_name(epsilon)} has PSR Top-{k} {100 * values.pop():.0f} % on {target}"
                    )
    return flags
