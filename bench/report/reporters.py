"""Reporters: who prints the numbers of a run, built from what the run itself says of its protocols."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd
from hydra.utils import get_class, instantiate

from cloakbench.bench.core.errors import cause_of
from cloakbench.bench.report.estimate import records
from cloakbench.bench.report.generic import default_section, generic_tables
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.labels import UNTRANSFORMED
from cloakbench.bench.report.results import Results
from cloakbench.bench.report.section import Headline, Reporter, Section
from cloakbench.bench.statistics.photo_trials import EventsAndTrials


def reporters(results: Results) -> tuple[Reporter, ...]:
    """One for each protocol, in the order of the experiment.

    A protocol that cannot be built here has its numbers in a table of the general kind, and a warning says so.
    """
    built: dict[str, Reporter] = {}
    for line in records(results.protocols):
        if line["name"] not in built:
            built[line["name"]] = _built(str(line["name"]), str(line["title"]), str(line["config"]))
    known = {*built, *results.protocols["label"]}
    strange = sorted({str(label) for label in results.measurements["protocol"]} - known)
    for number, label in enumerate(strange):
        built[label] = Plain(label, label.replace("_", " ").capitalize(), _OLD * (number == 0))
    return tuple(built.values())


def headlines(index: Measured, reporters: Iterable[Reporter]) -> dict[str, Headline]:
    """Protocol to its headline, in the order of the experiment; those that stand back behind others are left out."""
    found = {reporter.name: reporter.headline(index.seen_by(reporter.name)) for reporter in reporters}
    known = {name: headline for name, headline in found.items() if headline is not None and headline.rows}
    in_front = {index.is_foreign(name) for name, headline in known.items() if not headline.stands_back}
    return {
        name: headline
        for name, headline in known.items()
        if not (headline.stands_back and index.is_foreign(name) in in_front)
    }


def also_measured(index: Measured, reporters: Iterable[Reporter], sections: Iterable[Section]) -> Section | None:
    """What no section shows; None where everything is shown."""
    shown = {place for section in sections for place in section.shows}
    left = [place for place in sorted(index.places()) if place not in shown]
    if not left:
        return None
    labels = {reporter.name: [reporter.name] for reporter in reporters}
    titles: dict[str, str] = {}
    for line in records(index.results.protocols):
        labels.setdefault(line["name"], []).append(line["label"])
    for reporter in reporters:
        for label in labels[reporter.name]:
            titles.setdefault(label, f"{reporter.title}: also measured")
    plain = [place for place in left if place.condition == UNTRANSFORMED]
    others = [place for place in left if place.condition != UNTRANSFORMED]
    return Section(
        "Also measured",
        tuple(generic_tables(index, plain, titles, "also_")),
        linked=tuple(generic_tables(index, others, titles, "also_by_condition_")),
    )


@dataclass(frozen=True)
class Plain:
    """A reporter of a protocol that is not here: it knows the numbers and nothing of what they mean."""

    name: str
    title: str
    why: str
    rank_by: tuple[str, ...] = ()
    worst_of: tuple[str, ...] = ()

    def trials(self, records: pd.DataFrame) -> Mapping[str, EventsAndTrials]:
        return {}

    def sections(self, index: Measured) -> Iterable[Section]:
        return [default_section(index, self.name, self.title)]

    def checks(self, index: Measured) -> Iterable[str]:
        return [self.why] if self.why else []

    def headline(self, index: Measured) -> Headline | None:
        return None

    def evidence(self, index: Measured, method: str) -> Mapping[str, str]:
        return {}


_OLD = (
    "numbers stand in general tables only: the run was kept by a version that did not say how its protocols were set; "
    "run the experiment again"
)


_ASKED = ("trials", "sections", "checks", "headline", "evidence")


def _built(name: str, title: str, config: str) -> Reporter:
    """The protocol that a run was made with.

    A kept run may come from somebody else, so nothing but a reporter is built, and nothing inside its settings.
    """
    try:
        settings = json.loads(config)
        kind = get_class(str(settings["_target_"]))
        if not all(callable(getattr(kind, asked, None)) for asked in _ASKED):
            raise TypeError(f"{settings['_target_']} is no protocol")
        return instantiate({"_convert_": "none", **settings, "_recursive_": False})
    except Exception as problem:  # somebody's own class may raise anything, or be gone
        return Plain(name, title, f"{title}: numbers stand in general tables only: {cause_of(problem)}")


def self_checks(measured: Measured, reporters: Iterable[Reporter]) -> list[str]:
    """What looks wrong to the protocols of a run, a sentence each."""
    return [flag for reporter in reporters for flag in reporter.checks(measured.seen_by(reporter.name))]
