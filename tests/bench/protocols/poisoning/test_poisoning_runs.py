"""Whole runs of the tiny poisoning experiment: rates, resumption, failures, keys, and the same bytes every time."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.engine.jobs import CellJob, Question, do
from cloakbench.bench.engine.unit_state import chunk_photos
from cloakbench.bench.engine.worker import Worker
from cloakbench.bench.experiment.experiment import Experiment
from cloakbench.bench.experiment.prepare import prepare
from cloakbench.bench.experiment.run import Outcome, run
from cloakbench.bench.experiment.run_status import due_jobs, look_up
from cloakbench.bench.plan.publication import CellPhotos, Publication, UnitState
from cloakbench.bench.protocols.poisoning.protocol import Poisoning
from cloakbench.bench.protocols.poisoning.training import unprotected_rows

ATTACKS = Poisoning.kind
CONFIG_DIR = Path(__file__).parents[3] / "support" / "conf"
CELLS = 6
"""Clean, random sign at two budgets, EM at two budgets, OPOM."""
SCENARIOS = 4
"""Two attackers in the standard scenario, one of them under adversarial training and with unprotected photos."""


def overrides(results: Path, cache: Path, *more: str) -> list[str]:
    return [
        "experiment=tiny_poisoning",
        f"paths.results={results}",
        f"paths.cache={cache}",
        "runtime.workers=0",
        *more,
    ]


def compose(results: Path, cache: Path, *more: str) -> DictConfig:
    return compose_config(overrides(results, cache, *more), config_dirs=[str(CONFIG_DIR)])


def publication_of(experiment: Experiment) -> Publication:
    return experiment.publications["poisoning"]


def questions(experiment: Experiment, *, judge: str = "", regime: str = "") -> list[Question]:
    found = experiment.questions(publication_of(experiment), whole_cells=True)
    return [
        one for one in found if judge in ("", one.judge.name) and regime in ("", one.condition.settings["regime_key"])
    ]


def protocol_of(experiment: Experiment) -> Poisoning:
    protocol = experiment.protocol("poisoning")
    assert isinstance(protocol, Poisoning)
    return protocol


def answer_keys(experiment: Experiment, cells: Sequence[CellPhotos]) -> list[str]:
    protocol = protocol_of(experiment)
    return [one.key(protocol, photos, experiment.spec) for one in questions(experiment) for photos in cells]


def report_bytes(folder: Path) -> dict[str, bytes]:
    paths = [path for part in ("tables", "figures") for path in sorted((folder / part).iterdir())]
    return {path.name: path.read_bytes() for path in paths if path.stem != "cost"}


def psr(outcome: Outcome) -> pd.DataFrame:
    found = outcome.results.measurements
    return found[found["metric"] == "psr_poisoning"]


def answers(experiment: Experiment) -> dict[str, list[int]]:
    """Every stored answer by the key of its training."""
    found = {}
    for key in answer_keys(experiment, look_up(experiment).cells("poisoning")):
        stored = experiment.store.read_tensors(ATTACKS, key)
        assert stored is not None
        found[key] = stored[0]["predicted"].tolist()
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, faces_cache: Path) -> tuple[Outcome, DictConfig]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(CONFIG_DIR.parent))
        config = compose(tmp_path_factory.mktemp("finished"), faces_cache)
        return run(config), config


def test_every_cell_and_scenario_has_a_rate_over_all_test_photos(finished: tuple[Outcome, DictConfig]) -> None:
    outcome, _ = finished
    found = psr(outcome)
    assert len(found) == CELLS * SCENARIOS
    assert (found["status"] == "ok").all()
    assert (found["n"] == 6).all()
    assert (found["n_identities"] == 3).all()
    assert not outcome.problems
    assert set(found["condition"]) == {"standard", "adversarial", "standard_unprotected_0.25"}
    assert set(found.loc[found["condition"] != "standard", "judge"]) == {"small"}
    assert outcome.results.setup["poisoning_photos_published"] == 12
    records = pd.read_parquet(outcome.folder / "data" / "records_poisoning.parquet")
    assert len(records) == CELLS * SCENARIOS * 2 * 6


def test_quality_and_cost_are_measured_on_what_was_published(finished: tuple[Outcome, DictConfig]) -> None:
    results = finished[0].results
    ssim = results.measurements[results.measurements["metric"] == "ssim"].set_index(["method", "epsilon_255"])["value"]
    assert ssim["identity"].item() == 1
    assert ssim["random_sign", 16.0] < ssim["random_sign", 8.0] < 1
    linf = results.measurements[results.measurements["metric"] == "linf_255"]
    known = linf[linf["epsilon_255"].notna()]
    assert (known["value"] <= known["epsilon_255"]).all()
    costs = results.costs.set_index(["method", "epsilon_255"])
    assert (costs.loc["em_class", "backward_per_image"] > 0).all()
    assert set(costs.loc["em_class", "converged"]) <= {"yes", "no"}
    assert costs.loc["opom_convex_hull", "converged"].item() == ""


def test_unprotected_photos_change_nothing_where_nothing_is_protected(finished: tuple[Outcome, DictConfig]) -> None:
    _, config = finished
    experiment = prepare(config)
    protocol = protocol_of(experiment)
    standard = [one for one in questions(experiment, judge="small", regime="standard") if one.condition.draw == 0]
    assert [one.condition.strength for one in standard] == [0.0, 0.25]
    for cell, photos in zip(publication_of(experiment).cells, look_up(experiment).cells("poisoning"), strict=True):
        keys = {one.key(protocol, photos, experiment.spec) for one in standard}
        assert len(keys) == (1 if cell.method == "identity" else 2)


def test_a_second_run_computes_nothing_and_workers_change_no_byte(
    finished: tuple[Outcome, DictConfig], tmp_path: Path, faces_cache: Path
) -> None:
    outcome, config = finished
    before = report_bytes(outcome.folder)
    again = run(config)
    assert again.reused
    assert report_bytes(again.folder) == before
    assert due_jobs(look_up(prepare(config))) == []
    other = run(compose(tmp_path, faces_cache, "runtime.workers=2"))
    assert other.folder.name == outcome.folder.name
    assert report_bytes(other.folder) == before


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


def test_an_attacker_that_raises_is_a_row_and_the_others_still_answer(tmp_path: Path, faces_cache: Path) -> None:
    more = [
        "+attacker@protocols.poisoning.attackers.bad=raising",
        "protocols.poisoning.methods.opom_convex_hull.steps=1",
    ]
    one_scenario = ["protocols.poisoning.seeds=[0]", "protocols.poisoning.clean_shares=[0.0]"]
    config = compose(tmp_path, faces_cache, *more, *one_scenario)
    outcome = run(config)
    found = psr(outcome)
    bad = found[found["judge"] == "bad"]
    assert bad["value"].isna().all()
    assert (bad["status"] == "target_failed").all()
    assert bad["note"].str.contains("this attacker never learns").all()
    assert (found.loc[found["judge"] != "bad", "n"] == 6).all()
    assert any("this attacker never learns" in problem for problem in outcome.problems)
    assert "this attacker never learns" in (outcome.folder / "report.md").read_text(encoding="utf-8")
    assert due_jobs(look_up(prepare(config))) == []
    again = run(compose(tmp_path, faces_cache, *more, *one_scenario, "runtime.retry_failed=true"))
    assert again.problems == outcome.problems


def test_an_attacker_that_answers_nan_is_a_row(tmp_path: Path, faces_cache: Path) -> None:
    outcome = run(
        compose(
            tmp_path,
            faces_cache,
            "+attacker@protocols.poisoning.attackers.silent=silent",
            "~protocols.poisoning.methods.opom_convex_hull",
            "~protocols.poisoning.methods.em_class",
            "~protocols.poisoning.more_epsilons_255.em_class",
            "protocols.poisoning.seeds=[0]",
            "protocols.poisoning.conditions_on=[]",
        )
    )
    found = psr(outcome).query("judge == 'silent'")
    assert (found["status"] == "target_failed").all()
    assert found["value"].isna().all()
    assert found["n_failed"].between(1, 5).all()


def test_a_method_that_fails_on_a_photo_is_a_row_and_is_never_trained_on(tmp_path: Path, faces_cache: Path) -> None:
    outcome = run(
        compose(
            tmp_path,
            faces_cache,
            "+method@protocols.poisoning.methods.broken=every_third_fails",
            "+method@protocols.poisoning.methods.raising=raises",
            "~protocols.poisoning.methods.opom_convex_hull",
            "~protocols.poisoning.methods.em_class",
            "~protocols.poisoning.more_epsilons_255.em_class",
            "protocols.poisoning.seeds=[0]",
            "protocols.poisoning.conditions_on=[]",
        )
    )
    found = psr(outcome).set_index("method")
    assert (found.loc[["broken", "raising"], "status"] == "method_failed").all()
    assert found.loc[["broken", "raising"], "value"].isna().all()
    assert (found.loc["identity", "status"] == "ok").all()
    quality = outcome.results.measurements.query("metric == 'ssim'").set_index("method")
    assert quality.loc["broken", ["n", "n_failed"]].tolist() == [10, 2]
    assert quality.loc["raising", "status"] == "method_failed"
    trained = list((tmp_path / "store" / ATTACKS).rglob("*.safetensors"))
    assert len(trained) == 2 * 2  # clean and random sign, two attackers


def test_unprotected_photos_are_a_share_of_each_person_drawn_by_the_seed() -> None:
    identity = ("ann",) * 10 + ("bob",) * 5 + ("cleo",)
    rows = unprotected_rows(identity, 0.2, 0, 1)
    assert [sum(identity[row] == name for row in rows) for name in ("ann", "bob", "cleo")] == [2, 1, 0]
    assert rows == unprotected_rows(identity, 0.2, 0, 1)
    assert any(rows != unprotected_rows(identity, 0.2, 0, seed) for seed in range(2, 6))
    assert unprotected_rows(identity, 0.0, 0, 1) == []


def test_training_photos_are_the_published_ones_and_the_drawn_originals(finished: tuple[Outcome, DictConfig]) -> None:
    experiment = prepare(finished[1])
    publication, protocol, worker = publication_of(experiment), protocol_of(experiment), Worker(experiment.spec)
    number = [cell.label for cell in publication.cells].index("random_sign 16/255")
    photos = look_up(experiment).cells("poisoning")[number]
    plain, shared = (
        one.condition for one in questions(experiment, judge="small", regime="standard") if one.condition.draw == 0
    )
    whole = protocol.training_photos(plain, photos, worker)
    mixed = protocol.training_photos(shared, photos, worker)
    original = publication.faces.images
    back = [row for row in range(len(whole)) if torch.equal(mixed[row], original[row])]
    assert back == unprotected_rows(publication.faces.identity, 0.25, 0, 0)
    kept = [row for row in range(len(whole)) if row not in back]
    assert torch.equal(mixed[kept], whole[kept])
    assert (whole.int() - original.int()).abs().max() == 16


def test_people_can_be_fewer_and_masks_come_from_the_photos_they_go_onto(tmp_path: Path, faces_cache: Path) -> None:
    experiment = prepare(compose(tmp_path, faces_cache, "protocols.poisoning.identities=2"))
    publication = publication_of(experiment)
    assert publication.faces.identities() == experiment.faces["test"].identities()
    assert len(publication.faces.identities()) == 2
    for cell, units in zip(publication.cells, publication.units, strict=True):
        assert len(units) == 1, cell.label
        for planned in units:
            chunk = planned.unit.chunk
            assert all(set(rows) <= set(chunk.probes) and len(rows) == 3 for rows in chunk.references)


def test_other_people_are_classes_of_the_attacker_and_of_nobody_else(tmp_path: Path, faces_cache: Path) -> None:
    two = "protocols.poisoning.identities=2"
    alone = prepare(compose(tmp_path, faces_cache, two))
    config = compose(tmp_path, faces_cache, two, "protocols.poisoning.other_identities=null")
    experiment = prepare(config)
    publication, others = publication_of(experiment), experiment.faces["others"]
    assert len(others.identities()) == 1
    assert set(others.identity).isdisjoint(publication.faces.identity)
    assert [one.unit.key for one in experiment.units] == [one.unit.key for one in alone.units]
    outcome = run(config)
    assert outcome.results.setup["poisoning_other_identities"] == 1
    everybody = publication_of(prepare(compose(tmp_path, faces_cache))).faces
    assert torch.equal(
        others.images, everybody.images[[name not in publication.faces.identities() for name in everybody.identity]]
    )
    assert {answer for row in answers(experiment).values() for answer in row} <= {0, 1, 2}
    report = (outcome.folder / "report.md").read_text(encoding="utf-8")
    assert "An attacker who guesses scores 66.7." in report


def test_others_are_told_apart_by_whom_they_come_after(tmp_path: Path, faces_cache: Path) -> None:
    world = ("dataset.poison_identities=4", "protocols.poisoning.other_identities=1")
    after = {
        count: prepare(compose(tmp_path, faces_cache, *world, f"protocols.poisoning.identities={count}"))
        for count in (2, 3)
    }
    assert after[2].spec.faces["others"] != after[3].spec.faces["others"]
    inputs = [dict(questions(one)[0].judge.inputs)["others"] for one in after.values()]
    assert inputs[0] != inputs[1]


def test_limits_of_the_plan_hold_for_what_is_published_too(tmp_path: Path, faces_cache: Path) -> None:
    limit = "+plan.limits.opom_convex_hull={people: 2, photos: 3}"
    outcome = run(compose(tmp_path, faces_cache, limit, "protocols.poisoning.seeds=[0]"))
    found = psr(outcome).query("judge == 'small' and condition == 'standard'").set_index("method")
    assert found.loc["opom_convex_hull", ["n", "n_identities"]].tolist() == [4, 2]
    assert found.loc["identity", ["n", "n_identities"]].tolist() == [6, 3]
    assert outcome.results.setup["fewer_probes"] == "opom_convex_hull on 3 photos of 2 people"


def test_one_method_on_the_command_line_replaces_the_list_and_keeps_the_controls(
    tmp_path: Path, faces_cache: Path
) -> None:
    experiment = prepare(compose(tmp_path, faces_cache, "method=rem", "method.epsilon_255=3"))
    assert [cell.label for cell in publication_of(experiment).cells] == ["identity", "random_sign 3/255", "rem 3/255"]


def test_a_track_can_be_added_to_an_experiment_with_targets(tiny_overrides: list[str]) -> None:
    taken_out = (
        "more_epsilons_255.em_class",
        *(f"methods.{key}" for key in ("em_max", "em_sample", "em_class", "rem")),
    )
    taken_out += ("attackers.ir", "attackers.mobilefacenet")
    set_to = (
        "seeds=[0]",
        "conditions_on=[]",
        "attackers.inception_resnet.epochs=1",
        "methods.opom_convex_hull.steps=1",
    )
    small: Sequence[str] = (
        "protocol@protocols.poisoning=poisoning_survey",
        *("dataset.poison_identities=2", "dataset.poison_images=5", "epsilons_255=[8]"),
        *("methods.pgd.steps=1", "methods.opom_convex_hull.steps=1"),
        *(f"~protocols.poisoning.{name}" for name in taken_out),
        *(f"protocols.poisoning.{name}" for name in set_to),
    )
    outcome = run(compose_config([*tiny_overrides, *small], config_dirs=[str(CONFIG_DIR)]))
    protocols = set(outcome.results.measurements["protocol"])
    assert protocols == {"identification", "verification", "quality", "poisoning"}
    assert len(psr(outcome)) == 3
    report = (outcome.folder / "report.md").read_text(encoding="utf-8")
    assert "## Identification" in report
    assert "## Poisoning" in report
    table = (outcome.folder / "tables" / "identification_p2_eps8.csv").read_text(encoding="utf-8")
    assert "inception_resnet" not in table


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("+protocols.poisoning.budget=3",), "protocols.poisoning has no setting 'budget'"),
        (("dataset.poison_identities=0",), "has no train photos"),
        (("dataset.poison_identities=1",), "at least two people"),
        (
            ("protocols.poisoning.attackers.small.epochs=0",),
            "protocols.poisoning.attackers.small.epochs is 0: it must be",
        ),
        (("protocols.poisoning.other_identities=2",), "training photos of 0 people beside the 3 protected"),
        (("protocols.poisoning.clean_shares=[1.0]",), r"protocols.poisoning.clean_shares is \[1.0\]: it must be"),
        (
            ("protocols.poisoning.conditions_on=[nobody]",),
            "conditions_on is nobody: it must be a list of names of attackers",
        ),
        (("protocols.poisoning.surrogates=[nobody]",), "surrogates names nobody"),
        (("+protocols.poisoning.more_epsilons_255.pgd=[3]",), "more_epsilons_255 names pgd"),
        (("~protocols.poisoning.attackers",), "protocols.poisoning"),
        (
            ("protocols.poisoning.methods.em_class.max_rounds=0",),
            "protocols.poisoning.methods.em_class.max_rounds is 0: it must be",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    tmp_path: Path, faces_cache: Path, more: tuple[str, ...], message: str
) -> None:
    with pytest.raises((ConfigError, ValueError), match=message) as caught:
        prepare(compose(tmp_path, faces_cache, *more))
    assert "\n" not in str(caught.value)


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
