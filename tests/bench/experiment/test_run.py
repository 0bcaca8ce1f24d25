"""Whole runs of the tiny experiment: what is stored, reused, recorded when things fail, and the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.experiment.prepare import prepare
from cloakbench.bench.experiment.run import Outcome, run
from cloakbench.bench.experiment.run_status import due_jobs, look_up
from cloakbench.bench.report.archive import load_results
from cloakbench.bench.report.index import Measured
from cloakbench.bench.store.store import Store
from cloakbench.models.zoo import WEIGHTS

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"

TIMES = ("cost",)
"""Tables that hold times; every other file of a report is the same in equal runs."""


def compose(overrides: list[str], *more: str) -> DictConfig:
    return compose_config([*overrides, *more], config_dirs=[str(CONFIG_DIR)])


def report_bytes(folder: Path) -> dict[str, bytes]:
    """Tables of a run, those with times left out."""
    paths = sorted((folder / "tables").iterdir())
    return {path.name: path.read_bytes() for path in paths if path.stem not in TIMES}


def rates(outcome: Outcome, metric: str = "psr_p2_top1") -> pd.DataFrame:
    found = outcome.results.measurements
    return found[found["metric"] == metric]


@pytest.fixture(scope="module")
def finished(tiny_results: Path, faces_cache: Path) -> Outcome:
    overrides = ["experiment=tiny", f"paths.results={tiny_results}", f"paths.cache={faces_cache}", "runtime.workers=0"]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(CONFIG_DIR.parent))
        return run(compose(overrides))


def test_every_cell_target_and_transform_has_a_rate(finished: Outcome) -> None:
    found = rates(finished)
    methods = {(row.method, row.epsilon_255) for row in found.itertuples() if not np.isnan(row.epsilon_255)}
    assert methods == {(m, e) for m in ("random_sign", "pgd", "opom_convex_hull") for e in (4.0, 8.0)}
    assert set(found["method"]) == {"identity", "random_sign", "pgd", "opom_convex_hull"}
    assert len(found) == 7 * 2 * 2
    assert (found["status"] == "ok").all()
    assert (found["n"] == 18).all()
    assert (found["low"] <= found["value"]).all()
    assert (found["value"] <= found["high"]).all()
    assert not finished.problems


def test_white_box_cells_are_marked_and_only_those(finished: Outcome) -> None:
    found = rates(finished)
    expected = (found["surrogate"] == found["judge"]) & (found["surrogate"] != "")
    assert (found["white_box"] == expected).all()
    assert found["white_box"].any()


def test_zero_protection_reproduces_the_clean_rate(finished: Outcome) -> None:
    """The identity method has the error rate of the clean photos."""
    records = pd.read_parquet(finished.folder / "data" / "records_identification.parquet")
    clean = records[(records["method"] == "identity") & (records["condition"] == "none")]
    assert len(clean)
    assert (clean["p2_rank"] == clean["p2_clean_rank"]).all()
    np.testing.assert_allclose(clean["own_similarity"].astype(float), 1.0, atol=1e-5)


def test_every_photo_obeys_its_budget_after_the_file(finished: Outcome) -> None:
    quality = finished.results.measurements.query("protocol == 'quality' and metric == 'linf_255'")
    measured = quality[quality["epsilon_255"].notna()]
    assert (measured["value"] <= measured["epsilon_255"] + 1e-9).all()
    control = measured[measured["method"] == "random_sign"]
    assert len(control)
    assert (control["value"] == control["epsilon_255"]).all()


def test_lpips_without_weights_is_a_gap_with_a_reason(finished: Outcome) -> None:
    lpips = finished.results.measurements.query("metric == 'lpips'")
    assert len(lpips)
    assert lpips["value"].isna().all()
    assert (lpips["status"] == "unavailable").all()
    assert lpips["note"].str.contains("AlexNet").all()


def test_results_come_back_from_the_run_folder(finished: Outcome) -> None:
    loaded = load_results(finished.folder)
    pd.testing.assert_frame_equal(loaded.measurements, finished.results.measurements)
    assert loaded.manifest_sha256 == finished.results.manifest_sha256
    assert loaded.examples
    assert [example.image_id for example in loaded.examples] == [e.image_id for e in finished.results.examples]
    for ours, theirs in zip(loaded.examples, finished.results.examples, strict=True):
        assert all(torch.equal(ours.protected[label], theirs.protected[label]) for label in theirs.protected)


def test_a_second_run_computes_nothing_and_changes_nothing(small_overrides: list[str]) -> None:
    first = run(compose(small_overrides))
    stored = {path: path.stat().st_mtime_ns for path in Path(compose(small_overrides).paths.store).rglob("*.*")}
    before = report_bytes(first.folder)
    second = run(compose(small_overrides))
    assert second.reused
    assert second.folder == first.folder
    assert report_bytes(second.folder) == before
    after = {path: path.stat().st_mtime_ns for path in Path(compose(small_overrides).paths.store).rglob("*.*")}
    assert {p: t for p, t in after.items() if p.parent.name != "locks"} == {
        p: t for p, t in stored.items() if p.parent.name != "locks"
    }
    assert due_jobs(look_up(prepare(compose(small_overrides)))) == []


def test_worker_count_and_paths_change_no_byte(finished: Outcome, tiny_overrides: list[str], tmp_path: Path) -> None:
    other = run(compose([*tiny_overrides[:-1], "runtime.workers=2", f"paths.runs={tmp_path}/elsewhere"]))
    assert other.folder.name == finished.folder.name
    assert report_bytes(other.folder) == report_bytes(finished.folder)


@pytest.mark.slow
def test_what_changes_a_result_changes_the_key_and_what_does_not_does_not(tiny_overrides: list[str]) -> None:
    def units(*more: str) -> set[str]:
        return {planned.unit.key for planned in prepare(compose(tiny_overrides, *more)).units}

    base = units()
    assert units("runtime.retry_failed=true", "report.examples=1", "statistics.resamples=10") == base
    assert units("methods.pgd.steps=3") != base
    assert units("seed=1").isdisjoint(base - units("seed=1"))
    assert not units("seed=1") & base
    assert not units("plan.chunk_identities=3") & base
    assert base > units("epsilons_255=[8]")


@pytest.mark.usefixtures("report_left_out")
def test_a_method_that_loses_photos_leaves_rows_with_a_status(small_overrides: list[str]) -> None:
    outcome = run(compose(small_overrides, "+method@methods.broken=every_third_fails", "methods.pgd.steps=1"))
    found = rates(outcome).query("method == 'broken'")
    assert len(found)
    assert (found["n"] == 12).all()
    assert (found["n_failed"] == 6).all()
    assert any("broken" in problem for problem in outcome.problems)
    records = pd.read_parquet(outcome.folder / "data" / "records_identification.parquet")
    lost = records[(records["method"] == "broken") & (records["status"] == "method_failed")]
    assert len(lost) == 6 * 2, "under both targets"
    assert lost["p2_rank"].isna().all()
    assert lost["own_similarity"].isna().all()
    whole = rates(outcome).query("method == 'pgd'")
    assert len(whole)
    assert (whole["n"] == 18).all()


@pytest.mark.usefixtures("report_left_out")
def test_a_costly_method_runs_on_the_stated_part_of_the_probes(small_overrides: list[str]) -> None:
    part = run(compose(small_overrides, "+plan.limits.pgd={people: 3, photos: 2}"))
    found = rates(part).query("method == 'pgd'")
    assert len(found)
    assert (found["n"] == 6).all()
    assert (found["n_failed"] == 0).all()
    assert (found["n_identities"] == 3).all()
    assert (rates(part).query("method != 'pgd'")["n"] == 18).all()
    assert part.results.setup["fewer_probes"] == "pgd on 2 photos of 3 people"
    assert not part.problems


def test_a_costly_method_keeps_to_the_stated_budgets_and_surrogates(tiny_overrides: list[str]) -> None:
    limit = "+plan.limits.pgd={epsilons_255: [6], surrogates: {both: [tiny1, tiny2]}}"
    experiment = prepare(compose(tiny_overrides, "+model@surrogates.tiny2=tiny2", limit))
    labels = [cell.label for cell in experiment.publications["probes"].cells if cell.method == "pgd"]
    assert labels == ["pgd 6/255 on both"]
    assert [cell.label for cell in experiment.publications["probes"].cells if cell.method == "random_sign"] == [
        f"random_sign {budget}/255" for budget in (4, 6, 8)
    ]


def test_another_surrogate_lifts_the_limits_that_name_the_old_one(tiny_overrides: list[str]) -> None:
    limit = "+plan.limits.pgd={people: 3, epsilons_255: [6], surrogates: {one: [tiny1]}}"
    chosen = prepare(compose(tiny_overrides, limit, "model@surrogate=tiny2"))
    assert [cell.label for cell in chosen.publications["probes"].cells if cell.method == "pgd"] == [
        "pgd 6/255 on tiny2"
    ]
    unlimited = prepare(compose(tiny_overrides, limit, "plan.limits=null"))
    assert [cell.budget.number for cell in unlimited.publications["probes"].cells if cell.method == "pgd"] == [4, 8]


@pytest.mark.usefixtures("report_left_out")
def test_a_method_is_trained_once_for_all_chunks_and_its_cost_is_told(small_overrides: list[str]) -> None:
    more = ("method=trained", "method.epsilon_255=4")
    outcome = run(compose(small_overrides, *more))
    assert not outcome.problems
    [cost] = outcome.results.costs.query("method == 'trained'").to_dict("records")
    assert cost["training_passes"] == 2
    assert cost["forward_per_image"] == 0
    stored = list(Path(compose(small_overrides).paths.store).glob("trained/*/*.safetensors"))
    assert len(stored) == 1
    units = [
        planned.unit
        for planned in prepare(compose(small_overrides, *more)).units
        if planned.unit.cell.method == "trained"
    ]
    store = Store(Path(compose(small_overrides).paths.store))
    photos = [store.read_photos("protected", unit.key) for unit in units]
    before = {path: path.stat().st_mtime_ns for path in stored}
    for unit in units:
        store.remove("protected", unit.key, ".zip")
    run(compose(small_overrides, *more))
    again = [store.read_photos("protected", unit.key) for unit in units]
    assert all(a and b and torch.equal(a[0], b[0]) for a, b in zip(photos, again, strict=True))
    assert {path: path.stat().st_mtime_ns for path in stored} == before


@pytest.mark.slow
def test_a_title_is_printed_and_is_in_no_key(small_overrides: list[str]) -> None:
    usual, named = (prepare(compose(small_overrides, f"methods.pgd.title={title}")) for title in ("PGD", "Ours"))
    assert usual.key == named.key != prepare(compose(small_overrides, "methods.pgd.steps=1")).key
    methods = run(compose(small_overrides, "methods.pgd.title=Ours")).results.methods.set_index("key")
    assert methods.loc["pgd", "title"] == "Ours" and methods.loc["identity", "title"] == "Clean photo"
    assert methods.loc["pgd", "official_settings"] and methods.loc["pgd", "deviations"]


def test_where_files_of_an_image_metric_would_lie_is_in_no_key(
    tiny_overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = set()
    for folder in ("here", "there"):
        monkeypatch.setenv("CLOAKBENCH_WEIGHTS", folder)
        keys.add(prepare(compose(tiny_overrides)).key)
    assert len(keys) == 1
    assert prepare(compose(tiny_overrides, "~protocols.quality.image_metrics.lpips")).key not in keys


@pytest.mark.slow
@pytest.mark.usefixtures("report_left_out")
def test_a_sweep_over_budgets_trains_what_no_budget_decides_once(small_overrides: list[str]) -> None:
    quick = ("method.width=4", "method.epochs=1", "method.steps=1")
    outcome = run(compose(small_overrides, "method=apf", "epsilons_255=[4,8]", *quick))
    assert not outcome.problems
    found = [
        set(load_file(path)) for path in Path(compose(small_overrides).paths.store).glob("trained/*/*.safetensors")
    ]
    assert sum(names == {"universal", "goal"} for names in found) == 1, "the universal perturbation, for both budgets"
    assert len(found) == 1 + 2, "and a server for each"
    costs = outcome.results.costs.query("method == 'apf'")
    assert costs["training_passes"].nunique() == 1 and len(costs) == 2, "each budget is told all that it rests on"


def test_a_method_that_raises_is_a_gap_and_is_retried_on_request(small_overrides: list[str]) -> None:
    more = ("+method@methods.broken=raises", "methods.pgd.steps=1")
    outcome = run(compose(small_overrides, *more))
    found = rates(outcome).query("method == 'broken'")
    assert len(found)
    assert found["value"].isna().all()
    assert (found["status"] == "method_failed").all()
    assert sum("this method always fails" in problem for problem in outcome.problems) == 1
    table = (outcome.folder / "tables" / "failures.csv").read_text(encoding="utf-8")
    assert table.count("ZeroDivisionError: this method always fails") == 1
    experiment = prepare(compose(small_overrides, *more))
    assert due_jobs(look_up(experiment)) == []
    failed = [one.unit.key for one in experiment.units if one.unit.cell.method == "broken"]
    assert all(Store(experiment.store.root).read_json("failures", key) for key in failed)
    again = run(compose(small_overrides, *more, "runtime.retry_failed=true"))
    assert again.problems == outcome.problems
    log = (again.folder / "run.log").read_text(encoding="utf-8")
    assert "ZeroDivisionError: this method always fails" in log
    assert "Traceback" in log


@pytest.mark.usefixtures("report_left_out")
def test_a_target_that_answers_nan_leaves_rows_with_a_status(small_overrides: list[str]) -> None:
    outcome = run(compose(small_overrides, "+model@targets.tiny_nan=tiny_nan", "methods.pgd.steps=1"))
    assert any("tiny_nan returned NaN" in problem for problem in outcome.problems)
    found = rates(outcome).query("judge == 'tiny_nan' and condition == 'none'")
    assert len(found)
    assert (found["n_failed"] > 0).all()
    others = rates(outcome).query("judge != 'tiny_nan'")
    assert len(others)
    assert (others["n_failed"] == 0).all()
    assert run(compose(small_overrides, "+model@targets.tiny_nan=tiny_nan", "methods.pgd.steps=1")).problems == (
        outcome.problems
    )


@pytest.mark.usefixtures("report_left_out")
def test_a_target_that_raises_is_a_gap_and_is_asked_again(small_overrides: list[str]) -> None:
    more = ("+model@targets.refusing=refusing", "methods.pgd.steps=1")
    outcome = run(compose(small_overrides, *more))
    assert any("this network never answers" in problem for problem in outcome.problems)
    found = rates(outcome)
    assert set(found["judge"]) > {"refusing"}
    assert found.query("judge == 'refusing'")["value"].isna().all()
    assert (found.query("judge != 'refusing'")["n"] == 18).all()
    assert due_jobs(look_up(prepare(compose(small_overrides, *more))))
    assert run(compose(small_overrides, *more)).problems == outcome.problems


@pytest.mark.usefixtures("report_left_out")
def test_an_ensemble_is_one_surrogate_and_its_members_are_white_box(small_overrides: list[str]) -> None:
    more = ("+model@surrogates.tiny3=tiny3", "+ensembles.both=[tiny1,tiny3]", "single_surrogates=false")
    outcome = run(compose(small_overrides, *more, "method=pgd", "method.steps=2"))
    found = rates(outcome).query("method == 'pgd'")
    assert set(found["surrogate"]) == {"both"}
    assert found.set_index("judge")["white_box"].groupby(level=0).first().to_dict() == {"tiny1": True, "tiny2": False}


@pytest.mark.slow
@pytest.mark.usefixtures("report_left_out")
def test_attacked_weights_are_white_box_under_any_name_file_and_scale(
    small_overrides: list[str], tmp_path: Path
) -> None:
    """A member of an ensemble, saved again by somebody who calls it otherwise and scales its pixels otherwise."""
    state = load_file(WEIGHTS / "cosface_ir.safetensors")
    torch.save({"net": {f"module.{key}": value.float() for key, value in state.items()}}, tmp_path / "mine.pth")
    preset = OmegaConf.load(Path(__file__).parents[3] / "conf" / "model" / "cosface_ir.yaml")
    network = {key: value for key, value in preset["network"].items() if not key.startswith("_")}
    outcome = run(
        compose(
            small_overrides,
            "method=fgsm",
            "+model@surrogates.cosface_ir=cosface_ir",
            "+ensembles.both=[tiny1,cosface_ir]",
            "single_surrogates=false",
            "model@target=checkpoint",
            "target.name=mine",
            f"target.weights.path={tmp_path / 'mine.pth'}",
            "target.weights.state_key=net",
            "target.weights.strip_prefix=module.",
            "target.card.family=another",
            "target.inputs.mean=0.48",
            "target.inputs.std=0.52",
            f"target.network._target_={preset['network']['_target_']}",
            *(f"+target.network.{key}={value}".replace(" ", "") for key, value in network.items()),
        )
    )
    found = rates(outcome).query("method == 'fgsm'")
    assert set(found["judge"]) == {"mine"}
    assert found["white_box"].all()
    headline = Measured(outcome.results)
    (row,) = [row for row in headline.runs if row.method == "fgsm"]
    assert not headline.black_box("psr_p2_top1", row).ok


def test_one_method_on_the_command_line_replaces_the_list_and_keeps_the_controls(tiny_overrides: list[str]) -> None:
    experiment = prepare(compose(tiny_overrides, "method=fgsm", "method.epsilon_255=3"))
    labels = [cell.label for cell in experiment.publications["probes"].cells]
    assert labels == ["identity", "random_sign 3/255", "fgsm 3/255 on tiny1"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("~model@targets.tiny1", "~model@targets.tiny2"), "the experiment has no target"),
        (("~model@surrogates.tiny1",), "pgd needs a surrogate"),
        (("+ensembles.x=[nobody]",), "ensemble x names nobody"),
        (
            ("+method@methods.p3_mask=p3_mask",),
            r"p3_mask needs an ensemble of at least 2 surrogates, tiny1 is 1: name more, as in plan\.limits\.p3_mask",
        ),
        (
            ("+method@methods.gap=gap", "methods.gap.match_norm={linf: 8, l2: 1200}"),
            r"methods\.gap\.match_norm is \{'linf': 8, 'l2': 1200\}: it must be null or one norm, \{linf: 8\} or",
        ),
        (("+methods.pgd.stepz=3",), "methods.pgd has no setting 'stepz'"),
        (("methods.pgd.steps=-5",), "methods.pgd.steps is -5: it must be"),
        (("dataset.distractors=0",), "has no distractor faces"),
        (("+plan.limits.nobody={people: 3}",), "plan.limits names nobody"),
        (
            ("report.printed=[facecloak_9]",),
            "report.printed names facecloak_9, which is no table of a paper: facecloak_1",
        ),
        (("+plan.limits.pgd={persons: 3}",), "plan.limits.pgd has no setting 'persons'"),
        (("+plan.limits.pgd={people: 0}",), "plan.limits.pgd.people is 0: it must be"),
        (("+plan.limits.pgd={surrogates: {x: [nobody]}}",), "plan.limits names nobody"),
        (
            ("protocols.quality.image_metrics.ssim._target_=cloakbench.bench.engine.transforms.Unchanged",),
            r"protocols.quality.image_metrics.ssim: .* built a Unchanged, not an ImageMetric",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tiny_overrides: list[str], more: tuple[str, ...], message: str) -> None:
    with pytest.raises((ConfigError, ValueError), match=message) as caught:
        prepare(compose(tiny_overrides, *more))
    assert "\n" not in str(caught.value)
