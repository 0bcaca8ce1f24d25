"""Poisoning again: what is stored under which key, resumption, and the same bytes every time."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from tiny_poisoning import (
    ATTACKS,
    CELLS,
    CONFIG_DIR,
    SCENARIOS,
    answer_keys,
    answers,
    compose,
    overrides,
    protocol_of,
    publication_of,
    questions,
    report_bytes,
)

from cloakbench.bench.engine.jobs import CellJob, do
from cloakbench.bench.engine.unit_state import chunk_photos
from cloakbench.bench.engine.worker import Worker
from cloakbench.bench.experiment.prepare import prepare
from cloakbench.bench.experiment.run import Outcome, run
from cloakbench.bench.experiment.run_status import due_jobs, look_up
from cloakbench.bench.plan.publication import CellPhotos, UnitState


def test_a_second_run_computes_nothing(finished: tuple[Outcome, DictConfig]) -> None:
    outcome, config = finished
    before = report_bytes(outcome.folder)
    again = run(config)
    assert again.reused
    assert report_bytes(again.folder) == before
    assert due_jobs(look_up(prepare(config))) == []


@pytest.mark.slow
def test_workers_change_no_byte(finished: tuple[Outcome, DictConfig], tmp_path: Path, faces_cache: Path) -> None:
    """Nor does the order of trainings: the test below."""
    outcome, _ = finished
    other = run(compose(tmp_path, faces_cache, "runtime.workers=2"))
    assert other.folder.name == outcome.folder.name
    assert report_bytes(other.folder) == report_bytes(outcome.folder)


@pytest.mark.slow
def test_a_run_that_stopped_after_some_jobs_goes_on_to_the_same_answers(
    finished: tuple[Outcome, DictConfig], tmp_path: Path, faces_cache: Path
) -> None:
    config = compose(tmp_path, faces_cache)
    experiment = prepare(config)
    due = due_jobs(look_up(experiment))
    trainings = [job for job in due if isinstance(job, CellJob)]
    worker = Worker(experiment.spec)
    for job in reversed(trainings[-3:]):  # in any order; each sees to the protection of its photos first
        do(worker, job)
    left = {job.name for job in due_jobs(look_up(experiment))}
    assert left.isdisjoint(job.name for job in trainings[-3:])
    resumed = run(config)
    assert report_bytes(resumed.folder) == report_bytes(finished[0].folder)
    assert answers(experiment) == answers(prepare(finished[1]))


@pytest.mark.slow
def test_killed_in_the_middle_of_the_trainings_and_resumed(
    finished: tuple[Outcome, DictConfig], tmp_path: Path, faces_cache: Path
) -> None:
    command = [sys.executable, "-m", "cloakbench.bench.cli.main", *overrides(tmp_path, faces_cache)]
    command += ["runtime.workers=1", "--config-dir", str(CONFIG_DIR)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "store" / ATTACKS).rglob("*.safetensors"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "store" / ATTACKS).rglob("*.safetensors")}
    assert 4 <= len(done) < CELLS * SCENARIOS
    resumed = run(compose(tmp_path, faces_cache))
    assert report_bytes(resumed.folder) == report_bytes(finished[0].folder)
    assert done == {path: path.stat().st_mtime_ns for path in done}


def test_predictions_are_the_same_bytes_in_another_process_order(finished: tuple[Outcome, DictConfig]) -> None:
    """A stored answer again, alone: equal to what the run stored."""
    experiment = prepare(finished[1])
    protocol, question = protocol_of(experiment), questions(experiment)[-1]
    photos = look_up(experiment).cells("poisoning")[-1]
    again = protocol.respond(question.judge, question.condition, photos, Worker(experiment.spec))
    key = question.key(protocol, photos, experiment.spec)
    stored = experiment.store.read_tensors(ATTACKS, key)
    assert stored is not None
    assert torch.equal(stored[0]["predicted"], again.tensors["predicted"])
    assert np.isclose(stored[1]["train_accuracy"], again.note["train_accuracy"])


@pytest.mark.slow
def test_what_changes_an_answer_changes_its_key_and_what_does_not_does_not(tmp_path: Path, faces_cache: Path) -> None:
    def keys(*more: str) -> set[str]:
        experiment = prepare(compose(tmp_path, faces_cache, *more))
        publication = publication_of(experiment)
        unprotected = [
            CellPhotos(
                "poisoning",
                number,
                tuple(
                    chunk_photos(one, UnitState({"pixels": one.original, "status": []}), publication.faces)
                    for one in units
                ),
            )
            for number, units in enumerate(publication.units)
        ]
        return set(answer_keys(experiment, unprotected))

    base = keys()
    assert keys("statistics.resamples=10", "runtime.workers=2") == base
    for change in (
        "attackers.small.epochs=5",
        "attackers.small.learning_rate=0.1",
        "regimes.adversarial.adversary.radius_255=3",
    ):
        assert keys(f"protocols.poisoning.{change}") != base
    assert keys("protocols.poisoning.seeds=[0,1,2]") > base
    assert not keys("seed=1") & base
    assert not keys("dataset.seed=1") & base


def test_unprotected_photos_change_nothing_where_nothing_is_protected(finished: tuple[Outcome, DictConfig]) -> None:
    _, config = finished
    experiment = prepare(config)
    protocol = protocol_of(experiment)
    standard = [one for one in questions(experiment, judge="small", regime="standard") if one.condition.draw == 0]
    assert [one.condition.strength for one in standard] == [0.0, 0.25]
    for cell, photos in zip(publication_of(experiment).cells, look_up(experiment).cells("poisoning"), strict=True):
        keys = {one.key(protocol, photos, experiment.spec) for one in standard}
        assert len(keys) == (1 if cell.method == "identity" else 2)
