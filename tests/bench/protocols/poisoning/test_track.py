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
from cloakbench.bench.engine.experiment import Experiment, prepare
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.engine.run import Outcome, run
from cloakbench.bench.protocols.poisoning.brief import AttackJob, Poisoning, attack_key
from cloakbench.bench.protocols.poisoning.training import unprotected_rows
from cloakbench.bench.protocols.poisoning.work import due_jobs
from cloakbench.bench.protocols.poisoning.worker import ATTACKS, PoisoningWorkshop, published

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


def track_of(experiment: Experiment) -> Poisoning:
    assert experiment.poisoning is not None
    return experiment.poisoning


def report_bytes(folder: Path) -> dict[str, bytes]:
    paths = [path for part in ("tables", "figures") for path in sorted((folder / part).iterdir())]
    return {path.name: path.read_bytes() for path in paths if path.stem != "cost"}


def psr(outcome: Outcome) -> pd.DataFrame:
    found = outcome.results.measurements
    return found[found["metric"] == "psr_poisoning"]


def answers(experiment: Experiment) -> dict[str, list[int]]:
    """Every stored answer by the key of its training."""
    track, found = track_of(experiment), {}
    for job in track.jobs():
        state = published(experiment.store, track.brief.cells[job.cell])
        key, _ = attack_key(track.brief, job, state.pixels)
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
    assert set(found["transform"]) == {"standard", "adversarial", "standard_unprotected_0.25"}
    assert set(found.loc[found["transform"] != "standard", "target"]) == {"small"}
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
    track = track_of(experiment)
    plain, shared = (s for s in track.scenarios if s.attacker == "small" and s.regime == "standard")
    for number, cell in enumerate(track.cells):
        pixels = published(experiment.store, track.brief.cells[number]).pixels
        keys = {attack_key(track.brief, AttackJob(number, scenario, 0), pixels)[0] for scenario in (plain, shared)}
        assert len(keys) == (1 if cell.method == "identity" else 2)


def test_a_second_run_computes_nothing_and_workers_change_no_byte(
    finished: tuple[Outcome, DictConfig], tmp_path: Path, faces_cache: Path
) -> None:
    outcome, config = finished
    before = report_bytes(outcome.folder)
    again = run(config)
    assert again.reused
    assert report_bytes(again.folder) == before
    experiment = prepare(config)
    assert due_jobs(track_of(experiment), experiment.store) == []
    other = run(compose(tmp_path, faces_cache, "runtime.workers=2"))
    assert other.folder.name == outcome.folder.name
    assert report_bytes(other.folder) == before


def test_a_run_that_stopped_after_some_jobs_goes_on_to_the_same_answers(
    finished: tuple[Outcome, DictConfig], tmp_path: Path, faces_cache: Path
) -> None:
    config = compose(tmp_path, faces_cache)
    experiment = prepare(config)
    track = track_of(experiment)
    due = due_jobs(track, experiment.store)
    trainings = [job for job in due if isinstance(job, AttackJob)]
    workshop = PoisoningWorkshop(track.brief)
    for job in reversed(trainings[-3:]):  # in any order; each sees to the protection of its photos first
        workshop(job)
    left = due_jobs(track, experiment.store)
    assert len(left) < len(due) - 3
    assert not set(trainings[-3:]) & {job for job in left if isinstance(job, AttackJob)}
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
        track = track_of(prepare(compose(tmp_path, faces_cache, *more)))
        originals = [cell.originals for cell in track.brief.cells]
        return {attack_key(track.brief, job, originals[job.cell])[0] for job in track.jobs()}

    base = keys()
    assert keys("statistics.resamples=10", "runtime.workers=2") == base
    for change in (
        "attackers.small.epochs=5",
        "attackers.small.learning_rate=0.1",
        "regimes.adversarial.adversary.radius_255=3",
    ):
        assert keys(f"poisoning.{change}") != base
    assert keys("poisoning.seeds=[0,1,2]") > base
    assert not keys("seed=1") & base
    assert not keys("dataset.seed=1") & base


