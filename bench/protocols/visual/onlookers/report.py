"""Report of onlookers: whom they find, and how near to the originals the pictures are that they make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from cloakbench.bench.protocols.visual.index import NAME, Hidden, HiddenRow
from cloakbench.bench.protocols.visual.onlookers.found import FOUND, SEEN
from cloakbench.bench.report.estimate import Estimate, records
from cloakbench.bench.report.index import CellPlace, Measured, Place
from cloakbench.bench.report.metric import Metric
from cloakbench.bench.report.section import FigureSpec, Section
from cloakbench.bench.report.table import Cell, Column, Number, Row, Table, cell_marks, trials_text
from cloakbench.datasets.base import Role

_TITLES: dict[Role, str] = {"probe": "photos that no veil has seen", "reference": "photos that veils were made from"}
_FILES: dict[Role, str] = {"probe": "", "reference": "_seen"}
_CLOSING = (
    "Attackers know the method and its settings, and not the key. *Recogniser*: looks at the photo as it was "
    "published. *Edge histograms*, *contours*: fixed descriptions, no recogniser. *Difference of two*, *mean of many*, "
    "*known pairs*: the picture that they make is shown to the targets. *Fine-tuned on others*: learnt from so many "
    "veiled photos of each other person; held are photos of people whom it is not judged on. A method that shares "
    "nothing among a person's photos has rates here that say what such an attacker gets by chance, and who knows an "
    "original of a person knows the person: what *known pairs* open is told by SSIM and PSNR of the very photo."
)


class Watched:
    """What onlookers found in photos of a role.

    Args:
        measured: the run.
        hidden: its rows.
        role: of the photos.
    """

    def __init__(self, measured: Measured, hidden: Hidden, role: Role) -> None:
        self._measured, self.hidden, self._role = measured, hidden, role
        own = [cell for cell in measured.cells if cell.place.protocol == NAME]
        self._judges = {
            metric: measured.in_order(one.judge for one in own if one.place.metric == metric)
            for metric in {one.place.metric for one in own}
        }
        strength = {line["label"]: line["strength"] for line in records(measured.results.conditions)}
        self.held = {
            metric: sorted({one.place.condition for one in own if one.place.metric == metric}, key=strength.__getitem__)
            for metric in self._judges
        }
        self.numbers = {label: f"{held:g}" for label, held in strength.items() if held is not None}

    def judges(self, metric: Metric) -> Sequence[str]:
        """Who looked at what an onlooker made; itself where nobody else did."""
        return self._judges.get(metric.name, [])

    def cell(self, metric: Metric, condition: str, row: HiddenRow, judge: str) -> Estimate | None:
        """One cell; None where it was not planned."""
        place = Place(NAME, metric.name, condition)
        return self._measured.cells.get(CellPlace(place, row.run, row.surrogate, judge))

    def mean(self, metric: Metric, condition: str, row: HiddenRow) -> Estimate:
        """Over all judges but the surrogate itself; the value alone where there are none."""
        judges = self.judges(metric) or [""]
        known = [self.cell(metric, condition, row, judge) or Estimate() for judge in judges]
        wanted = [one for one in known if not one.white_box]
        return self._measured.mean(wanted, Place(NAME, metric.name, condition), row.run, row.surrogate)


def onlooker_sections(measured: Measured, metrics: Sequence[Metric], roles: Sequence[Role]) -> Iterator[Section]:
    """A section for the photos of each role, where somebody looked at them."""
    from cloakbench.bench.protocols.visual.onlookers.figures import onlooker_pictures  # brings matplotlib

    for number, role in enumerate(roles):
        hidden = Hidden(measured, role)
        watched = Watched(measured, hidden, role)
        ends = [(metric, metric.name.endswith("_seen")) for metric in metrics]
        own = [metric for metric, seen in ends if seen == (role == "reference") and metric.name in watched.held]
        found = [metric for metric in own if metric.name.startswith(f"{FOUND}_")]
        made = [metric for metric in own if metric.name.startswith(f"{SEEN}_")]
        if not found:
            continue
        tables = [_found_table(watched, found, role), *([_seen_table(watched, made, role)] if made else [])]
        figure = FigureSpec(
            f"visual_onlookers{_FILES[role]}",
            partial(onlooker_pictures, measured, number, len(roles)),
            "What attackers without a key make of published photos, with the SSIM of each picture to the original: "
            f"{_TITLES[role]}.",
        )
        yield Section(
            "Attackers without a key" + f": {_TITLES[role]}" * (len(roles) > 1 or number > 0),
            tuple(tables),
            (figure,) if made else (),
            linked=(_by_judge_table(watched, found, role),),
            shows=measured.places(NAME, {metric.name for metric in own}),
            closing=_CLOSING,
        )


def _found_table(watched: Watched, metrics: Sequence[Metric], role: Role) -> Table:
    """A line for each attacker and number of photos, a column for each method."""
    rows = []
    for metric in metrics:
        for condition in watched.held[metric.name]:
            known = [watched.mean(metric, condition, row) for row in watched.hidden.rows]
            cells: list[Cell] = [watched.numbers[condition], trials_text(one for one in known if one.ok)]
            rows.append(Row(_title(metric, "Found by "), (*cells, *map(Number.of, known))))
    return Table(
        name=f"visual_found{_FILES[role]}",
        title=f"People found without a key, {_TITLES[role]}",
        caption="Per cent of photos for which a clean photo of the person, which the attacker does not hold, comes "
        "before all distractors; the lower, the better the person is hidden. Pictures are looked at by the targets "
        "that are not the surrogate, and their mean is printed. In brackets the 95 % interval.",
        stub="Attacker",
        columns=(Column("photos_held", "Held"), Column("n", "n"), *_columns(watched, "percent")),
        rows=tuple(rows),
    )


def _seen_table(watched: Watched, metrics: Sequence[Metric], role: Role) -> Table:
    """The same of image metrics of the pictures."""
    rows = []
    for metric in metrics:
        for condition in watched.held[metric.name]:
            known = [watched.mean(metric, condition, row) for row in watched.hidden.rows]
            cells = [watched.numbers[condition], trials_text(one for one in known if one.ok)]
            numbers = [Number.of(one, metric.scale, metric.decimals) for one in known]
            rows.append(Row(_title(metric, "") + _unit(metric), (*cells, *numbers)))
    return Table(
        name=f"visual_pictures{_FILES[role]}",
        title=f"Pictures made without a key, {_TITLES[role]}",
        caption="The attacker's picture against the original photo: the less alike, the better the person is hidden. "
        "A picture that is equal to its original has no PSNR and is in no mean of it.",
        stub="Attacker",
        columns=(Column("photos_held", "Held"), Column("n", "n"), *_columns(watched, "value")),
        rows=tuple(rows),
    )


def _by_judge_table(watched: Watched, metrics: Sequence[Metric], role: Role) -> Table:
    """Every rate by who looked."""
    rows = []
    for metric in metrics:
        for condition in watched.held[metric.name]:
            for judge in watched.judges(metric):
                known = [watched.cell(metric, condition, row, judge) for row in watched.hidden.rows]
                told = trials_text(one for one in known if one is not None)
                cells = ["" if one is None else Number.of(one, marks=cell_marks(one)) for one in known]
                rows.append(Row(judge, (watched.numbers[condition], told, *cells), _title(metric, "Found by ")))
    return Table(
        name=f"visual_found_by_judge{_FILES[role]}",
        title=f"People found without a key, by who looked, {_TITLES[role]}",
        caption="Per cent, as in the table above.",
        stub="Judge",
        columns=(Column("photos_held", "Held"), Column("n", "n"), *_columns(watched, "percent")),
        rows=tuple(rows),
        section_key="attacker",
    )


def _columns(watched: Watched, unit: str) -> Iterator[Column]:
    for row in watched.hidden.rows:
        label, surrogate = watched.hidden.label(row), row.surrogate
        key = "_".join([row.run.method, *([f"{row.run.budget.number:g}"] if row.run.budget else []), surrogate])
        yield Column(f"{key.strip('_')}_{unit}", label, f"Surrogate: {surrogate}" if surrogate else "", "always")


def _title(metric: Metric, words: str) -> str:
    title = metric.title.removeprefix(words).removesuffix(", seen photos")
    return title[0].upper() + title[1:]


def _unit(metric: Metric) -> str:
    arrow = {True: " ↑", False: " ↓", None: ""}[metric.higher_protects]
    return arrow + (f" ({metric.unit})" if metric.unit else "")
