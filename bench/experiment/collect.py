"""Collecting: what is stored of an experiment as the tidy frames that reports are made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd

from cloakbench.bench.core.axes import BudgetSize
from cloakbench.bench.core.machine import FULL_PRECISION
from cloakbench.bench.core.redaction import without_secret_settings, without_secrets
from cloakbench.bench.core.status import METHOD_FAILED, OK
from cloakbench.bench.engine.jobs import CellJob
from cloakbench.bench.engine.outside import AsksOutside
from cloakbench.bench.experiment.added_scores import AddedScoreJob
from cloakbench.bench.experiment.costs import cost_rows
from cloakbench.bench.experiment.decided import decided
from cloakbench.bench.experiment.described import condition_frame, metric_frame, protocol_frame
from cloakbench.bench.experiment.examples import examples
from cloakbench.bench.experiment.experiment import Experiment
from cloakbench.bench.experiment.groups.labels import group_labels
from cloakbench.bench.experiment.run_status import RunStatus
from cloakbench.bench.experiment.scoring import ScoreJob
from cloakbench.bench.plan.plan import Cell
from cloakbench.bench.plan.publication import PROBES, Publication
from cloakbench.bench.report.decisions.sightings import with_sightings
from cloakbench.bench.report.groups.columns import GROUPED_METRICS
from cloakbench.bench.report.labels import COMPARED_WITH, PRINTED_TABLES
from cloakbench.bench.report.reporters import reporters
from cloakbench.bench.report.results import MEASUREMENT_COLUMNS, PhotoRecords, Results
from cloakbench.bench.store.errors import EntryGoneError
from cloakbench.models.base import ModelCard


def collect(
    experiment: Experiment, status: RunStatus, scores: Sequence[ScoreJob], added: Sequence[AddedScoreJob]
) -> tuple[Results, list[str]]:
    """Results of an experiment from the store alone, and what its judges failed at, a line each.

    Args:
        experiment: whose.
        status: what became of every unit.
        scores: of its protocols.
        added: of added metrics, made from these.

    Raises:
        EntryGoneError: something that was stored is gone or was damaged; nothing is put in its place.
    """
    measured = [(job, job.key) for job in scores] + [(one.score, one.key) for one in added]
    rates = [_rates(experiment, status, job, key) for job, key in measured]
    measurements = pd.concat(rates, ignore_index=True).reindex(columns=list(MEASUREMENT_COLUMNS))
    measurements["note"] = [without_secrets(note) if isinstance(note, str) else note for note in measurements["note"]]
    manifest = experiment.planning.manifest
    cells = [cell for one in experiment.publications.values() for cell in one.cells]
    results = Results(
        name=experiment.config.name,
        dataset=f"{manifest.name} {manifest.version}",
        manifest_sha256=experiment.planning.manifest_digest,
        measurements=measurements,
        models=_models(experiment),
        methods=_methods(cells),
        costs=pd.DataFrame([row for one in experiment.publications.values() for row in cost_rows(status, one)]),
        thresholds=_named_frame(experiment, scores, "thresholds"),
        examples=examples(experiment, status),
        setup={
            "description": without_secrets(experiment.config.description),
            **_sizes(experiment),
            **_subsets(experiment),
            **_further_setup(experiment),
            "seed": experiment.config.seed,
            "resamples": experiment.config.statistics.resamples,
        },
        protocols=protocol_frame(experiment),
        conditions=condition_frame(experiment),
        records=_records(experiment, scores),
        labels=group_labels(experiment),
        metrics=metric_frame(experiment),
    )
    results = with_sightings(decided(experiment, results, [key for _, key in measured]), reporters(results))
    return results, [*_silent_judges(experiment, status, measurements), *_failed_answers(experiment, status)]


def _further_setup(experiment: Experiment) -> dict[str, Any]:
    precision = experiment.spec.precision
    told: dict[str, Any] = {} if precision == FULL_PRECISION else {"precision_of_recognisers": precision}
    told |= {} if (used := experiment.planning.generator) is None else {"generator": used[0].in_words}
    if experiment.config.report.printed:
        told[PRINTED_TABLES] = ", ".join(experiment.config.report.printed)
    if experiment.config.report.compare_with:
        told[COMPARED_WITH] = experiment.config.report.compare_with
    if experiment.config.report.groups:
        told[GROUPED_METRICS] = ", ".join(experiment.config.report.groups)
    for asked in experiment.asked:
        told |= asked.protocol.setup(experiment.planning, asked.publication)
    return told


def _records(experiment: Experiment, jobs: Sequence[ScoreJob]) -> PhotoRecords:
    """Per-photo records of every cell, judge and condition, by label of the protocol."""
    of_label: dict[str, list[tuple[Publication, ScoreJob]]] = {}
    for job in jobs:
        one = experiment.asked_by(job)
        if one.label == one.protocol.name:  # others are about somebody else's photos
            of_label.setdefault(one.label, []).append((one.publication, job))

    def read(label: str) -> pd.DataFrame:
        frames = [
            _name_cells(publication, _read(experiment, "records", job.key), job).drop(columns=["cell"])
            for publication, job in of_label[label]
        ]
        return pd.concat(frames, ignore_index=True)

    return PhotoRecords(of_label, read)


def _rates(experiment: Experiment, status: RunStatus, job: ScoreJob, key: str) -> pd.DataFrame:
    """The measurements stored under a key, of a score or made from one, with the axes of the experiment."""
    asked, judge = experiment.asked_by(job), job.judge
    publication = asked.publication
    rates = _name_cells(publication, _read(experiment, "measurements", key), job).assign(protocol=asked.label)
    rates = _with_reasons(rates, np.array([status.photo_reasons(units) for units in publication.units], dtype=object))
    white_box = [not judge.networks.isdisjoint(cell.surrogates) for cell in publication.cells]
    cards = experiment.planning.cards
    same_family = [
        not white and any(cards[key].family == judge.family for key in cell.surrogates)
        for white, cell in zip(white_box, publication.cells, strict=True)
    ]
    place = rates["cell"].to_numpy()
    return rates.assign(white_box=np.array(white_box)[place], same_family=np.array(same_family)[place])


def _with_reasons(rates: pd.DataFrame, reasons: np.ndarray) -> pd.DataFrame:
    """Rows from which photos are missing say why, where the method said it; ``reasons`` by number of the cell."""
    why = reasons[rates["cell"].to_numpy()]
    failed = (rates["n_failed"].fillna(0) > 0) & rates["status"].isin([OK, METHOD_FAILED])
    said = np.array([bool(reason) for reason in why], dtype=bool) & failed.to_numpy()
    notes = [
        "; ".join(part for part in (note, reason) if isinstance(part, str) and part) if told else note
        for note, reason, told in zip(rates["note"], why, said, strict=True)
    ]
    return rates.assign(note=notes)


def _name_cells(publication: Publication, frame: pd.DataFrame, job: ScoreJob) -> pd.DataFrame:
    """Add the axes of the experiment to rows that know only their cell's number."""
    place = frame["cell"].to_numpy()
    cells = publication.cells
    return frame.assign(
        method=np.array([cell.method for cell in cells], dtype=object)[place],
        variant=np.array([cell.variant for cell in cells], dtype=object)[place],
        epsilon_255=np.array([cell.budget.number for cell in cells])[place],
        surrogate=np.array([cell.surrogate for cell in cells], dtype=object)[place],
        judge=job.judge.name,
        condition=job.conditions[0].label,
    )