def test_an_attacker_that_raises_is_a_row_and_the_others_still_answer(tmp_path: Path, faces_cache: Path) -> None:
    more = ["+attacker@poisoning.attackers.bad=raising", "poisoning.methods.opom_convex_hull.steps=1"]
    config = compose(tmp_path, faces_cache, *more, "poisoning.seeds=[0]", "poisoning.clean_shares=[0.0]")
    outcome = run(config)
    found = psr(outcome)
    bad = found[found["target"] == "bad"]
    assert bad["value"].isna().all()
    assert (bad["status"] == "target_failed").all()
    assert bad["note"].str.contains("this attacker never learns").all()
    assert (found.loc[found["target"] != "bad", "n"] == 6).all()
    assert any("this attacker never learns" in problem for problem in outcome.problems)
    assert "this attacker never learns" in (outcome.folder / "report.md").read_text(encoding="utf-8")
    experiment = prepare(config)
    assert due_jobs(track_of(experiment), experiment.store) == []
    again = run(compose(tmp_path, faces_cache, *more, "poisoning.seeds=[0]", "poisoning.clean_shares=[0.0]",
                        "runtime.retry_failed=true"))  # fmt: skip
    assert again.problems == outcome.problems


def test_an_attacker_that_answers_nan_is_a_row(tmp_path: Path, faces_cache: Path) -> None:
    outcome = run(
        compose(
            tmp_path,
            faces_cache,
            "+attacker@poisoning.attackers.silent=silent",
            "~poisoning.methods.opom_convex_hull",
            "~poisoning.methods.em_class",
            "~poisoning.more_epsilons_255.em_class",
            "poisoning.seeds=[0]",
            "poisoning.variants_on=[]",
        )
    )
    found = psr(outcome).query("target == 'silent'")
    assert (found["status"] == "target_failed").all()
    assert found["value"].isna().all()
    assert found["n_failed"].between(1, 5).all()


def test_a_method_that_fails_on_a_photo_is_a_row_and_is_never_trained_on(tmp_path: Path, faces_cache: Path) -> None:
    outcome = run(
        compose(
            tmp_path,
            faces_cache,
            "+method@poisoning.methods.broken=every_third_fails",
            "+method@poisoning.methods.raising=raises",
            "~poisoning.methods.opom_convex_hull",
            "~poisoning.methods.em_class",
            "~poisoning.more_epsilons_255.em_class",
            "poisoning.seeds=[0]",
            "poisoning.variants_on=[]",
        )
    )
    found = psr(outcome).set_index("method")
    assert (found.loc[["broken", "raising"], "status"] == "method_failed").all()
    assert found.loc[["broken", "raising"], "value"].isna().all()
    assert (found.loc["identity", "status"] == "ok").all()
    quality = outcome.results.measurements.query("metric == 'ssim' and method in ['broken', 'raising']")
    assert quality["value"].isna().all()
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
    track = track_of(experiment)
    workshop = PoisoningWorkshop(track.brief)
    number = [cell.label for cell in track.cells].index("random_sign 16/255")
    plain, shared = (s for s in track.scenarios if s.attacker == "small" and s.regime == "standard")
    whole = workshop._training_photos(AttackJob(number, plain, 0))
    mixed = workshop._training_photos(AttackJob(number, shared, 0))
    original = track.train.images
    back = [row for row in range(len(whole)) if torch.equal(mixed[row], original[row])]
    assert back == unprotected_rows(track.train.identity, 0.25, 0, 0)
    kept = [row for row in range(len(whole)) if row not in back]
    assert torch.equal(mixed[kept], whole[kept])
    assert (whole.int() - original.int()).abs().max() == 16


def test_people_can_be_fewer_and_masks_come_from_the_photos_they_go_onto(tmp_path: Path, faces_cache: Path) -> None:
    experiment = prepare(compose(tmp_path, faces_cache, "poisoning.identities=2"))
    track = track_of(experiment)
    assert track.train.identities() == track.test.identities()
    assert len(track.train.identities()) == 2
    for cell, units in zip(track.cells, track.brief.cells, strict=True):
        whole = cell.method == "em_class"
        assert len(units.units) == 1
        for unit, _ in units.units:
            assert all(set(rows) <= set(unit.chunk.probes) and len(rows) == 3 for rows in unit.chunk.references), whole


def test_other_people_are_classes_of_the_attacker_and_of_nobody_else(tmp_path: Path, faces_cache: Path) -> None:
    alone = track_of(prepare(compose(tmp_path, faces_cache, "poisoning.identities=2")))
    config = compose(tmp_path, faces_cache, "poisoning.identities=2", "poisoning.other_identities=null")
    experiment = prepare(config)
    track = track_of(experiment)
    assert track.other_people == 1
    assert set(track.brief.other_labels) == {2} and set(track.brief.test_labels) == {0, 1}
    assert str(track.brief.cells) == str(alone.brief.cells)  # nan, the budget of none, is never equal
    outcome = run(config)
    assert outcome.results.setup["poisoning_other_identities"] == 1
    photos = PoisoningWorkshop(track.brief)._training_photos(AttackJob(0, track.scenarios[0], 0))
    assert len(photos) == len(track.train) + len(track.brief.other_labels)
    whole = prepare(compose(tmp_path, faces_cache)).poisoning
    assert whole is not None
    other = whole.train.images[[name not in track.train.identities() for name in whole.train.identity]]
    assert torch.equal(photos[len(track.train) :], other)
    assert {answer for row in answers(experiment).values() for answer in row} <= {0, 1, 2}
    report = (outcome.folder / "report.md").read_text(encoding="utf-8")
    assert "An attacker who guesses scores 66.7." in report


