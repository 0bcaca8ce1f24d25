"""Report of verification: dodging and impersonation by target, the thresholds, the headline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from cloakbench.bench.protocols.recognition.headline import RECOGNITION_CAVEATS, recognition_headline
from cloakbench.bench.protocols.recognition.rate_tables import Spread, by_budget
from cloakbench.bench.report.decisions.tables import paired_tables
from cloakbench.bench.report.estimate import count_text, records
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.labels import UNTRANSFORMED
from cloakbench.bench.report.metric import Metric
from cloakbench.bench.report.results import Results
from cloakbench.bench.report.section import Headline, Quantity, Section
from cloakbench.bench.report.table import Column, Number, Row, Table

NAME = "verification"
_MEANINGS = {
    "dodging": "share of genuine pairs (protected, clean) that the target rejects",
    "impersonation": "share of protected photos that the target accepts as the chosen other person",
    "impersonation_legacy": "the same at thresholds that earlier papers share, a gap where the target has none",
}


def verification_section(measured: Measured, fars: Sequence[str], title: str) -> Section:
    """Rates at every false accept rate, and the thresholds they were taken at.

    Args:
        measured: the run.
        fars: false accept rates as metrics name them, such as ``1e-2``.
        title: of the section.
    """
    thresholds = thresholds_table(measured.results)
    dodging = Metric(f"dodging_far_{fars[-1]}", f"Dodging at FAR {fars[-1]}", "")
    compared, compared_by_surrogate = paired_tables(measured, NAME, dodging)
    metrics = {f"{kind}_far_{far}{known}" for kind in _MEANINGS for far in fars for known in ("", "_given_clean")}
    return Section(
        title,
        (*verification_tables(measured, fars, given_clean=False), *compared, *([thresholds] if thresholds else [])),
        linked=(*verification_tables(measured, fars, given_clean=True), *compared_by_surrogate),
        shows=measured.places(NAME, metrics, UNTRANSFORMED),
    )


def verification_tables(measured: Measured, fars: Sequence[str], *, given_clean: bool) -> list[Table]:
    """Dodging and impersonation rates by target, a table for each and every budget."""
    suffix = "_given_clean" * given_clean
    spreads = [
        Spread(
            protocol=NAME,
            name=f"verification_{kind}{suffix}",
            title=f"{kind.capitalize().replace('_', ', ')} rate" + " (pairs accepted clean)" * given_clean,
            caption=f"Per cent: {meaning}, at false accept rates {', '.join(fars)}.",
            metrics=tuple(f"{kind}_far_{far}{suffix}" for far in fars),
            labels=tuple(f"FAR {far}" for far in fars),
        )
        for kind, meaning in _MEANINGS.items()
    ]
    return by_budget(measured, spreads)


def verification_headline(measured: Measured, fars: Sequence[str]) -> Headline | None:
    """Dodging at the smallest false accept rate and SSIM, impersonation where nobody has two photos; else None."""
    far = fars[-1]
    for kind in ("dodging", "impersonation"):
        metric = f"{kind}_far_{far}"
        if any(measured.black_box(metric, run).ok for run in measured.runs):
            return recognition_headline(
                measured,
                f"{kind}, %",
                {Quantity(metric, f"{kind.capitalize()}, FAR {far}"): metric},
                Quantity(f"white_box_{metric}", f"White-box {kind}", needs_surrogate=True, on_screen=False),
                stands_back=True,
                caveats=RECOGNITION_CAVEATS,
            )
    return None


def thresholds_table(results: Results) -> Table | None:
    """The cosine thresholds of the verification tables, how well they are known, and the ones that papers copied."""
    frame = results.thresholds
    if frame.empty:
        return None
    has_legacy = "legacy" in frame and bool(frame["legacy"].notna().any())
    used = ", ".join(sorted(set(frame["used"]))) if "used" in frame else "calibrated"
    rows = [
        Row(
            str(line["far"]) if isinstance(line["far"], str) else f"{line['far']:g}",
            (
                Number(line["threshold"], line["low"], line["high"], 3),
                count_text(line["n_pairs"]),
                count_text(line["n_identities"]),
                *(_legacy_cells(line) if has_legacy else ()),
            ),
            str(line["judge"]),
        )
        for line in records(frame)
    ]
    legacy_columns = (
        Column("legacy_threshold", "Legacy threshold"),
        Column("legacy_far", "Real FAR of legacy", interval="always"),
    )
    return Table(
        name="thresholds",
        title="Verification thresholds",
        caption="Cosine similarity above which a pair is accepted, calibrated on impostor pairs of each target. "
        f"The verification tables use the {used} ones.",
        stub="FAR",
        columns=(
            Column("threshold", "Threshold", interval="always"),
            Column("n_pairs", "Impostor pairs"),
            Column("n_identities", "Identities"),
            *(legacy_columns if has_legacy else ()),
        ),
        rows=tuple(rows),
        footnotes=(
            "Legacy: constants that earlier papers share, measured once on LFW; beside each, the share of these "
            "impostor pairs that it accepts.",
        )
        * has_legacy,
        section_key="judge",
    )


def _legacy_cells(line: dict[str, Any]) -> tuple[Number | str, Number | str]:
    """The copied constant and its real rate; nothing where the target's card has none."""
    if pd.isna(line["legacy"]):
        return "", ""
    return Number(line["legacy"], digits=3), Number(
        line["legacy_far"], line["legacy_far_low"], line["legacy_far_high"], 4
    )
