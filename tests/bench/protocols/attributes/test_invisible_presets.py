"""A tiny run of the preset of Invisible-Face's Table VI: modules, an attacker's denoiser, its rows, parts of time."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.experiment.parts import build_parts
from cloakbench.bench.experiment.run import Outcome, run

pytestmark = pytest.mark.slow

METHOD = "methods.invisible_face"
RECIPE = "transforms.dncnn.trainer.recipe"
TINY = (
    *("dataset.identities=2", "dataset.references_per_identity=1", "dataset.probes_per_identity=1"),
    *("dataset.auxiliary_identities=6", "dataset.auxiliary_images=1"),
    *(f"{METHOD}.epochs=1", f"{METHOD}.batch=2", f"{METHOD}.width=4", f"{METHOD}.region.cooling=0.5"),
    *(f"{METHOD}.purifier.steps=2", f"{METHOD}.purifier.batch=2", f"{METHOD}.purifier.design.width=4"),
    *(f"{RECIPE}.steps=2", f"{RECIPE}.batch=2", f"{RECIPE}.design.width=4", f"{RECIPE}.design.depth=3"),
    *("report.examples=0", "report.figures=false", "statistics.resamples=10"),
    "runtime.workers=0",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, faces_cache: Path) -> Outcome:
    place = tmp_path_factory.mktemp("modules")
    return run(
        compose_config(
            ["experiment=invisible_face_table6", *TINY, f"paths.results={place}", f"paths.cache={faces_cache}"]
        )
    )


def test_every_module_is_judged_after_the_attackers_denoiser(finished: Outcome) -> None:
    assert finished.problems == []
    records = finished.results.records["attributes"]
    assert set(records["condition"]) == {"none", "dncnn"}
    modules = {"invisible_face", *(f"invisible_face_without_{part}" for part in ("dp", "rp", "dp_rp"))}
    assert modules < set(records["method"])
    assert set(records["status"]) == {"ok"}


def test_every_printed_row_of_the_table_has_a_measured_one(finished: Outcome) -> None:
    table = pd.read_csv(finished.folder / "tables" / "reported_invisible_face_6.csv")
    assert table.to_csv().count("measured below") == 4
    assert table.to_csv().count("all columns") == 4


def test_what_each_module_changes_is_said_with_an_interval_or_that_it_changes_nothing(finished: Outcome) -> None:
    table = pd.read_csv(finished.folder / "tables" / "differences.csv")
    assert len(table) == 3
    assert {"mosr", "mosr_after_dncnn", "ssim", "psnr"} <= set(table.columns)
    apart = [f"{name}_low" for name in ("mosr", "ssim")]
    assert set(apart) <= set(table.columns)
    assert table["changes"].str.len().gt(0).all()


def test_mosr_after_the_denoiser_stands_beside_that_of_controls(finished: Outcome) -> None:
    table = pd.read_csv(finished.folder / "tables" / "attributes_after.csv")
    assert {"none_percent", "dncnn_percent"} <= set(table.columns)
    assert len(table) == 6


def test_a_method_to_compare_with_that_is_not_in_the_run_is_told() -> None:
    config = compose_config(["experiment=invisible_face_table5", "report.compare_with=fgsm"])
    with pytest.raises(ConfigError, match=r"^report.compare_with names fgsm, which is no method of the run: invis"):
        build_parts(config)
    build_parts(compose_config(["experiment=invisible_face_table5", "method=fgsm_m"]))


def test_region_and_perturbation_are_timed_apart(finished: Outcome) -> None:
    costs = finished.results.costs.set_index("method")
    parts = costs.loc["invisible_face", ["region_seconds_per_image", "perturbation_seconds_per_image"]]
    assert (parts > 0).all() and parts.sum() < costs.loc["invisible_face", "seconds_per_image"]
    assert costs.loc["identity", "region_seconds_per_image"] != costs.loc["identity", "region_seconds_per_image"]
    header = (finished.folder / "tables" / "cost.csv").read_text(encoding="utf-8").splitlines()[0]
    assert "region_seconds_per_image" in header and "perturbation_seconds_per_image" in header
