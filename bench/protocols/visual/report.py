"""Report of `visual`: matching by target, hiding and recovery, after transforms; seen and unseen photos apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from cloakbench.bench.protocols.recognition.conditions import families_of
from cloakbench.bench.protocols.visual.index import NAME, Hidden, HiddenRow
from cloakbench.bench.protocols.visual.metrics import HIDDEN, MSR, MSR_ENROLLED, MSR_WITH_SOURCE, RECOVERED, of_role
from cloakbench.bench.protocols.visual.onlookers.report import onlooker_sections
from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.labels import CLEAN, UNTRANSFORMED
from cloakbench.bench.report.metric import Metric
from cloakbench.bench.report.section import FigureSpec, Headline, HeadlineRow, Quantity, Section
from cloakbench.bench.report.table import Cell, Column, Number, Row, Table, cell_marks, trials_text
from cloakbench.datasets.base import Role

CLEAN_FLOOR = 0.9
"""Clean MSR below this is suspicious: a target that misses the photos themselves."""
WHITE_BOX_FLOOR = 0.9
"""MSR on the very network that a method kept, below which it has not done its work."""
_TITLES: dict[Role, str] = {"probe": "photos that no veil has seen", "reference": "photos that veils were made from"}
_FILES: dict[Role, str] = {"probe": "", "reference": "_seen"}
_RULES = {
    MSR: "Protected photo against the person's other clean photos and the distractors: 100 - PSR P2 Top-1",
    MSR_WITH_SOURCE: "The same with the photo's own original in the gallery, which is trivial",
    MSR_ENROLLED: "Clean photo against the person's other protected photos and the distractors",
}
_SHORT = {MSR: "MSR", MSR_WITH_SOURCE: "with source", MSR_ENROLLED: "enrolled"}
_PARTS = {
    HIDDEN: (
        "Hiding",
        "Published against original photo: the less alike, the better hidden. Arrows point to where it is better for "
        "the owner.",
    ),
    RECOVERED: (
        "Recovery",
        "Recovered against original photo, from the published 8 bits and the stored key; methods that give no photo "
        "back have no row.",
    ),
}
_CAVEATS = (
    "A photo that shows nothing hides its person from machines, too: read SSIM and MSR of a row together.",
    "A similarity of pictures is not an answer of people: nobody was asked whom they see.",
    "Matching on the surrogate itself says that the optimiser works; the other targets say whom a photo still reaches.",
)


def visual_sections(measured: Measured, metrics: Sequence[Metric], roles: Sequence[Role]) -> Iterable[Section]:
    """A section for the photos of each role."""
    from cloakbench.bench.protocols.visual.charts import chart_specs  # all three bring matplotlib
    from cloakbench.bench.protocols.visual.figures import hidden_faces
    from cloakbench.bench.protocols.visual.front import hiding_front

    for number, role in enumerate(roles):
        hidden = Hidden(measured, role)
        names = {of_role(name, role) for name in _RULES}
        own = [metric for metric in metrics if metric.name in names or _is_value(metric, role)]
        if not hidden.rows:
            continue
        yield Section(
            "Hiding from eyes" + f": {_TITLES[role]}" * (len(roles) > 1 or number > 0),
            tuple(_tables(hidden, own, role)),
            (
                FigureSpec(
                    f"visual_faces{_FILES[role]}",
                    partial(hidden_faces, measured, number, len(roles)),
                    "Originals, what was published of them with its SSIM, and what comes back with its SSIM and PSNR: "
                    f"{_TITLES[role]}.",
                ),
                FigureSpec(
                    f"visual_front{_FILES[role]}",
                    partial(hiding_front, hidden),
                    f"Matching over what is left to see, {_TITLES[role]}: up and to the left is better. "
                    "The dashed front joins what no other row beats in both.",
                ),
                *chart_specs(measured, hidden, role, _FILES[role], _TITLES[role]),
            ),
            linked=tuple(_linked(measured, hidden, own, role)),
            shows=measured.places(NAME, {metric.name for metric in own}),
        )
    yield from onlooker_sections(measured, metrics, roles)


def _is_value(metric: Metric, role: Role) -> bool:
    return metric.name.startswith((f"{HIDDEN}_", f"{RECOVERED}_")) and metric.name.endswith("_seen") == (
        role == "reference"
    )


def _tables(hidden: Hidden, metrics: Sequence[Metric], role: Role) -> Iterator[Table]:
    if hidden.targets:
        yield _matching_table(hidden, role, (MSR,))
    for part in (HIDDEN, RECOVERED):
        if values := [metric for metric in metrics if metric.name.startswith(f"{part}_")]:
            yield from _value_tables(hidden, values, role, part)


def _linked(measured: Measured, hidden: Hidden, metrics: Sequence[Metric], role: Role) -> Iterator[Table]:
    if hidden.targets:
        yield _matching_table(hidden, role, (MSR, MSR_WITH_SOURCE, MSR_ENROLLED))
    yield from _transform_tables(measured, hidden, metrics, role)


def _matching_table(hidden: Hidden, role: Role, rules: Sequence[str]) -> Table:
    """Rates by target, one row for each method and surrogate."""
    several = len(rules) > 1
    columns = [Column("n", "n")]
    for target in hidden.targets:
        columns += [Column(f"{target}_{rule}_percent", _SHORT[rule], target, "csv") for rule in rules]
    columns += [Column(f"black_box_mean_{rule}_percent", _SHORT[rule], "Black-box mean", "always") for rule in rules]
    rows = []
    for row in hidden.rows:
        known = [hidden.cell(rule, row, target) for target in hidden.targets for rule in rules]
        numbers = [_rate(one) for one in known]
        means = [Number.of(hidden.mean(rule, row, white_box=False)) for rule in rules]
        told = trials_text(one for one in known if one is not None)
        rows.append(Row(hidden.label(row), (told, *numbers, *means), _block(row)))
    return Table(
        name="visual_rules" * several + "visual_msr" * (not several) + _FILES[role],
        title=f"Matching success rate (MSR), {_TITLES[role]}",
        caption="Per cent; the higher, the better the person is still recognised. "
        + " ".join(f"{_SHORT[rule]}: {_RULES[rule]}." for rule in rules),
        stub="Method",
        columns=tuple(columns),
        rows=tuple(rows),
        footnotes=("In brackets the 95 % interval; the CSV file has that of every cell.",),
        section_key="surrogate",
    )


def _value_tables(hidden: Hidden, metrics: Sequence[Metric], role: Role, part: str) -> Iterator[Table]:
    """Distances of published or of recovered photos from their originals; methods that give none back are left out."""
    title, caption = _PARTS[part]
    columns = [Column("n", "n"), *(Column(metric.name, _heading(metric), interval="csv") for metric in metrics)]
    rows = []
    for row in hidden.rows:
        known = [hidden.cell(metric.name.removesuffix(_FILES[role]), row) for metric in metrics]
        if any(known):
            cells = [_value(one, metric) for one, metric in zip(known, metrics, strict=True)]
            rows.append(Row(hidden.label(row), (trials_text(one for one in known if one), *cells), _block(row)))
    if rows:
        yield Table(
            name=f"visual_{part}{_FILES[role]}",
            title=f"{title}, {_TITLES[role]}",
            caption=caption,
            stub="Method",
            columns=tuple(columns),
            rows=tuple(rows),
            section_key="surrogate",
        )


def _transform_tables(measured: Measured, hidden: Hidden, metrics: Sequence[Metric], role: Role) -> Iterator[Table]:
    """MSR of targets that are not the surrogate, and each recovered metric, after what may happen to a photo."""
    met = [of_role(MSR, role)] if hidden.targets else []
    met += [metric.name for metric in metrics if metric.name.startswith(f"{RECOVERED}_")]
    families = families_of(measured, met[0]) if met else []
    keys = [(UNTRANSFORMED, "As published", "")]
    keys += [(key, tick, one.title) for one in families for key, tick in one.members if key != UNTRANSFORMED]
    if len(keys) == 1:
        return
    for white_box in (True, False):
        rows = [
            Row(
                hidden.label(row),
                tuple(Number.of(hidden.mean(MSR, row, white_box=white_box, condition=key)) for key, _, _ in keys),
                _block(row),
            )
            for row in hidden.rows
            if row.surrogate or not white_box
        ]
        kind = "white" if white_box else "black"
        if hidden.targets and rows:
            yield Table(
                name=f"visual_msr_{kind}_box_transforms{_FILES[role]}",
                title=f"MSR after a transform, {kind}-box mean, {_TITLES[role]}",
                caption="Per cent; the protected photo is changed before it is looked at.",
                stub="Method",
                columns=tuple(Column(f"{key}_percent", label, group, "csv") for key, label, group in keys),
                rows=tuple(rows),
                section_key="surrogate",
            )
    for metric in metrics:
        if metric.name.startswith(f"{RECOVERED}_"):
            name = metric.name.removesuffix(_FILES[role])
            rows = [
                Row(
                    hidden.label(row),
                    tuple(_value(hidden.cell(name, row, condition=key), metric) for key, _, _ in keys),
                    _block(row),
                )
                for row in hidden.rows
                if hidden.cell(name, row) is not None
            ]
            if rows:
                yield Table(
                    name=f"visual_{metric.name}_transforms",
                    title=f"{metric.heading}, after a transform",
                    caption="Recovered from the photo as the transform left it.",
                    stub="Method",
                    columns=tuple(Column(key, label, group, "csv") for key, label, group in keys),
                    rows=tuple(rows),
                    section_key="surrogate",
                )


def visual_checks(measured: Measured, roles: Sequence[Role]) -> list[str]:
    """Targets that miss clean photos, and methods that their own surrogate no longer recognises."""
    flags = []
    for role in roles:
        hidden = Hidden(measured, role)
        for row in hidden.rows:
            for target in hidden.targets:
                rate = hidden.cell(MSR, row, target)
                if rate is None or not rate.ok:
                    continue
                said = f"MSR on {target} is {100 * rate.value:.1f} % over {_TITLES[role]}"
                if row.run.method == CLEAN and rate.value < CLEAN_FLOOR:
                    flags.append(f"clean photos: {said}: check its mean, std, channel order and crop")
                if rate.white_box and rate.value < WHITE_BOX_FLOOR:
                    flags.append(f"{hidden.label(row)} is lost to its own surrogate: {said}")
    return flags


def visual_headline(measured: Measured, roles: Sequence[Role]) -> Headline | None:
    """SSIM of what is published, MSR on the surrogate and elsewhere, PSNR of what comes back; of unseen photos where
    there are some."""
    hidden = Hidden(measured, roles[0])
    if not hidden.rows:
        return None
    ssim = Quantity("visual_hidden_ssim", "SSIM, protected", is_rate=False, decimals=3, curve=False)
    white = Quantity("visual_white_box_msr", "White-box MSR", needs_surrogate=True)
    black = Quantity("visual_black_box_msr", "Black-box MSR")
    psnr = Quantity("visual_recovered_psnr", "PSNR, recovered", is_rate=False, decimals=1, curve=False)

    def values(row: HiddenRow) -> dict[Quantity, Estimate]:
        return {
            ssim: hidden.cell(f"{HIDDEN}_ssim", row) or Estimate(),
            white: hidden.mean(MSR, row, white_box=True) if row.surrogate else Estimate(),
            black: hidden.mean(MSR, row, white_box=False),
            psnr: hidden.cell(f"{RECOVERED}_psnr", row) or Estimate(),
        }

    return Headline(
        "hiding from eyes: SSIM with the original, and who is still matched, %",
        f"{_TITLES[roles[0]]}, mean over {len(hidden.targets)} targets; in brackets the 95 % interval; – no value",
        f"{_TITLES[roles[0]]}, means over targets",
        tuple(HeadlineRow(row.run, row.surrogate, values(row)) for row in hidden.rows),
        "MSR, %",
        metric=of_role(f"{HIDDEN}_ssim", roles[0]),
        caveats=_CAVEATS,
    )


def _block(row: HiddenRow) -> str:
    return f"Surrogate: {row.surrogate}" if row.surrogate else "No surrogate"


def _heading(metric: Metric) -> str:
    """A title without what the group above it says."""
    plain = metric.heading.replace(", protected", "").replace(", recovered", "").replace(", seen photos", "")
    return plain.strip()


def _rate(cell: Estimate | None) -> Cell:
    return "" if cell is None else Number.of(cell, marks=cell_marks(cell))


def _value(cell: Estimate | None, metric: Metric) -> Cell:
    """A mean; nothing where the method has none."""
    return "" if cell is None else Number.of(cell, metric.scale, metric.decimals, cell_marks(cell))
