"""Tables of methods: their own class attributes, beside what the survey's Tables I and II print about them.

The survey answers its questions with YES, NO or "Not discussed". Where this run has evidence, the row below the printed
one holds that instead of an opinion: a rate, a time, or what the class needs to run at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain

from cloakbench.bench.report.estimate import text
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.labels import CONTROLS
from cloakbench.bench.report.reported.printed import load_survey_table
from cloakbench.bench.report.reported.survey_answers import RULES, WHOLE_IMAGE, agreement, by_class
from cloakbench.bench.report.reported.systems import foreign_systems
from cloakbench.bench.report.section import Reporter
from cloakbench.bench.report.table import Column, Row, Table, columns

SURVEY_ROWS = {
    "EM [11]": ("em",),
    "REM [12]": ("rem",),
    "OPOM [3]": ("opom",),
    "APF [14]": ("apf",),
    "Fawkes [15]": ("fawkes", "fawkes_tool"),
    "TIP-IM [5]": ("tip_im",),
    "Gender-AN [7]": ("gender_an",),
    "AMT-GAN [4]": ("amt_gan",),
    "DFPP [13]": ("dfpp",),
    "DeepBlur [6]": ("deepblur",),
    "Optics [9]": ("optics",),
    "Transferable [10]": ("bfr_resistant",),
}
"""Rows of the survey's Tables I and II to the ``name`` of each of our classes."""
OPEN_SET = "Open-set"
API = "API"
LEAKAGE = "Effective for out-of-distribution data leakage"
"""Questions that protocols answer, as the tables head them."""
_NOT_HERE = "no implementation here"
_NOT_RUN = "not in this run"
_NOBODY_ASKED = {
    OPEN_SET: "no identification judged it in this run",
    API: "no service was asked about it in this run",
    LEAKAGE: "photos of it were neither enrolled nor trained on in this run",
    WHOLE_IMAGE: "pixels outside the face were not compared in this run",
}


def methods_table(measured: Measured) -> Table | None:
    """Every method of the run and what its class says of it."""
    rows = []
    for key, line in measured.methods.items():
        needs = str(line["needs"]) or "nothing"
        goal = "none: a control" if key in CONTROLS else str(line["goal"])
        facts = (goal, str(line["scope"]), needs, _yes(line["targeted"]), _yes(line["trained"]))
        rows.append(Row(measured.title(key), (*facts, str(line["paper"]))))
    if not rows:
        return None
    return Table(
        name="methods",
        title="Methods",
        caption="From the class attributes: what each method aims at, what one perturbation covers, what it needs.",
        stub="Method",
        columns=columns(
            goal="Goal", scope="Scope", needs="Needs", targeted="Targeted", trained="Trained once", paper="Paper"
        ),
        rows=tuple(rows),
    )


def settings_table(measured: Measured) -> Table | None:
    """What papers or official code set, and where this project departs from it: one row for methods that share both."""
    sharing: dict[tuple[str, str], list[str]] = {}
    for key, line in measured.methods.items():
        said = (text(line.get("official_settings")), text(line.get("deviations")))
        sharing.setdefault(said, []).append(measured.title(key))
    rows = [Row(", ".join(titles), said) for said, titles in sharing.items() if any(said)]
    if not rows:
        return None
    return Table(
        name="methods_settings",
        title="Methods: as published, and as implemented here",
        caption="From the class attributes; grey levels of 255 where no unit is given.",
        stub="Method",
        columns=columns(official_settings="Paper or official code", deviations="Different here"),
        rows=tuple(rows),
    )


def survey_tables(measured: Measured, reporters: Iterable[Reporter]) -> list[Table]:
    """The survey's Tables I and II, each printed row over ours; none where none of their methods ran."""
    ours = _by_class(measured)
    if not ours.keys() & set(chain(*SURVEY_ROWS.values())):
        return []
    found: dict[str, dict[str, str]] = {key: {} for keys in ours.values() for key in keys}
    for reporter in reporters:
        index = measured.seen_by(reporter.name)
        for key, own in found.items():
            for column, words in reporter.evidence(index, key).items():
                own[column] = f"{own[column]}; {words}" if column in own else words
    return [_survey_table(number, measured, found, ours) for number in (1, 2)]


def _survey_table(
    number: int, measured: Measured, found: Mapping[str, Mapping[str, str]], ours: Mapping[str, list[str]]
) -> Table:
    questions, lines = load_survey_table(number)
    elsewhere = {system.survey: system.reason for system in foreign_systems().values() if system.survey}
    rows: list[Row] = []
    for line in lines:
        printed = line[questions[0]]
        rows.append(Row("survey", tuple(line[column] for column in questions[1:]), printed))
        variants = [key for name in SURVEY_ROWS.get(printed, ()) for key in ours.get(name, [])]
        if not variants:
            words = _NOT_RUN if printed in SURVEY_ROWS else elsewhere.get(printed, _NOT_HERE)
            rows.append(Row("here", (words,) * (len(questions) - 1), printed))
        for key in variants:
            answers = {**by_class(measured.methods[key], measured.results.costs, key), **found[key]}
            goal = str(measured.methods[key]["goal"])
            cells = tuple(answers.get(column) or _not_measured(column, goal) for column in questions[1:])
            rows.append(Row(f"here: {measured.title(key)}", cells, printed))
    kind = "image obfuscation" if number == 1 else "adversarial perturbation"
    return Table(
        name=f"survey_table{number}",
        title=f"Survey Table {'I' * number}: {kind}",
        caption="Cells as printed by the survey, and what this run says about the same question.",
        stub="Source",
        columns=tuple(Column(column.lower().replace(" ", "_").replace("-", "_"), column) for column in questions[1:]),
        rows=tuple(rows),
        footnotes=(
            "Open-set: black-box PSR Top-1 in an identification among people whom no recogniser was trained on. "
            "Out-of-distribution leakage: the same where an unprotected photo searches protected ones that are "
            "enrolled; and PSR after training from scratch where a share of the photos leaked unprotected, and without "
            "leakage. Person-specific: one perturbation covers all photos of a person.",
        )
        * (number == 2)
        + (RULES,) * (number == 1)
        + (_api_note(found), *filter(None, (agreement(rows),))),
        section_key="method",
    )


def _not_measured(question: str, goal: str) -> str:
    """Why a method of the run has no answer."""
    if goal == "poison training" and question in (OPEN_SET, API):
        return "not measured: it is for recognisers in training, and these are finished"
    return f"not measured: {_NOBODY_ASKED.get(question, 'what it costs was not kept')}"


def _api_note(found: Mapping[str, Mapping[str, str]]) -> str:
    """What stands in the column of services."""
    if not any(API in own for own in found.values()):
        return "API: no service was asked in this run."
    return (
        "API: rates by services that were asked over a network, at the largest budget; a high rate is protection. PSR "
        "by searches with protected photos; dodging by comparisons at the service's own threshold; MOSR by attributes."
    )


def _by_class(measured: Measured) -> dict[str, list[str]]:
    """Class name to the methods of this run that are made by it, in printed order."""
    found: dict[str, list[str]] = {}
    for key, line in measured.methods.items():
        found.setdefault(str(line["name"]), []).append(key)
    return found


def _yes(value: object) -> str:
    return "yes" if value else "no"
