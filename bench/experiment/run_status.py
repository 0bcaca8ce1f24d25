"""`RunStatus`: what an experiment has in the store and what it still lacks, found by looking, not by remembering."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cloakbench.bench.core.status import OK
from cloakbench.bench.engine.jobs import CellJob, CleanJob, Job, ProtectJob, Question
from cloakbench.bench.engine.outside import AsksOutside
from cloakbench.bench.engine.protocol import Photos
from cloakbench.bench.engine.unit_state import cell_photos, chunk_photos, unit_state
from cloakbench.bench.experiment.experiment import Experiment
from cloakbench.bench.plan.condition import AS_PUBLISHED
from cloakbench.bench.plan.publication import CellPhotos, PlannedUnit, UnitState
from cloakbench.bench.store.errors import EntryGoneError

_REASONS = 3  # that a line names


@dataclass(frozen=True)
class RunStatus:
    """What became of every unit.

    Attributes:
        experiment: whose.
        states: unit key to what is stored of it.
    """

    experiment: Experiment
    states: Mapping[str, UnitState]

    def cells(self, publication: str) -> tuple[CellPhotos, ...]:
        """The photos of every cell of a publication."""
        found = self.experiment.publications[publication]
        return tuple(
            cell_photos(number, units, [self.states[one.unit.key] for one in units], found.faces)
            for number, units in enumerate(found.units)
        )

    def lost(self, units: Sequence[PlannedUnit]) -> int:
        """Photos of a cell that its method did not finish."""
        lost = 0
        for planned in units:
            about = self.states[planned.unit.key].about
            lost += sum(status != OK for status in about["status"]) if about else len(planned.unit.chunk.probes)
        return lost

    def reasons(self, units: Sequence[PlannedUnit]) -> str:
        """Why a cell's method raised, each reason once; empty where it did not."""
        failed = [self._reason(one) for one in units if not self.states[one.unit.key].about]
        return "; ".join(dict.fromkeys(failed))

    def photo_reasons(self, units: Sequence[PlannedUnit]) -> str:
        """Why a cell's method gave no photo for some, where it says so: the first three reasons."""
        return _some([reason for one in units for reason in self._photo_reasons(one)])

    def details(self) -> Iterator[str]:
        """What a programmer wants to know of each failure: cell, chunk, traceback."""
        for planned in self.experiment.units:
            unit, failure = planned.unit, self.states[planned.unit.key].failure
            if failure:
                yield f"{unit.cell.label}, chunk {unit.chunk.number}: {failure.get('details', '')}"

    def problems(self) -> list[str]:
        """One line per cell that lost photos."""
        lines = []
        for planned in self.experiment.units:
            unit, state = planned.unit, self.states[planned.unit.key]
            if not state.about:
                lines.append(f"{unit.cell.label}: {self._reason(planned)}")
            elif lost := sum(status != OK for status in state.about["status"]):
                why = _some(self._photo_reasons(planned))
                of = f"{lost} of {len(unit.chunk.probes)} photos of a chunk failed"
                lines.append(f"{unit.cell.label}: {of}{f': {why}' if why else ''}")
        return list(dict.fromkeys(lines))

    def _reason(self, planned: PlannedUnit) -> str:
        return self.states[planned.unit.key].failure.get("reason", "not finished")

    def _photo_reasons(self, planned: PlannedUnit) -> list[str]:
        return list(self.states[planned.unit.key].about.get("facts", {}).get("failed", {}).values())


def look_up(experiment: Experiment) -> RunStatus:
    """Look every unit up."""
    states = {one.unit.key: unit_state(experiment.store, one.unit.key) for one in experiment.units}
    return RunStatus(experiment, states)


def look_again(status: RunStatus, jobs: Collection[Job], unfinished: Collection[Hashable]) -> RunStatus:
    """The status after work: units that had no photos are looked up again.

    Args:
        status: before.
        jobs: the work.
        unfinished: names of those that ended in an error, so that anything of theirs may be missing.

    Raises:
        EntryGoneError: nothing is stored of a unit, or of an answer, whose job went through.
    """
    experiment = status.experiment
    states = {key: state if state.about else unit_state(experiment.store, key) for key, state in status.states.items()}
    for planned in experiment.units:
        if not states[planned.unit.key].is_settled and planned.unit.key not in unfinished:
            raise EntryGoneError(f"protected photos of {planned.unit.cell.label} are gone from {experiment.store.root}")
    found = RunStatus(experiment, states)
    if jobs and any(job.name not in unfinished for job in due_jobs(found)):
        raise EntryGoneError(f"results that were just stored are gone from {experiment.store.root}")
    return found