def _named_frame(experiment: Experiment, jobs: Sequence[ScoreJob], name: str) -> pd.DataFrame:
    """A further frame of protocols, from every judge's clean answers."""
    frames = [
        _read(experiment, name, job.key).assign(judge=job.judge.name)
        for job in jobs
        if name in job.frames and job.conditions[0].is_plain
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["judge", "far"])


def _silent_judges(experiment: Experiment, status: RunStatus, rates: pd.DataFrame) -> Iterator[str]:
    """One line per judge that did not answer for photos that their method had finished."""
    probes = experiment.publications.get(PROBES)
    asking = [
        one
        for one in experiment.asked
        if one.publication is probes
        and any(judge.name for judge, _ in one.judges)
        and not isinstance(one.protocol, AsksOutside)  # who say themselves why they did not answer
    ]
    if probes is None or not asking:
        return
    rates = rates.loc[rates["protocol"] == asking[0].label]
    own = [metric.name for metric in asking[0].protocol.metrics]  # all count the same lost photos; added ones need not
    rates = rates.loc[rates["metric"] == rates.loc[rates["metric"].isin(own), "metric"].min()]
    planned = {
        (cell.method, cell.variant, cell.budget, cell.surrogate): status.lost(units)
        for cell, units in zip(probes.cells, probes.units, strict=True)
    }
    lost: dict[str, int] = {}
    columns = (rates[name] for name in ("method", "variant", "epsilon_255", "surrogate", "judge", "n_failed"))
    for method, variant, epsilon_255, surrogate, judge, failed in zip(*columns, strict=True):
        by_judge = int(failed) - planned[method, variant, BudgetSize.of(epsilon_255), surrogate]
        lost[judge] = max(lost.get(judge, 0), by_judge)
    for judge, count in lost.items():
        if count:
            yield f"target {judge} returned NaN for {count} photos of a cell: check its weights, mean and std"