def test_others_are_told_apart_by_whom_they_come_after(tmp_path: Path, faces_cache: Path) -> None:
    world = ("dataset.poison_identities=4", "poisoning.other_identities=1")
    after = {
        count: track_of(prepare(compose(tmp_path, faces_cache, *world, f"poisoning.identities={count}"))).brief
        for count in (2, 3)
    }
    assert after[2].others != after[3].others and after[2].other_pixels != after[3].other_pixels


def test_one_method_on_the_command_line_replaces_the_list_and_keeps_the_controls(
    tmp_path: Path, faces_cache: Path
) -> None:
    track = track_of(prepare(compose(tmp_path, faces_cache, "method=rem", "method.epsilon_255=3")))
    assert [cell.label for cell in track.cells] == ["identity", "random_sign 3/255", "rem 3/255"]


def test_a_track_can_be_added_to_an_experiment_with_targets(tiny_overrides: list[str]) -> None:
    small: Sequence[str] = (
        "poisoning=survey", "dataset.poison_identities=2", "dataset.poison_images=5",
        "poisoning.seeds=[0]", "poisoning.variants_on=[]", "~poisoning.more_epsilons_255.em_class",
        "~poisoning.methods.em_max", "~poisoning.methods.em_sample", "~poisoning.methods.em_class",
        "~poisoning.methods.rem", "~poisoning.attackers.ir", "~poisoning.attackers.mobilefacenet",
        "poisoning.attackers.inception_resnet.epochs=1", "methods.pgd.steps=1", "epsilons_255=[8]",
        "methods.opom_convex_hull.steps=1", "poisoning.methods.opom_convex_hull.steps=1",
    )  # fmt: skip
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
        (("+poisoning.budget=3",), "poisoning has no setting 'budget'"),
        (("~poisoning.seeds",), "poisoning .* lacks .*|poisoning has no setting 'seeds' or lacks it"),
        (("dataset.poison_identities=0",), "has no train photos"),
        (("dataset.poison_identities=1",), "at least two people"),
        (("poisoning.attackers.small.epochs=0",), "poisoning.attackers.small.epochs is 0: it must be"),
        (("poisoning.other_identities=2",), "training photos of 0 people beside the 3 protected"),
        (("poisoning.clean_shares=[1.0]",), r"poisoning.clean_shares is \[1.0\]: it must be"),
        (("poisoning.variants_on=[nobody]",), "variants_on names nobody"),
        (("poisoning.surrogates=[nobody]",), "surrogates names nobody"),
        (("+poisoning.more_epsilons_255.pgd=[3]",), "more_epsilons_255 names pgd"),
        (("~poisoning.attackers",), "poisoning has no setting 'attackers'"),
        (("poisoning.methods.em_class.max_rounds=0",), "poisoning.methods.em_class.max_rounds is 0: it must be"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    tmp_path: Path, faces_cache: Path, more: tuple[str, ...], message: str
) -> None:
    with pytest.raises((ConfigError, ValueError), match=message) as caught:
        prepare(compose(tmp_path, faces_cache, *more))
    assert "\n" not in str(caught.value)


def test_predictions_are_the_same_bytes_in_another_process_order(finished: tuple[Outcome, DictConfig]) -> None:
    """Each stored answer again, alone: equal to what the run stored."""
    experiment = prepare(finished[1])
    track = track_of(experiment)
    workshop = PoisoningWorkshop(track.brief)
    job = list(track.jobs())[-1]
    from cloakbench.bench.protocols.poisoning.training import train_and_answer

    predicted, learnt = train_and_answer(
        track.brief.attackers[job.scenario.attacker],
        track.brief.regimes[job.scenario.regime],
        workshop._training_photos(job),
        torch.tensor(track.brief.labels),
        track.test.images,
        f"0-{job.seed}",
        torch.device("cpu"),
    )
    key, _ = attack_key(track.brief, job, published(experiment.store, track.brief.cells[job.cell]).pixels)
    stored = experiment.store.read_tensors(ATTACKS, key)
    assert stored is not None
    assert torch.equal(stored[0]["predicted"], predicted)
    assert np.isclose(stored[1]["train_accuracy"], learnt)