def count_jobs(experiment: Experiment) -> int:
    """All jobs of an experiment before scoring, done or not."""
    cells = sum(
        question.is_about(cell)
        for publication in experiment.publications.values()
        for question in experiment.questions(publication, whole_cells=True)
        for cell in publication.cells
    )
    units = sum(
        len(_lanes(experiment.questions(publication, whole_cells=False))) * sum(map(len, publication.units))
        for publication in experiment.publications.values()
    )
    return units + sum(1 for _ in _clean_jobs(experiment)) + cells


def due_jobs(status: RunStatus) -> list[Job]:
    """Jobs with anything missing from the store, clean photos first. Recorded failures are not due.

    Photos and answers are many: that they exist is enough here, and their content is checked when it is used.
    """
    experiment = status.experiment
    due: list[Job] = [job for job in _clean_jobs(experiment) if not _has(experiment, job.question, job.photos)]
    for publication in experiment.publications.values():
        questions = experiment.questions(publication, whole_cells=False)
        lanes = _lanes(questions)
        for units in publication.units:
            for planned in units:
                state = status.states[planned.unit.key]
                photos = chunk_photos(planned, state, publication.faces)
                for lane in lanes:
                    asked = tuple(one for one in questions if one.judge.lane == lane)
                    answered = state.about and all(_has(experiment, one, photos) for one in asked)
                    if not (state.failure or answered):
                        due.append(ProtectJob(planned, asked))
    for publication in experiment.publications.values():
        cells = status.cells(publication.name)
        for question in experiment.questions(publication, whole_cells=True):
            for number, units in enumerate(publication.units):
                if not question.is_about(publication.cells[number]):
                    continue
                job = CellJob(question, number, units)
                settled = all(status.states[one.unit.key].is_settled for one in units)
                failed = settled and cells[number].failure[0] != OK
                if not (failed or (settled and _has(experiment, question, cells[number]))):
                    due.append(job)
    return due


def _lanes(questions: Sequence[Question]) -> tuple[str, ...]:
    """Lanes of questions about the units of a publication; those without one go with the protecting."""
    return tuple(dict.fromkeys(["", *(one.judge.lane for one in questions)]))


def forget_failures(experiment: Experiment) -> None:
    """Make what failed due again."""
    for planned in experiment.units:
        experiment.store.remove("failures", planned.unit.key, ".json")
    status = look_up(experiment)
    for publication in experiment.publications.values():
        for question in experiment.questions(publication, whole_cells=True):
            for cell, photos in zip(publication.cells, status.cells(publication.name), strict=True):
                if photos.failure[0] == OK and question.is_about(cell):
                    experiment.store.remove("failures", _key(experiment, question, photos)[1], ".json")


def _clean_jobs(experiment: Experiment) -> Iterator[CleanJob]:
    seen: set[tuple[str, str]] = set()
    for asked in experiment.asked:
        if isinstance(asked.protocol, AsksOutside):
            continue
        for judge, _ in asked.judges:
            for chunks in experiment.clean_photos(asked, judge).values():
                for chunk in chunks:
                    question = Question(asked.key, judge, AS_PUBLISHED)
                    place = _key(experiment, question, chunk)
                    if place not in seen:
                        seen.add(place)
                        yield CleanJob(question, chunk)


def _key(experiment: Experiment, question: Question, photos: Photos) -> tuple[str, str]:
    """Kind and key of an answer."""
    protocol = experiment.protocol(question.protocol)
    return protocol.kind_of(question.judge), question.key(protocol, photos, experiment.spec)


def _has(experiment: Experiment, question: Question, photos: Photos) -> bool:
    kind, key = _key(experiment, question, photos)
    if isinstance(photos, CellPhotos):
        whole = experiment.store.is_whole(kind, key, ".safetensors")
        return whole or experiment.store.read_json("failures", key) is not None
    return experiment.store.has_tensors(kind, key)


def _some(reasons: Sequence[str]) -> str:
    """The first three of the distinct reasons, and how many more."""
    distinct = list(dict.fromkeys(reasons))
    more = f"; and {len(distinct) - _REASONS} more" if len(distinct) > _REASONS else ""
    return "; ".join(distinct[:_REASONS]) + more