def _failed_answers(experiment: Experiment, status: RunStatus) -> Iterator[str]:
    """One line per answer about a whole cell that is recorded as failed."""
    for publication in experiment.publications.values():
        cells = status.cells(publication.name)
        for question in experiment.questions(publication, whole_cells=True):
            protocol = experiment.protocol(question.protocol)
            for number, photos in enumerate(cells):
                if photos.failure[0] == OK and question.is_about(publication.cells[number]):
                    failure = experiment.store.read_json("failures", question.key(protocol, photos, experiment.spec))
                    if failure is not None:
                        label = CellJob(question, number, publication.units[number]).label
                        yield f"{label}: {failure['reason']}"


def _subsets(experiment: Experiment) -> dict[str, str]:
    """What the reader must know of methods that ran on fewer photos than the others."""
    limits = {cell.method: cell.limit for one in experiment.publications.values() for cell in one.cells}
    words = [
        f"{method} on {limit.photos or 'all'} photos of {limit.people or 'all'} people"
        for method, limit in limits.items()
        if limit.photos or limit.people
    ]
    return {"fewer_probes": ", ".join(words)} if words else {}


def _sizes(experiment: Experiment) -> dict[str, Any]:
    faces = experiment.faces
    if PROBES not in experiment.publications:
        return {}
    people = len(faces["probe"].identities())
    return {
        "identities": people,
        "probes_per_identity": len(faces["probe"]) / people,
        "references_per_identity": len(faces["reference"]) / people if "reference" in faces else 0,
        "distractors": len(faces["distractor"]) if "distractor" in faces else 0,
        "impostor_faces": len(faces["impostor"]) if "impostor" in faces else 0,
    }


def _methods(cells: Sequence[Cell]) -> pd.DataFrame:
    """What the class attributes of every method and variant say, one row each."""
    of_key = {(cell.method, cell.variant): cell for cell in cells}
    rows = [
        {
            "key": key,
            "variant": variant,
            "varied": cell.varied,
            "title": cell.title,
            "name": protector.name,
            "scope": protector.scope,
            "goal": protector.goal,
            "needs": ", ".join(sorted(protector.needs)),
            "targeted": protector.targeted,
            "trained": protector.is_trained,
            "person_specific": protector.person_specific,
            "hardware": protector.hardware,
            "paper": protector.paper,
            "official_settings": protector.official_settings,
            "deviations": protector.deviations,
            "notes": "; ".join(protector.notes()),
        }
        for (key, variant), cell in of_key.items()
        for protector in (cell.protector,)
    ]
    return pd.DataFrame(rows)


def _models(experiment: Experiment) -> pd.DataFrame:
    blank = {"head": "", "embedding_size": 0, "robust": False}  # of cards of attribute networks
    rows = []
    for key, card in experiment.planning.cards.items():
        roles = [role for role, keys in experiment.roles.items() if key in keys]
        rows.append({**blank, **without_secret_settings(vars(card)), "name": key, "roles": ", ".join(roles)})
    return pd.DataFrame(rows, columns=[*(item.name for item in fields(ModelCard)), "roles"])


def _read(experiment: Experiment, kind: str, key: str) -> pd.DataFrame:
    frame = experiment.store.read_frame(kind, key)
    if frame is None:
        raise EntryGoneError(f"{kind} {key} are gone from {experiment.store.root}")
    return frame
