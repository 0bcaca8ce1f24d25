"""Whole runs of the tiny poisoning experiment: rates, quality, cost, and a track beside other protocols."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import DictConfig
from tiny_poisoning import (
    CELLS,
    CONFIG_DIR,
    SCENARIOS,
    compose,
    psr,
    publication_of,
)

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.experiment.prepare import prepare
from cloakbench.bench.experiment.run import Outcome, run


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


@pytest.mark.slow
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


@pytest.mark.slow
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
