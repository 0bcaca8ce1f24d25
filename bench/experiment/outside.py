"""Judges outside this machine: what is due of their answers, and asking for it from the process of the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from cloakbench.bench.engine.outside import AsksOutside, DueAnswer
from cloakbench.bench.engine.protocol import Judge
from cloakbench.bench.engine.worker import Worker
from cloakbench.bench.experiment.experiment import Asked, Experiment
from cloakbench.bench.experiment.run_status import RunStatus
from cloakbench.bench.plan.condition import AS_PUBLISHED
from cloakbench.bench.processes.progress import track


def check_outside(status: RunStatus) -> None:
    """Look whether judges outside may be asked about what is due, as far as it can be told before anything is done.

    Raises:
        ConfigError: one may not.
    """
    for protocol, photos in _photos_due(status):
        protocol.may_ask(status.experiment.planning, photos)


def would_ask(status: RunStatus) -> list[str]:
    """Which judges outside a run would ask about what is due, and how much at most: a clause for each."""
    planning = status.experiment.planning
    return [told for protocol, photos in _photos_due(status) for told in protocol.would_ask(planning, photos)]


def ask_outside(status: RunStatus) -> list[str]:
    """Ask for what is due and store it; a line for each thing that went wrong."""
    experiment, problems = status.experiment, []
    for asked, protocol in _asking(experiment):
        if not (due := list(_due(status, asked))):
            continue
        with track(f"asking: {asked.protocol.title.lower()}", len(due)) as tracker:
            for one, answer in protocol.ask(experiment.planning, due, Worker(experiment.spec)):
                tracker.advance(one.judge.name)
                if isinstance(answer, str):
                    problems.append(answer)
                    continue
                kind = asked.protocol.kind_of(one.judge)
                inputs = asked.protocol.answer_inputs(one.judge, one.condition, one.photos, experiment.spec)
                experiment.store.write_tensors(kind, one.key, answer.tensors, inputs, dict(answer.note) or None)
    return list(dict.fromkeys(problems))


def _asking(experiment: Experiment) -> Iterator[tuple[Asked, AsksOutside]]:
    for asked in experiment.asked:
        if isinstance(asked.protocol, AsksOutside):
            yield asked, asked.protocol


def _photos_due(status: RunStatus) -> Iterator[tuple[AsksOutside, Counter[Judge]]]:
    """Protocols whose judges have something to be asked about, and about how many photos at most."""
    for asked, protocol in _asking(status.experiment):
        photos: Counter[Judge] = Counter()
        for one in _due(status, asked):
            photos[one.judge] += len(one.photos.rows)
        for judge, publication in ((judge, asked.publication) for judge, _ in asked.judges):
            for units in publication.units:
                unmade = [one for one in units if not status.states[one.unit.key].is_settled]
                photos[judge] += sum(len(one.unit.chunk.probes) for one in unmade)
        if photos.total():
            yield protocol, +photos


def _due(status: RunStatus, asked: Asked) -> Iterator[DueAnswer]:
    """Answers about stored photos that are not in the store, clean photos first."""
    experiment, seen = status.experiment, set[str]()
    cells = status.cells(asked.publication.name)
    for judge, conditions in asked.judges:
        clean = [chunk for chunks in experiment.clean_photos(asked, judge).values() for chunk in chunks]
        wanted = [(AS_PUBLISHED, chunk) for chunk in clean]
        wanted += [(one, chunk) for one in conditions for cell in cells for chunk in cell.chunks if chunk.pixels]
        for condition, chunk in wanted:
            key = asked.protocol.answer_key(judge, condition, chunk, experiment.spec)
            if key not in seen and not experiment.store.has_tensors(asked.protocol.kind_of(judge), key):
                seen.add(key)
                yield DueAnswer(judge, condition, chunk, key)
