"""Report of attribute privacy: tables by network, figures, checks, headline."""

from __future__ import annotations

from collections.abc import Iterable

from cloakbench.bench.protocols.attributes.index import NAME, Hiding, HidingRow
from cloakbench.bench.protocols.attributes.metrics import H_PN, MOSR
from cloakbench.bench.protocols.attributes.tables import (
    conditions_table,
    confidence_table,
    counts_table,
    each_table,
    naturalness_table,
    target_table,
    transfer_table,
    white_box_table,
)
from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import Measured, Run
from cloakbench.bench.report.labels import CLEAN, RANDOM_SIGN
from cloakbench.bench.report.section import Headline, HeadlineRow, Quantity, Section
from cloakbench.datasets.attribute_task import AttributeTask

CLEAN_CEILING = 0.1
"""Clean MOSR above this is suspicious: a network that misses every attribute of the photos themselves."""
_CAVEATS = (
    "Photos that a network misses anyway count as hidden: read each rate against the unprotected row.",
    "A wrong answer about a binary attribute is as good as a right one for somebody who knows that photos are hidden.",
)


def attribute_sections(measured: Measured, task: AttributeTask) -> Iterable[Section]:
    """One section."""
    from cloakbench.bench.protocols.attributes.figures import figure_specs  # brings matplotlib

    hiding = Hiding(measured)
    if not hiding.rows:
        return []
    tables = [
        white_box_table(hiding),
        naturalness_table(hiding),
        each_table(hiding, task),
        conditions_table(hiding),
        transfer_table(hiding),
        counts_table(hiding, task),
    ]
    linked = [target_table(hiding), confidence_table(hiding, task)]
    return [
        Section(
            "Attribute privacy",
            tuple(table for table in tables if table is not None),
            tuple(figure_specs(hiding, task)),
            linked=tuple(linked),
            shows=measured.places(NAME),
        )
    ]


def attribute_checks(measured: Measured, task: AttributeTask) -> list[str]:
    """Networks that miss clean photos, and methods that do no better than random signs on the network they attacked."""
    hiding, flags = Hiding(measured), []
    for run in hiding.runs:
        for target in hiding.targets:
            rate = hiding.by_target(MOSR, run, target)
            if rate is None or not rate.ok:
                continue
            if run.method == CLEAN and rate.value > CLEAN_CEILING:
                flags.append(
                    f"{target} misses every attribute of {100 * rate.value:.1f} % of the clean photos: check its mean, "
                    "std, channel order and crop"
                )
            control = Run(RANDOM_SIGN, run.budget)
            beside = hiding.by_target(MOSR, control, target) if control in hiding.runs else None
            if rate.white_box and beside is not None and beside.ok and rate.value <= beside.value:
                flags.append(
                    f"{hiding.label(run)} does not hide from the network that it attacked, {target}: MOSR "
                    f"{100 * rate.value:.1f} % is not above {100 * beside.value:.1f} % of random signs"
                )
    return flags


def attribute_headline(measured: Measured, task: AttributeTask) -> Headline | None:
    """MOSR on the networks that were attacked and elsewhere, and H-PN."""
    hiding = Hiding(measured)
    if not hiding.rows:
        return None
    own = Quantity("attributes_mosr", "MOSR")
    other = Quantity("attributes_black_box_mosr", "On other networks", needs_surrogate=True)
    both = Quantity("attributes_h_pn", "H-PN", is_rate=False, decimals=2, curve=False)
    attributes = ", ".join(task.names)

    def values(row: HidingRow) -> dict[Quantity, Estimate]:
        attacks = any(hiding.attacks(row, target) for target in hiding.targets)
        return {
            own: hiding.mean(MOSR, row, white_box=attacks),
            other: hiding.mean(MOSR, row, white_box=False) if attacks else Estimate(),
            both: hiding.mean(H_PN, row, white_box=attacks),
        }

    return Headline(
        f"attribute privacy, MOSR over {attributes}, %",
        f"on the attacked network, of others the mean of {len(hiding.targets)}; guesses score "
        f"{100 * hiding.chance:.1f}; in brackets the 95 % interval; – no value",
        f"MOSR over {attributes}, on the attacked network, or the mean of all",
        tuple(HeadlineRow(row.run, row.surrogate, values(row)) for row in hiding.rows),
        "MOSR, %",
        metric=MOSR,
        caveats=_CAVEATS,
    )
