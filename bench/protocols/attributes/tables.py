"""Tables of attribute privacy: Invisible-Face's Tables I and II in their shape, and those behind Figures 5 and 7."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from cloakbench.bench.protocols.attributes.index import Hiding, HidingRow
from cloakbench.bench.protocols.attributes.metrics import (
    H_PN,
    H_PN_60,
    MOSR,
    MOSR_CHANGED,
    MOSR_GIVEN_CLEAN,
    asr_name,
    drop_name,
    inversion_name,
)
from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import Run
from cloakbench.bench.report.table import Cell, Column, Number, Row, Table, cell_marks, trials_text
from cloakbench.datasets.attribute_task import AttributeTask

INTERVALS = "In brackets the 95 % interval over people; the CSV file has that of every cell."


def white_box_table(hiding: Hiding) -> Table:
    """MOSR by network, each attacked by the photos that it answers (Table I)."""
    columns = [Column("n", "n"), *(Column(f"{one}_percent", one, "", "csv") for one in hiding.targets)]
    columns.append(Column("mean_percent", "Mean", "", "always"))
    return Table(
        name="attributes_white_box",
        title="Multi-attribute obfuscation success rate (MOSR), by network",
        caption="Per cent of photos that are answered wrongly in every attribute; the higher, the better hidden. Each "
        "network judges the photos that were protected against it; methods that attack no attribute network are judged "
        f"by all. Guesses, each class as likely as any other, score {100 * hiding.chance:.1f}. What the unprotected "
        "row scores is error of the network.",
        stub="Method",
        columns=tuple(columns),
        rows=tuple(_by_run(hiding, lambda run: _mosr_cells(hiding, run))),
        footnotes=(INTERVALS,),
        section_key="block",
    )


def naturalness_table(hiding: Hiding) -> Table | None:
    """SSIM and PSNR by network (Table II), and H-PN; None where nobody asked for image metrics."""
    if not any(hiding.picture("ssim", row) for row in hiding.rows):
        return None
    kinds = (("ssim", "SSIM ↑", 3), ("psnr", "PSNR ↑ (dB)", 2))
    columns = [Column(f"{one}_{key}", one, label, "csv") for key, label, _ in kinds for one in hiding.targets]
    columns += [Column("h_pn", "H-PN ↑", "", "always"), Column("h_pn_psnr60", "H-PN, PSNR/60 ↑", "", "csv")]

    def cells(run: Run) -> Iterator[Cell]:
        for key, _, digits in kinds:
            for target in hiding.targets:
                yield _cell(hiding.picture_by_target(key, run, target), 1.0, digits)
        for metric in (H_PN, H_PN_60):
            yield Number.of(hiding.over_targets(metric, run), 1.0, 2)

    return Table(
        name="attributes_naturalness",
        title="Naturalness, by network",
        caption="Of the photos that were protected against the network of the column. H-PN: harmonic mean of MOSR and "
        "of naturalness, half SSIM and half PSNR, from 10 dB to 50 dB or over 60 dB; mean over networks.",
        stub="Method",
        columns=tuple(columns),
        rows=tuple(_by_run(hiding, lambda run: list(cells(run)))),
        footnotes=(INTERVALS, "Equal photos have no PSNR; in H-PN they count as 100 dB."),
        section_key="block",
    )


def each_table(hiding: Hiding, task: AttributeTask) -> Table:
    """MOSR in its three readings, and each attribute, mean over networks (Figure 5)."""
    metrics = [(MOSR, "MOSR"), (MOSR_GIVEN_CLEAN, "known clean"), (MOSR_CHANGED, "changed")]
    named = [(asr_name(one), one) for one in task.names]
    columns = [
        *(Column(f"{metric}_percent", label, "Every attribute", "csv") for metric, label in metrics),
        *(Column(f"{metric}_percent", label, "One attribute wrong", "csv") for metric, label in named),
    ]
    return Table(
        name="attributes_each",
        title="Each attribute, mean over networks",
        caption="Per cent, networks and photos as in the table of MOSR. Known clean: of photos whose clean version is "
        "answered rightly in every attribute. Changed: answered otherwise than the clean photo in every attribute.",
        stub="Method",
        columns=tuple(columns),
        rows=tuple(
            _by_run(
                hiding,
                lambda run: [Number.of(hiding.over_targets(metric, run)) for metric, _ in (*metrics, *named)],
            )
        ),
        section_key="block",
    )


def confidence_table(hiding: Hiding, task: AttributeTask) -> Table:
    """Confidence that is lost, and how sure binary answers are."""
    drops = [(drop_name(one), one, "Confidence drop ↑") for one in task.names]
    binary = [one.name for one in task.attributes if len(one.classes) == 2]
    sure = [(inversion_name(one), one, "Inversion-proof ↑") for one in binary]
    return Table(
        name="attributes_confidence",
        title="Confidence, mean over networks",
        caption="Confidence drop: what the probability of the clean answer loses. Inversion-proof: 1 - |2 p - 1| of "
        "binary attributes, 1 for a toss of a coin and 0 for a sure answer, which, if wrong, can be turned round.",
        stub="Method",
        columns=tuple(Column(metric, label, group, "csv") for metric, label, group in (*drops, *sure)),
        rows=tuple(
            _by_run(
                hiding,
                lambda run: [Number.of(hiding.over_targets(metric, run), 1.0, 3) for metric, _, _ in (*drops, *sure)],
            )
        ),
        section_key="block",
    )


def target_table(hiding: Hiding) -> Table:
    """MOSR of every surrogate by every network, and the black-box mean."""
    columns = [Column("n", "n"), *(Column(f"{one}_percent", one, "", "csv") for one in hiding.targets)]
    columns.append(Column("black_box_mean_percent", "Black-box mean", "", "always"))
    rows = []
    for row in hiding.rows:
        cells = [hiding.cell(MOSR, row, target) for target in hiding.targets]
        rows.append(
            Row(
                hiding.label(row.run),
                (
                    trials_text(cell for cell in cells if cell is not None),
                    *(_cell(cell) for cell in cells),
                    Number.of(hiding.mean(MOSR, row, white_box=False)),
                ),
                _section(row),
            )
        )
    return Table(
        name="attributes_mosr",
        title="MOSR by surrogate and network",
        caption="Per cent. Who was attacked stays out of the black-box mean.",
        stub="Method",
        columns=tuple(columns),
        rows=tuple(rows),
        footnotes=(INTERVALS,),
        section_key="surrogate",
    )


def transfer_table(hiding: Hiding) -> Table | None:
    """What is lost on the way to other networks, in points and relative (Figure 7); None without ordered pairs."""
    rows = []
    for name, runs in hiding.blocks(hiding.runs):
        for run in runs:
            before, after = (hiding.transfer(MOSR, run, white_box=white) for white in (True, False))
            if before.ok and after.ok:
                points = 100 * (before.value - after.value)
                relative = points / before.value if before.value else float("nan")
                rows.append(
                    Row(
                        hiding.label(run),
                        (Number.of(before), Number.of(after), Number(points), Number(relative)),
                        name,
                    )
                )
    if not rows:
        return None
    return Table(
        name="attributes_transfer",
        title="Transfer to other networks",
        caption="MOSR in per cent, mean over surrogates, and over all ordered pairs of a surrogate and another "
        "network. The paper's drop is in points or relative, it does not say which; both stand here.",
        stub="Method",
        columns=(
            Column("white_box_percent", "On the surrogate", "", "always"),
            Column("black_box_percent", "On others", "", "always"),
            Column("drop_points", "Points", "Drop"),
            Column("drop_percent", "Per cent of it", "Drop"),
        ),
        rows=tuple(rows),
        section_key="block",
    )


def counts_table(hiding: Hiding, task: AttributeTask) -> Table | None:
    """MOSR over the number of attributes (Figure 8); None where there was one number only."""
    if not hiding.counts:
        return None
    guesses = ["guesses", *(f"{100 * task.first(count).chance:.1f}" for count in hiding.counts)]
    return Table(
        name="attributes_counts",
        title="MOSR over the number of attributes",
        caption="Per cent, mean over networks; the first attributes of the task were attacked and judged: "
        + ", ".join(task.names)
        + ".",
        stub="Method",
        columns=tuple(Column(f"first_{count}_percent", str(count), "Attributes", "csv") for count in hiding.counts),
        rows=(
            *_by_run(hiding, lambda run: [Number.of(hiding.by_count(run, count)) for count in hiding.counts]),
            Row(guesses[0].capitalize(), tuple(guesses[1:]), "Chance"),
        ),
        section_key="block",
    )


def conditions_table(hiding: Hiding) -> Table | None:
    """MOSR after each transform (Tables VI, IX and X, with the controls); None where there is none."""
    conditions = hiding.conditions()
    if len(conditions) < 2:  # one is: as published
        return None
    return Table(
        name="attributes_after",
        title="MOSR after transforms, mean over networks",
        caption="Per cent, networks and photos as in the table of MOSR. What a transform adds to the unprotected row "
        "is error that it makes by itself.",
        stub="Method",
        columns=tuple(Column(f"{label}_percent", title, "", "always") for label, title in conditions.items()),
        rows=tuple(
            _by_run(hiding, lambda run: [Number.of(hiding.over_targets(MOSR, run, label)) for label in conditions])
        ),
        section_key="block",
    )


def _by_run(hiding: Hiding, cells: Callable[[Run], Sequence[Cell]]) -> Iterator[Row]:
    """A row for each method at a budget, in blocks of budgets."""
    for name, runs in hiding.blocks(hiding.runs):
        for run in runs:
            yield Row(hiding.label(run), tuple(cells(run)), name)


def _mosr_cells(hiding: Hiding, run: Run) -> list[Cell]:
    known = [hiding.by_target(MOSR, run, target) for target in hiding.targets]
    mean = hiding.over_targets(MOSR, run)
    return [trials_text(one for one in known if one is not None), *map(_cell, known), Number.of(mean)]


def _section(row: HidingRow) -> str:
    return f"Surrogate: {row.surrogate}" if row.surrogate else "No surrogate"


def _cell(estimate: Estimate | None, scale: float = 100.0, digits: int = 1) -> Cell:
    """A number; nothing where it was not planned."""
    return "" if estimate is None else Number.of(estimate, scale, digits, cell_marks(estimate))
